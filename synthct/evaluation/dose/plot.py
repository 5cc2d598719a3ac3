"""Doses as pictures, and dose-volume histograms as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synthct.evaluation.dose.gamma import CAP, Gamma
from synthct.volumes.geometry import array_of, axial_order, axial_view, grid_of

Curves = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""By structure: percent of the volume of reference and evaluated at each dose."""


def dose_volumes_picture(doses: NDArray[np.float64], curves: Curves) -> bytes:
    """Return a PNG: the reference's curves drawn through, the evaluated ones dashed."""
    figure = Figure(figsize=(8, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, (reference, evaluated)) in enumerate(curves.items()):
        axes.plot(doses, reference, color=f"C{number % 10}", label=name)
        axes.plot(doses, evaluated, color=f"C{number % 10}", linestyle="--")
    axes.set(xlabel="dose (Gy)", ylabel="volume that receives at least this dose (%)", ylim=(0, 102), xlim=(0, None))
    axes.legend(title="solid: reference\ndashed: evaluated", loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(alpha=0.3)
    return _png(figure)


def dose_slices_picture(reference: sitk.Image, difference: sitk.Image, gamma: Gamma) -> bytes:
    """Return a PNG of the axial slice with the highest dose: reference, difference, gamma of one criterion."""
    grid = grid_of(reference)
    dose, change, index = (axial_view(array, grid) for array in (array_of(reference), array_of(difference), gamma.map))
    place = int(np.unravel_index(int(dose.argmax()), dose.shape)[0])
    order, _ = axial_order(grid)
    aspect = grid.spacing[order[1]] / grid.spacing[order[0]]
    reach = float(np.abs(change).max()) or 1.0
    panels: tuple[tuple[Any, str, dict[str, Any]], ...] = (
        (dose[place], "reference (Gy)", {"cmap": "viridis", "vmin": 0, "vmax": float(dose.max())}),
        (change[place], "evaluated − reference (Gy)", {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}),
        (index[place], f"gamma {gamma.name}; above 1: failed", {"cmap": "coolwarm", "vmin": 0, "vmax": CAP}),
    )
    figure = Figure(figsize=(11, 1.0 + 2.8 * dose.shape[1] * aspect / dose.shape[2]), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (image, name, look) in zip(figure.subplots(1, 3), panels, strict=True):
        shown = axis.imshow(image, aspect=aspect, interpolation="nearest", **look)
        axis.set(title=name, xticks=[], yticks=[])
        figure.colorbar(shown, ax=axis, shrink=0.7)
    figure.suptitle(f"axial slice {place}, that of the highest dose", fontsize=9)
    return _png(figure)


def dose_volumes_csv(doses: NDArray[np.float64], curves: Curves) -> str:
    """Return CSV: dose in Gy, then two columns of percent per structure."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["dose_gy", *(f"{name} {which}" for name in curves for which in ("reference", "evaluated"))])
    columns = [column for pair in curves.values() for column in pair]
    for place, dose in enumerate(doses):
        writer.writerow([f"{dose:.4f}", *(f"{column[place]:.3f}" for column in columns)])
    return text.getvalue()


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
