"""SSIM as SynthRAD 2023 and MS-SSIM as SynthRAD 2025 define them (REFERENCE section F).

Both are local: they are computed in slabs of slices with a margin of one window radius, so that a large
volume needs little more memory than itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from synthct.evaluation.images.voxelwise import SYNTHRAD_2023, SYNTHRAD_2025

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

WINDOW = 7
RADIUS = WINDOW // 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales of MS-SSIM (Wang, Simoncelli and Bovik 2003)."""
SMALLEST_SIDE = 97
"""Volumes are edge-padded to this many voxels per axis, so that the coarsest scale still holds a window."""
_SLAB = 32


def ssim_synthrad2023(
    reference: NDArray[np.generic], synthetic: NDArray[np.generic], mask: Mask | None = None
) -> float:
    """Structural similarity with a uniform 7×7×7 window; arrays in HU, z, y, x; mean over the mask.

    Both images are clipped to [-1024, 3000], set to −1024 outside the mask and shifted by +1024; three voxels at
    every face of the volume are left out.
    """
    _require_window(reference.shape)
    first, second = (_prepared(image, mask, SYNTHRAD_2023) for image in (reference, synthetic))
    span = SYNTHRAD_2023[1] - SYNTHRAD_2023[0]
    constant_1, constant_2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    total, count = 0.0, 0
    for slab_1, slab_2, inside in _slabs(first, second, mask):
        mean_1, mean_2, variance_1, variance_2, covariance = _moments(slab_1, slab_2)
        similarity = (2 * mean_1 * mean_2 + constant_1) * (2 * covariance + constant_2)
        similarity /= (mean_1**2 + mean_2**2 + constant_1) * (variance_1 + variance_2 + constant_2)
        selected = similarity[inside]
        total += float(selected.sum(dtype=np.float64))
        count += selected.size
    return total / count


def msssim_synthrad2025(
    reference: NDArray[np.generic],
    synthetic: NDArray[np.generic],
    mask: Mask | None = None,
    clip: tuple[float, float] = SYNTHRAD_2025,
) -> float:
    """Multi-scale structural similarity over five scales; arrays in HU, z, y, x; mean over the mask at every scale.

    Luminance, contrast and structure are clipped at 0 and all three enter at every scale with its weight. The
    images are halved by averaging neighbours (with zeros before the first voxel), the mask by taking every second.
    """
    first, second = (_padded(_prepared(image, mask, clip)) for image in (reference, synthetic))
    inside = _padded(mask) if mask is not None else np.ones(first.shape, dtype=bool)
    span = clip[1] - clip[0]
    constant_1, constant_2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            first, second = _halved(first), _halved(second)
            inside = inside[::2, ::2, ::2]
        product *= min(max(_scale_mean(first, second, inside, weight, constant_1, constant_2), 0.0), 1.0)
    return product


def _scale_mean(
    first: Volume, second: Volume, inside: Mask, weight: float, constant_1: float, constant_2: float
) -> float:
    total, count = 0.0, 0
    for slab_1, slab_2, selected in _slabs(first, second, inside):
        mean_1, mean_2, variance_1, variance_2, covariance = _moments(slab_1, slab_2)
        luminance = (2 * mean_1 * mean_2 + constant_1) / (mean_1**2 + mean_2**2 + constant_1)
        deviations = np.sqrt(np.maximum(variance_1, 0)) * np.sqrt(np.maximum(variance_2, 0))
        contrast = (2 * deviations + constant_2) / (variance_1 + variance_2 + constant_2)
        structure = (covariance + constant_2 / 2) / (deviations + constant_2 / 2)
        terms = [np.maximum(term[selected], 0) ** weight for term in (luminance, contrast, structure)]
        similarity = terms[0] * terms[1] * terms[2]
        total += float(similarity.sum(dtype=np.float64))
        count += similarity.size
    return total / count if count else 1.0  # the mask vanished at this scale: it decides nothing


def _moments(first: Volume, second: Volume) -> tuple[Volume, ...]:
    """Local means, sample variances and covariance over the window."""
    voxels = WINDOW**3
    sample = voxels / (voxels - 1)
    mean_1, mean_2 = uniform_filter(first, WINDOW), uniform_filter(second, WINDOW)
    variance_1 = sample * (uniform_filter(first * first, WINDOW) - mean_1 * mean_1)
    variance_2 = sample * (uniform_filter(second * second, WINDOW) - mean_2 * mean_2)
    covariance = sample * (uniform_filter(first * second, WINDOW) - mean_1 * mean_2)
    return mean_1, mean_2, variance_1, variance_2, covariance


def _slabs(first: Volume, second: Volume, mask: Mask | None) -> Iterator[tuple[Volume, Volume, Mask]]:
    """Slabs along z with a margin, and the voxels of each that count: in the mask and a radius from every face."""
    depth = first.shape[0]
    core = (slice(RADIUS, -RADIUS), slice(RADIUS, -RADIUS))
    for start in range(RADIUS, depth - RADIUS, _SLAB):
        stop = min(start + _SLAB, depth - RADIUS)
        near = slice(start - RADIUS, stop + RADIUS)
        inside = np.zeros(first[near].shape, dtype=bool)
        inside[(slice(RADIUS, -RADIUS), *core)] = True if mask is None else mask[(slice(start, stop), *core)]
        if inside.any():
            yield first[near], second[near], inside


def _prepared(image: NDArray[np.generic], mask: Mask | None, clip: tuple[float, float]) -> Volume:
    clipped = np.clip(image, *clip).astype(np.float32)
    if mask is not None:
        clipped[~mask] = clip[0]
    clipped -= np.float32(clip[0])
    return clipped


def _padded(array: NDArray[Any]) -> NDArray[Any]:
    lacking = [max(SMALLEST_SIDE - side, 0) for side in array.shape]
    if not any(lacking):
        return array
    return np.pad(array, [(number // 2, number - number // 2) for number in lacking], mode="edge")


def _halved(array: Volume) -> Volume:
    """Every second voxel of the mean with its predecessor along each axis, a zero standing before the first."""
    for axis in range(3):
        even = np.take(array, range(0, array.shape[axis], 2), axis)
        odd = np.take(array, range(1, array.shape[axis], 2), axis)
        before = np.zeros_like(even)
        target = [slice(None)] * 3
        target[axis] = slice(1, None)
        count = even.shape[axis] - 1
        before[tuple(target)] = np.take(odd, range(count), axis)
        array = (even + before) * np.float32(0.5)
    return array


def _require_window(shape: tuple[int, ...]) -> None:
    if min(shape) < WINDOW:
        raise ValueError(f"SSIM needs at least {WINDOW} voxels along every axis, got {shape}")
