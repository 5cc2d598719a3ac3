"""Pictures of one pair: slices with the error, the curves, the joint histogram."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synthct.evaluation.images.curves import HISTOGRAM_RANGE, Profile, SliceCurve
from synthct.evaluation.images.pair import Pair
from synthct.volumes.geometry import axial_order, axial_view

WINDOW = (-400.0, 600.0)
"""HU shown from black to white."""
LARGEST_ERROR = 300.0
"""HU at the ends of the colours of the error: blue is too thin, red too dense."""
_HEIGHTS = (0.75, 0.5, 0.25)


def slices_picture(pair: Pair, title: str) -> bytes:
    """Return a PNG: reference | synthetic | error in three axial slices, from the head down."""
    first, second = (axial_view(array, pair.grid) for array in (pair.reference, pair.synthetic))
    inside = np.ones(first.shape, bool) if pair.inside is None else axial_view(pair.inside, pair.grid)
    counted = np.flatnonzero(inside.any(axis=(1, 2)))
    places = [round(counted[0] + share * (counted[-1] - counted[0])) for share in _HEIGHTS]
    order, _ = axial_order(pair.grid)
    aspect = pair.grid.spacing[order[1]] / pair.grid.spacing[order[0]]
    height = 2.9 * first.shape[1] * aspect / first.shape[2]
    figure = Figure(figsize=(9.6, len(places) * height + 0.9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(len(places), 3, squeeze=False)
    shown = None
    for row, place in zip(axes, places, strict=True):
        error = second[place].astype(np.float32) - first[place].astype(np.float32)
        for axis, image, name in zip(row, (first[place], second[place]), ("reference", "synthetic"), strict=False):
            axis.imshow(image, cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], aspect=aspect, interpolation="nearest")
            axis.set_title(f"{name}, slice {place}", fontsize=8)
        colours = {"cmap": "RdBu_r", "vmin": -LARGEST_ERROR, "vmax": LARGEST_ERROR}
        shown = row[2].imshow(
            np.where(inside[place], error, 0),
            aspect=aspect,
            interpolation="nearest",
            **colours,  # type: ignore[arg-type]
        )
        row[2].set_title("synthetic − reference", fontsize=8)
        for axis in row:
            axis.set(xticks=[], yticks=[])
    assert shown is not None
    figure.colorbar(shown, ax=axes[:, 2], label="HU", shrink=0.6)
    return _png(figure)


def curves_picture(bone: Mapping[float, float], slices: SliceCurve) -> bytes:
    """Return a PNG: error by slice, and Dice of bone over thresholds."""
    figure = Figure(figsize=(9.6, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(slices.height_mm, slices.mae_hu, label="mean absolute error")
    left.plot(slices.height_mm, slices.me_hu, label="mean error")
    left.axhline(0, color="grey", linewidth=0.5)
    left.set(xlabel="height above the lowest slice (mm)", ylabel="HU")
    left.legend(fontsize=8)
    right.plot(list(bone), list(bone.values()), "o-", markersize=3)
    right.set(xlabel="threshold (HU)", ylabel="Dice of bone", ylim=(0, 1))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return _png(figure)


def histogram_picture(counts: NDArray[np.int64]) -> bytes:
    """Return a PNG of the joint histogram, logarithmic, with the line on which both agree."""
    figure = Figure(figsize=(5.2, 4.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    low, high = HISTOGRAM_RANGE
    shown = axis.imshow(
        counts.T + 0.0, origin="lower", extent=(low, high, low, high), cmap="viridis", norm=LogNorm(vmin=1), aspect=1
    )
    axis.plot([low, high], [low, high], color="white", linewidth=0.8, linestyle="--")
    axis.set(xlabel="reference (HU)", ylabel="synthetic (HU)", facecolor="#440154")
    figure.colorbar(shown, ax=axis, label="voxels")
    return _png(figure)


def profile_picture(profile: Profile) -> bytes:
    """Return a PNG of both CTs along a line."""
    figure = Figure(figsize=(9.6, 3.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    axis.plot(profile.distance_mm, profile.reference_hu, label="reference")
    axis.plot(profile.distance_mm, profile.synthetic_hu, label="synthetic", linestyle="--")
    axis.set(xlabel="distance along the line (mm)", ylabel="HU")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    return _png(figure)


def _png(figure: Any) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
