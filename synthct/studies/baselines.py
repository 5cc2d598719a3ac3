"""The trivial answers that a network must beat before its score means anything.

All arrays are z, y, x; CT in HU, MR as the network's input scaling gives it, so that patients are comparable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthct.volumes.hu import AIR_HU

Array = NDArray[np.generic]
Mask = NDArray[np.bool_]


def constant_ct(training_cts: Sequence[Array], training_masks: Sequence[Mask], mask: Mask) -> NDArray[np.int16]:
    """Return the median HU of the training bodies inside ``mask``, air outside."""
    inside = np.concatenate([np.asarray(ct)[body] for ct, body in zip(training_cts, training_masks, strict=True)])
    return np.where(mask, np.int16(round(float(np.median(inside)))), np.int16(AIR_HU)).astype(np.int16)


def interpolated_slices(ct: Array, start: int, stop: int, known: Sequence[tuple[int, int]]) -> NDArray[np.int16]:
    """Return axial slices [start, stop) interpolated linearly between the nearest known ones: position, no MR.

    Parameters
    ----------
    known
        Ranges [first, last + 1) of slices that may be looked at. Where they lie on one side only, the nearest known
        slice is repeated.
    """
    slices = np.concatenate([np.arange(*piece) for piece in known])
    below = slices[slices < start].max(initial=-1)
    above = slices[slices >= stop].min(initial=len(ct))
    below, above = (above, above) if below < 0 else (below, below) if above == len(ct) else (below, above)
    share = ((np.arange(start, stop) - below) / max(above - below, 1)).reshape(-1, 1, 1)
    first, last = ct[below].astype(np.float32), ct[above].astype(np.float32)
    return np.rint((1 - share) * first + share * last).astype(np.int16)
