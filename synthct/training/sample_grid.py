"""The picture of an epoch: MR | sCT | CT | difference, one slice per row, so that a collapse can be seen (row A11)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from synthct.whole_file import write_whole

WINDOW_HU = (-500.0, 1000.0)
DIFFERENCE_HU = 500.0
_LEFTS, _SIDE, _GAP, _TOP = (0.1, 2.6, 5.1, 8.5), 2.4, 0.1, 0.7
_BARS = (7.6, 11.0)
_COLOURS = ("#26415e", "#f2d16b", "#4fb3e8", "#c8736a", "#f7f3e3", "#d6336c", "#000000", "#8fd0c8")
"""Of other tissue, fat, water, soft tissue, bone, nodule, outside the body (row B3), windpipe."""
_WIDTH = 11.9
"""Inches; places are fixed, since a layout engine would take longer than a training step."""


def write_sample_grid(
    path: Path,
    mr: np.ndarray,
    synthetic: np.ndarray,
    reference: np.ndarray,
    mask: np.ndarray,
    title: str,
    classes: int | None = None,
) -> None:
    """Write a PNG, replacing the one that was there.

    Parameters
    ----------
    mr
        Input intensities in any unit, axis order (slice, row, column).
    synthetic, reference
        HU, same shape.
    mask
        Same shape; the difference is drawn where it is above 0, the body.
    title
        Epoch and step.
    classes
        The input is a label map of so many classes and shown in colours; None: it is an image, shown in grey.
    """
    rows = len(mr)
    height = rows * (_SIDE + _GAP) + _TOP
    figure = Figure(figsize=(_WIDTH, height), dpi=100)
    FigureCanvasAgg(figure)
    figure.text(0.5, 1 - 0.1 / height, title, ha="center", va="top")

    def axes(left: float, bottom: float, width: float, tall: float) -> Axes:
        return figure.add_axes((left / _WIDTH, bottom / height, width / _WIDTH, tall / height))

    difference = np.ma.masked_where(mask <= 0, synthetic - reference)
    window = {"cmap": "gray", "vmin": WINDOW_HU[0], "vmax": WINDOW_HU[1]}
    signed = {"cmap": "RdBu_r", "vmin": -DIFFERENCE_HU, "vmax": DIFFERENCE_HU}
    columns: tuple[tuple[str, np.ndarray, dict[str, Any], float | None], ...] = (
        ("MR", mr, {"cmap": "gray"}, None) if classes is None else ("label map", mr, _coloured(classes), None),
        ("synthetic CT", synthetic, window, None),
        ("CT", reference, window, _BARS[0]),
        ("synthetic CT − CT in the body", difference, signed, _BARS[1]),
    )
    for left, (label, images, options, bar) in zip(_LEFTS, columns, strict=True):
        for row in range(rows):
            axis = axes(left, (rows - 1 - row) * (_SIDE + _GAP) + _GAP, _SIDE, _SIDE)
            shown = axis.imshow(images[row], **options)
            axis.set(xticks=[], yticks=[], facecolor="0.85", title=label if row == 0 else "")
        if bar is not None:
            figure.colorbar(shown, cax=axes(bar, _GAP, 0.15, rows * (_SIDE + _GAP) - _GAP), label="HU")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(path, picture.getvalue())


def _coloured(classes: int) -> dict[str, Any]:
    colours = [*_COLOURS, *["#888888"] * (classes - len(_COLOURS))][:classes]
    return {
        "cmap": ListedColormap(colours),
        "vmin": -0.5,
        "vmax": classes - 0.5,
        "interpolation": "nearest",
    }
