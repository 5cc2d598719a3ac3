"""Dose-volume histograms as a picture and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synthct.whole_file import write_whole

Curves = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""By structure: percent of the volume of reference and evaluated at each dose."""


def draw_dose_volumes(path: Path, doses: NDArray[np.float64], curves: Curves) -> None:
    """Write a PNG: the reference's curves drawn through, the evaluated ones dashed."""
    figure = Figure(figsize=(8, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, (reference, evaluated)) in enumerate(curves.items()):
        axes.plot(doses, reference, color=f"C{number % 10}", label=name)
        axes.plot(doses, evaluated, color=f"C{number % 10}", linestyle="--")
    axes.set(xlabel="dose (Gy)", ylabel="volume that receives at least this dose (%)", ylim=(0, 102), xlim=(0, None))
    axes.legend(title="solid: reference\ndashed: evaluated", loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(path, picture.getvalue())


def write_dose_volumes(path: Path, doses: NDArray[np.float64], curves: Curves) -> None:
    """Write a CSV: dose in Gy, then two columns of percent per structure."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["dose_gy", *(f"{name} {which}" for name in curves for which in ("reference", "evaluated"))])
    columns = [column for pair in curves.values() for column in pair]
    for place, dose in enumerate(doses):
        writer.writerow([f"{dose:.4f}", *(f"{column[place]:.3f}" for column in columns)])
    write_whole(path, text.getvalue())
