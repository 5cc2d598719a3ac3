"""Is this volume something that the model can translate at all, and does it show the whole body?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthct.errors import UserError
from synthct.events import Events

_SAMPLE = 2_000_000
_HU_BELOW = -200
_HU_SHARE = 0.05
CUT_MM2 = 2000.0
"""Body in the outermost sagittal or coronal plane, from which on a side counts as cut off: 4.5 cm by 4.5 cm."""
_LENGTHS_MM = (5.0, 4000.0)
"""Longest side of an image of a patient, or of a part of one."""
_SIDES = ((2, 0, "right"), (2, -1, "left"), (1, 0, "front"), (1, -1, "back"))


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


def check_length(size: Sequence[int], spacing: Sequence[float], name: str) -> None:
    """Refuse an image whose voxel sizes make it far smaller or larger than any patient.

    Parameters
    ----------
    size, spacing
        Voxels, and their size in mm, in the same order of axes.
    name
        What the error calls it.

    Raises
    ------
    UserError
        The longest side is shorter than 5 mm or longer than 4 m.
    """
    sides = [number * length for number, length in zip(size, spacing, strict=True)]
    if not _LENGTHS_MM[0] <= max(sides) <= _LENGTHS_MM[1]:
        raise UserError(
            f"{name} measures {'×'.join(f'{side:.3g}' for side in sides)} mm.",
            f"Its voxels of {'×'.join(f'{length:.3g}' for length in spacing)} mm cannot be right.",
            "Correct the voxel sizes in the file; they are given in mm.",
        )


def warn_of_ct(voxels: np.ndarray, card: Mapping[str, Any], name: str, events: Events) -> None:
    """Send a warning event where a model that expects an MR is given what looks like HU; axes in any order."""
    step = max(1, round((voxels.size / _SAMPLE) ** (1 / 3)))
    sample = voxels[::step, ::step, ::step]
    if str(card.get("input", "MR")).upper() == "MR" and np.mean(sample < _HU_BELOW) > _HU_SHARE:
        events.warning(
            f"{name} looks like a CT.",
            f"{np.mean(sample < _HU_BELOW):.0%} of its voxels lie below {_HU_BELOW}, as air does in HU; "
            "the model expects an MR.",
            "Check that the right image was chosen.",
        )


def cut_off_sides(body: np.ndarray, spacing: Sequence[float]) -> list[str]:
    """Return the sides (right, left, front, back) on which the body goes on beyond the image.

    Head and feet are not looked at: nearly every image ends within the body there.

    Parameters
    ----------
    body
        Mask (z, y, x) towards head, back, left.
    spacing
        x, y, z in mm.
    """
    sides = []
    for axis, end, side in _SIDES:
        pixel = float(np.prod(spacing)) / spacing[2 - axis]
        if np.count_nonzero(np.take(body, end, axis)) * pixel >= CUT_MM2:
            sides.append(side)
    return sides


def warn_of_cut_off(sides: Sequence[str], name: str, events: Events) -> None:
    """Send a warning event that names the sides on which the body is cut off, where there are any."""
    if sides:
        name = f"the {name[4:]}" if name.startswith("The ") else name
        events.warning(
            f"The field of view of {name} cuts off the body: {' and '.join(sides)}.",
            "What lies beyond is missing from the synthetic CT too, so that beams through it find no tissue.",
            "Do not plan beams through these sides, or scan with a larger field of view.",
        )
