"""Where and at which HU a synthetic CT errs: slice by slice, over bone thresholds, in a joint histogram, on a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from synthct.errors import UserError
from synthct.evaluation.images.pair import Pair
from synthct.evaluation.images.voxelwise import dice
from synthct.volumes.geometry import axial_order, axial_view

BONE_THRESHOLDS = tuple(range(100, 1001, 50))
"""HU from which a voxel counts as bone in the curve."""
HISTOGRAM_RANGE = (-1024.0, 2000.0)
HISTOGRAM_BINS = 126
"""Of 24 HU each."""
_STEPS_PER_VOXEL = 2

DEFINITIONS: dict[str, str] = {
    "bone_curve": "Dice of the voxels at or above each HU threshold, among those that count; null where neither CT has "
    "any.",
    "slice_curve": "Mean absolute error and mean error in HU of each axial slice, from the feet up; null where no "
    "voxel of it counts.",
    "joint_histogram": "Voxels that count, by HU of the reference (rows) and of the synthetic CT (columns), in bins of "
    f"{(HISTOGRAM_RANGE[1] - HISTOGRAM_RANGE[0]) / HISTOGRAM_BINS:g} HU from {HISTOGRAM_RANGE[0]:g}; what lies beyond "
    "is in the outermost bins.",
    "line_profile": "HU of both CTs along a line, interpolated linearly, twice a voxel.",
}


@dataclass(frozen=True)
class SliceCurve:
    """Per axial slice, from the feet up; NaN where no voxel counts."""

    height_mm: NDArray[np.float64]
    """Along the body from the lowest slice."""
    mae_hu: NDArray[np.float64]
    me_hu: NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """HU along a line; NaN beyond the image."""

    distance_mm: NDArray[np.float64]
    reference_hu: NDArray[np.float64]
    synthetic_hu: NDArray[np.float64]


def bone_curve(pair: Pair, thresholds: Sequence[float] = BONE_THRESHOLDS) -> dict[float, float]:
    """Return the Dice of bone over HU thresholds; NaN where neither CT has any."""
    counted = slice(None) if pair.inside is None else pair.inside
    first, second = pair.reference[counted], pair.synthetic[counted]
    return {float(limit): dice(first >= limit, second >= limit) for limit in thresholds}


def slice_curve(pair: Pair) -> SliceCurve:
    """Return the errors of every axial slice."""
    first, second = (axial_view(array, pair.grid) for array in (pair.reference, pair.synthetic))
    inside = None if pair.inside is None else axial_view(pair.inside, pair.grid)
    absolute, signed = np.full(len(first), math.nan), np.full(len(first), math.nan)
    for place in range(len(first)):
        difference = second[place].astype(np.float64) - first[place].astype(np.float64)
        values = difference if inside is None else difference[inside[place]]
        if values.size:
            absolute[place], signed[place] = np.abs(values).mean(), values.mean()
    order, _ = axial_order(pair.grid)
    return SliceCurve(np.arange(len(first), dtype=np.float64) * pair.grid.spacing[order[2]], absolute, signed)


def joint_histogram(pair: Pair) -> NDArray[np.int64]:
    """Return voxel counts by HU of reference and synthetic CT, (`HISTOGRAM_BINS`, `HISTOGRAM_BINS`)."""
    counts = np.zeros((HISTOGRAM_BINS, HISTOGRAM_BINS), np.int64)
    for place in range(len(pair.reference)):  # slice by slice: no float copy of a volume
        inside = None if pair.inside is None else pair.inside[place]
        bins = [_bins(array[place] if inside is None else array[place][inside]) for array in _both(pair)]
        counts += np.bincount(bins[0] * HISTOGRAM_BINS + bins[1], minlength=counts.size).reshape(counts.shape)
    return counts


def line_profile(pair: Pair, start: Sequence[float], stop: Sequence[float]) -> Profile:
    """Return both CTs along the line from ``start`` to ``stop`` (R, A, S in mm, as a ruler in Slicer gives them).

    Raises
    ------
    UserError
        The line has no length or nowhere lies in the image.
    """
    ends = np.array([start, stop], dtype=np.float64) * (-1, -1, 1)  # RAS to LPS
    length = float(np.linalg.norm(ends[1] - ends[0]))
    if length == 0:
        raise UserError("The line has no length.", todo="Give two different points.")
    count = max(2, math.ceil(_STEPS_PER_VOXEL * length / min(pair.grid.spacing)) + 1)
    points = ends[0] + np.linspace(0, 1, count)[:, None] * (ends[1] - ends[0])
    world_to_index = np.linalg.inv(pair.grid.index_to_world)
    indices = (np.c_[points, np.ones(count)] @ world_to_index.T)[:, :3].T[::-1]  # z, y, x
    last = np.array(pair.reference.shape)[:, None] - 1
    within = np.all((indices >= -0.5) & (indices <= last + 0.5), axis=0)
    if not within.any():
        low, high = (end(pair.grid.corners() * (-1, -1, 1), axis=0) for end in (np.min, np.max))
        reach = ", ".join(f"{name} {a:.0f} to {b:.0f}" for name, a, b in zip("RAS", low, high, strict=True))
        raise UserError(
            "The line nowhere lies in the reference CT.", f"That reaches over {reach} mm.", "Move the line."
        )
    values = [map_coordinates(array, indices, np.float64, order=1, mode="nearest") for array in _both(pair)]
    for each in values:
        each[~within] = math.nan
    return Profile(np.linspace(0, length, count), values[0], values[1])


def _both(pair: Pair) -> tuple[NDArray[Any], NDArray[Any]]:
    return pair.reference, pair.synthetic


def _bins(values: NDArray[Any]) -> NDArray[np.int64]:
    low, high = HISTOGRAM_RANGE
    place = np.floor((values.astype(np.float32).ravel() - low) / (high - low) * HISTOGRAM_BINS)
    return np.clip(place, 0, HISTOGRAM_BINS - 1).astype(np.int64)
