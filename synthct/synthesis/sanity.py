"""Is this volume something that the model can translate, and is it like what the model was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthct.errors import UserError
from synthct.events import Events

_SAMPLE = 2_000_000
_HU_BELOW = -200
_HU_SHARE = 0.05
_SPACING_FACTOR = 1.5
_EXTENT_FACTOR = 2.0
_INTENSITY_FACTOR = 3.0
_AXES = ("left-right", "front-back", "head-foot")


def check_voxels(voxels: np.ndarray, name: str) -> float:
    """Refuse what no network can translate; return the lowest value.

    Parameters
    ----------
    voxels
        The volume, three axes in any order; read slice by slice, so that no copy of it is made.
    name
        What errors call it.

    Raises
    ------
    UserError
        Fewer than three axes, NaN or infinite values, or the same value everywhere.
    """
    if voxels.ndim != 3 or min(voxels.shape) < 2:
        raise UserError(
            f"{name} has {'×'.join(map(str, reversed(voxels.shape)))} voxels.",
            "A 3D volume of at least two slices along each axis is needed.",
            "Choose another image.",
        )
    low, high = np.inf, -np.inf
    for plane in voxels:
        lowest, highest = float(plane.min()), float(plane.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise UserError(
                f"{name} holds values that are not numbers (NaN or infinite).",
                "The network would spread them.",
                "Replace them, for example by 0, and try again.",
            )
        low, high = min(low, lowest), max(high, highest)
    if low == high:
        raise UserError(
            f"{name} is constant: every voxel is {low:g}.",
            "There is nothing to translate.",
            "Choose another image.",
        )
    return low


def warn_if_unlike(
    voxels: np.ndarray, spacing: Sequence[float], card: Mapping[str, Any], fitted: bool, name: str, events: Events
) -> None:
    """Send a warning event for everything that makes the input unlike the training inputs of the model.

    Parameters
    ----------
    voxels
        Array (z, y, x) towards head, back, left.
    spacing
        x, y, z in mm.
    card
        The model's card; what it does not tell is not compared.
    fitted
        Whether the input scaling is fitted to each volume: the intensities' unit does not matter then.
    name
        What warnings call the input.
    """
    step = max(1, round((voxels.size / _SAMPLE) ** (1 / 3)))
    sample = voxels[::step, ::step, ::step]
    if str(card.get("input", "MR")).upper() == "MR" and np.mean(sample < _HU_BELOW) > _HU_SHARE:
        events.warning(
            f"{name} looks like a CT.",
            f"{np.mean(sample < _HU_BELOW):.0%} of its voxels lie below {_HU_BELOW}, as air does in HU; "
            "the model expects an MR.",
            "Check that the right image was chosen.",
        )
    statistics = card.get("statistics")
    if not isinstance(statistics, Mapping):
        return
    fixed = card.get("spacing") or [None] * 3
    extent = [length * count for length, count in zip(spacing, reversed(voxels.shape), strict=True)]
    for axis, label in enumerate(_AXES):
        seen = _ranges(statistics, "spacing_mm")
        if seen and not fixed[axis] and _beyond(spacing[axis], seen[axis], _SPACING_FACTOR):
            events.warning(
                f"{name} has voxels of {spacing[axis]:.3g} mm {label}.",
                f"The model was trained on {_span(seen[axis])} mm.",
                "Expect a worse result, or resample the image first.",
            )
        seen = _ranges(statistics, "extent_mm")
        if seen and _beyond(extent[axis], seen[axis], _EXTENT_FACTOR):
            events.warning(
                f"{name} covers {extent[axis]:.0f} mm {label}.",
                f"The model was trained on {_span(seen[axis])} mm.",
                "Expect a worse result if it shows another part of the body.",
            )
    bright = statistics.get("intensity_p99")
    brightest = float(np.percentile(sample, 99))
    if isinstance(bright, list) and _is_range(bright) and not fitted and _beyond(brightest, bright, _INTENSITY_FACTOR):
        events.warning(
            f"{name} has unusual intensities: 99 % of its voxels lie below {brightest:.4g}.",
            f"In the training images that was {_span(bright)}, and this model's scaling is fixed.",
            "Scale the image to the same range first.",
        )


def _beyond(value: float, seen: Sequence[float], factor: float) -> bool:
    return value < seen[0] / factor or value > seen[1] * factor


def _span(seen: Sequence[float]) -> str:
    return f"{seen[0]:.4g}" if f"{seen[0]:.4g}" == f"{seen[1]:.4g}" else f"{seen[0]:.4g} to {seen[1]:.4g}"


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(limit, int | float) for limit in value)


def _ranges(statistics: Mapping[str, Any], key: str) -> list[list[float]] | None:
    value = statistics.get(key)
    return value if isinstance(value, list) and len(value) == 3 and all(map(_is_range, value)) else None
