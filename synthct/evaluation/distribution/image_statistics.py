"""A few numbers that say what an image looks like, without any trained network: how sets of images are compared.

They know nothing of anatomy. Two sets that agree in them may still look unlike to a person; two that differ do differ.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from synthct.evaluation.distribution.distances import frechet_distance

BINS = 8
"""Of the histogram between −1 and 1."""
SCALES = (1, 2, 4)
"""Voxels along an edge of the blocks whose means are looked at; larger than the image: left out."""
SPREAD_FLOOR = 0.02
"""A statistic that varies less than this between the reference images counts as if it varied so much."""

Images = NDArray[np.floating]
Doubles = NDArray[np.float64]


def image_statistics(image: Images) -> Doubles:
    """Return the statistics of one image or volume, all its channels one after the other.

    For each channel: the shares of its voxels in `BINS` equal parts of [−1, 1]; its mean in each half of every axis
    (quadrants in 2D, octants in 3D): where things lie; and at each of `SCALES` the standard deviation of the block
    means and the mean size of their differences along each axis: contrast and sharpness.

    Parameters
    ----------
    image
        (channels, rows, columns) or (channels, slices, rows, columns), −1 to 1; values beyond count to the last bins.
    """
    return np.concatenate([_of_channel(np.asarray(channel, np.float32)) for channel in image])


def statistics_distance(images: Doubles, reference: Doubles) -> float:
    """Return the Fréchet distance of two sets of `image_statistics`, (images, statistics) each.

    Every statistic is divided by its standard deviation in ``reference`` (at least `SPREAD_FLOOR`) first, so that the
    value is in units of what the reference images differ by. 0: the same means and covariances. It is not an FID,
    which rests on the features of a network, and values for different references cannot be compared.
    """
    spread = np.maximum(reference.std(axis=0), SPREAD_FLOOR)
    return frechet_distance(images / spread, reference / spread)


def _of_channel(channel: NDArray[np.float32]) -> Doubles:
    counts = np.histogram(np.clip(channel, -1, 1), BINS, (-1, 1))[0]
    halves = [[slice(0, -(-length // 2)), slice(length // 2, None)] for length in channel.shape]
    found = [*(counts / channel.size), *(channel[part].mean() for part in itertools.product(*halves))]
    for scale in SCALES:
        if scale > max(channel.shape):
            break
        means = _block_means(channel, scale)
        found.append(means.std())
        found += [np.abs(np.diff(means, axis=axis)).mean() if means.shape[axis] > 1 else 0.0
                  for axis in range(means.ndim)]  # fmt: skip
    return np.array(found, np.float64)


def _block_means(array: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the means of blocks of ``side`` voxels along each axis; what is left over at the ends is left out."""
    for axis in range(array.ndim):
        edge = min(side, array.shape[axis])
        if edge > 1:
            whole = np.moveaxis(array, axis, 0)
            whole = whole[: len(whole) // edge * edge]
            array = np.moveaxis(whole.reshape(-1, edge, *whole.shape[1:]).mean(axis=1), 0, axis)
    return array
