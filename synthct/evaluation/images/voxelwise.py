"""Voxel-wise errors in HU and what is derived from them: MAE, ME, PSNR, per tissue."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthct.volumes.hu import TISSUES

SYNTHRAD_2023 = (-1024.0, 3000.0)
SYNTHRAD_2025 = (-1024.0, 3071.0)
"""HU ranges that the two challenges clip to (section F)."""

Array = NDArray[Any]
Mask = NDArray[np.bool_]


def mae(reference: Array, synthetic: Array, mask: Mask | None = None) -> float:
    """Mean absolute error in HU over the mask, not clipped (SynthRAD, section F). Arrays are z, y, x."""
    difference = _difference(reference, synthetic, mask)
    return float(np.abs(difference, out=difference).mean())


def mean_error(reference: Array, synthetic: Array, mask: Mask | None = None) -> float:
    """Mean of synthetic − reference in HU over the mask: the bias, positive where the synthetic is too dense."""
    return float(_difference(reference, synthetic, mask).mean())


def psnr(
    reference: Array,
    synthetic: Array,
    mask: Mask | None = None,
    *,
    data_range: float,
    clip: tuple[float, float] | None = None,
) -> float:
    """Peak signal-to-noise ratio in dB, 10·log10(data_range² / MSE) over the mask; infinite for equal images.

    Parameters
    ----------
    data_range
        HU span that counts as the peak: 2500 in row A10, 4024 and 4095 in SynthRAD 2023 and 2025.
    clip
        HU range that both images are clipped to first; None leaves them as they are.
    """
    square = np.square(_difference(reference, synthetic, mask, clip)).mean()
    return math.inf if square == 0 else float(10 * np.log10(data_range**2 / square))


def tissue_mask(image: Array, tissue: str) -> Mask:
    """Voxels of a CT (HU) that belong to ``tissue`` (air, soft or bone)."""
    low, high = TISSUES[tissue]
    return (image >= low) & (image < high)


def dice(first: Mask, second: Mask) -> float:
    """Dice overlap of two masks, 0…1; NaN where both are empty, since there is nothing to agree on."""
    size = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return math.nan if size == 0 else 2.0 * int(np.count_nonzero(first & second)) / size


def _difference(
    reference: Array, synthetic: Array, mask: Mask | None, clip: tuple[float, float] | None = None
) -> NDArray[np.float64]:
    if reference.shape != synthetic.shape or (mask is not None and mask.shape != reference.shape):
        shapes = [reference.shape, synthetic.shape] + ([] if mask is None else [mask.shape])
        raise ValueError(f"images and mask must have one shape, got {shapes}")
    first = reference[mask] if mask is not None else reference
    second = synthetic[mask] if mask is not None else synthetic
    if first.size == 0:
        raise ValueError("the mask is empty")
    if clip is not None:
        first, second = np.clip(first, *clip), np.clip(second, *clip)
    difference = second.astype(np.float64).ravel()
    difference -= first.ravel()
    return difference
