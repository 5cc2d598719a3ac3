"""How alike two images from noise are: MS-SSIM in 2D and 3D that also takes images too small for five scales.

`synthct.evaluation.images.structural` has the MS-SSIM by which synthetic CTs are scored (SynthRAD 2025, HU, masked).
This is the textbook's, for images between −1 and 1: how diverse a generator's images are, and whether one repeats a
training case (row D6).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first (Wang, Simoncelli and Bovik 2003)."""
TAPS, SIGMA = 11, 1.5
"""Of the Gaussian window (the same)."""
RANGE = 2.0
LARGEST = 64
"""Larger images are averaged down to this many voxels a side by `small`: alike is said of anatomy, not of noise."""

Image = NDArray[np.floating]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Pyramid:
    """An image at each scale, finest first, with its windowed mean and mean square; made once for many comparisons."""

    images: tuple[Doubles, ...]
    means: tuple[Doubles, ...]
    squares: tuple[Doubles, ...]


def pyramid(image: Image) -> Pyramid:
    """Return what `ms_ssim` needs of one image or channel, (rows, columns) or (slices, rows, columns), −1 to 1.

    There are as many scales, five at most, as leave every side the window's 11 voxels, and one at least: then the
    window is cut to the side.
    """
    scales: list[Doubles] = [np.asarray(image, np.float64)]
    while len(scales) < len(WEIGHTS) and min(scales[-1].shape) // 2 >= TAPS:
        scales.append(np.asarray(_averaged(scales[-1], (2,) * image.ndim), np.float64))
    return Pyramid(
        tuple(scales), tuple(_windowed(scale) for scale in scales), tuple(_windowed(scale**2) for scale in scales)
    )


def ms_ssim(a: Image | Pyramid, b: Image | Pyramid) -> float:
    """Return the multi-scale structural similarity of two images of one shape: 1 for equal ones, 0 at least.

    The contrast-structure terms of all scales but the coarsest and the SSIM of that one, each the mean over the
    places where the window lies within the image, are multiplied with the exponents `WEIGHTS`, which are made to add
    up to 1 where there are fewer than five scales.
    """
    first, second = (given if isinstance(given, Pyramid) else pyramid(given) for given in (a, b))
    if first.images[0].shape != second.images[0].shape:
        raise ValueError(f"images of {first.images[0].shape} and {second.images[0].shape} cannot be compared")
    low, high = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    count = len(first.images)
    product = 1.0
    for scale in range(count):
        mean_1, mean_2 = first.means[scale], second.means[scale]
        together = mean_1 * mean_2
        covariance = _windowed(first.images[scale] * second.images[scale]) - together
        variances = first.squares[scale] - mean_1**2 + second.squares[scale] - mean_2**2
        similar = (2 * covariance + high) / (variances + high)
        if scale == count - 1:
            similar = similar * (2 * together + low) / (mean_1**2 + mean_2**2 + low)
        product *= max(float(similar.mean()), 0.0) ** (WEIGHTS[scale] / sum(WEIGHTS[:count]))
    return product


def mean_pairwise_ms_ssim(images: Iterable[Image]) -> float:
    """Return the mean of `ms_ssim` over all pairs of images, two or more: 1 where all are the same picture."""
    pyramids = [pyramid(image) for image in images]
    if len(pyramids) < 2:
        raise ValueError("a pair needs two images")
    return float(np.mean([ms_ssim(a, b) for a, b in itertools.combinations(pyramids, 2)]))


def small(image: Image) -> Image:
    """Return an image of `LARGEST` voxels a side at most, by averaging blocks; smaller sides stay."""
    return _averaged(image, tuple(-(-side // LARGEST) for side in image.shape))


def _windowed(image: Doubles) -> Doubles:
    for axis, side in enumerate(image.shape):
        taps = min(TAPS, side - 1 + side % 2)
        radius = taps // 2
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SIGMA) ** 2)
        image = correlate1d(image, weights / weights.sum(), axis)
        image = image[(slice(None),) * axis + (slice(radius, side - radius),)]
    return image


def _averaged(image: Image, times: tuple[int, ...]) -> Image:
    """Means of blocks; what is left over at an end is left out."""
    for axis, number in enumerate(times):
        if number > 1:
            first = np.moveaxis(image, axis, 0)
            first = first[: len(first) // number * number].reshape(-1, number, *first.shape[1:]).mean(axis=1)
            image = np.moveaxis(first, 0, axis)
    return image
