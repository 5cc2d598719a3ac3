"""Pictures of a commissioning: slices of a case, and every case's score beside its limit."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthct.training.sample_grid import write_sample_grid
from synthct.volumes.geometry import axial_view

_HEIGHTS = (0.75, 0.5, 0.25)
"""Slices shown, from the head down, as shares of the body's extent."""


def case_picture(
    path: Path, mr: sitk.Image, ct: sitk.Image, synthetic: sitk.Image, mask: sitk.Image, title: str
) -> bytes:
    """Write MR, synthetic CT, CT and difference in three axial slices as PNG to ``path``; return it.

    All images lie on one grid, in any orientation.
    """
    views = [axial_view(sitk.GetArrayViewFromImage(image), mr) for image in (mr, synthetic, ct, mask)]
    inside = np.flatnonzero(views[3].any(axis=(1, 2)))
    places = [round(inside[0] + share * (inside[-1] - inside[0])) for share in _HEIGHTS]
    shown = [np.asarray(view[places], np.float32) for view in views]
    write_sample_grid(path, shown[0], shown[1], shown[2], shown[3], title)
    return path.read_bytes()


def criteria_picture(criteria: Sequence[Mapping[str, Any]], cases: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a PNG: per criterion one panel with every case's score, the statistic and the limits."""
    columns = min(3, len(criteria))
    rows = math.ceil(len(criteria) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.5 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(criteria) :]:
        axis.set_visible(False)
    for axis, criterion in zip(axes, criteria, strict=False):
        values = [row["scores"].get(criterion["score"]) for row in cases.values()]
        shown = [value for value in values if isinstance(value, int | float)]
        axis.plot(range(1, len(shown) + 1), shown, "o", color="tab:blue", markersize=4, label="cases")
        if isinstance(criterion["value"], int | float) and criterion["statistic"] != "every":
            axis.axhline(criterion["value"], color="tab:blue", linewidth=1, label=criterion["statistic"])
        for number, limit in enumerate(criterion[key] for key in ("at_least", "at_most") if criterion[key] is not None):
            axis.axhline(limit, color="tab:red", linestyle="--", linewidth=1, label="limit" if number == 0 else None)
        axis.margins(y=0.25)
        axis.set(xticks=[], xlim=(0.3, len(shown) + 0.7))
        axis.set_title(criterion["criterion"], fontsize=8)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
