"""What users see before any score tells them: slices that jump, a checkerboard, outputs that differ (section E)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Array = NDArray[Any]
Mask = NDArray[np.bool_]

BORDER_MM = 5.0
"""The mask is eroded by this in every axial slice: errors at the skin's edge against air do not count."""
NYQUIST_REACH = 1 / 32
"""How far from a checkerboard's frequency energy counts as its own, in cycles per voxel."""


def slice_jump(
    reference: Array, synthetic: Array, spacing: Sequence[float], mask: Mask | None = None, border_mm: float = BORDER_MM
) -> float:
    """Mean change of the error through the slices over that within them, per mm: 1 without jumps.

    The error e is synthetic − reference. Its change |e(p + d) − e(p)| / |d| is taken along z, y and x at one
    distance, the largest of the three spacings, so that thick slices are compared with as long a way within them; where
    that is no whole number of voxels, between the two next to it. Both p and p + d lie in the mask. An error that is
    smooth, and one that is pure noise, both give 1 at any spacing; a network that knows nothing of the slice above
    gives more.

    Parameters
    ----------
    reference, synthetic
        HU, axial: z, y, x.
    spacing
        x, y, z in mm.
    mask
        Where it counts, eroded in every axial slice by ``border_mm``; None: everywhere.

    Returns
    -------
    float
        z over the mean of y and x; NaN where the error does not change in the slices, or nothing is left of the mask.
    """
    steps_mm = [float(step) for step in reversed(list(spacing))]
    inside = np.ones(reference.shape, bool) if mask is None else _eroded(mask, steps_mm, border_mm)
    error = synthetic.astype(np.float32) - reference.astype(np.float32)
    through, *within = (_change(error, inside, axis, max(steps_mm) / step) for axis, step in enumerate(steps_mm))
    in_plane = sum(within) / len(within)
    return through / in_plane if in_plane > 0 else math.nan


def checkerboard(image: Array, stride: int, mask: Mask | None = None) -> float:
    """Share of an image's spectral energy at the frequencies of a checkerboard that layers of ``stride`` leave.

    Per axial slice: the box around the mask, the mean inside taken away and 0 outside the mask, a Hann window, and
    of the energy that is left the share within `NYQUIST_REACH` (at least one bin) of the frequencies (k, l) / stride
    along rows and columns. Stride 2: half a cycle per voxel in one or both directions, Nyquist's. Stride 4: the
    multiples of a quarter that stride 2 does not have. Energies are summed over slices.

    Parameters
    ----------
    image
        Any unit, z, y, x.
    stride
        2 or 4: of the transposed convolution, or of two in a row.

    Returns
    -------
    float
        0…1; NaN where the image is constant in every slice.
    """
    found = total = 0.0
    for values, inside in _boxes(image, mask):
        values = np.where(inside, values - values[inside].mean(), 0.0)
        window = np.outer(np.hanning(values.shape[0] + 2)[1:-1], np.hanning(values.shape[1] + 2)[1:-1])
        energy = np.abs(np.fft.fft2(values * window)) ** 2
        found += float(energy[_lattice(values.shape, stride)].sum())
        total += float(energy.sum())
    return found / total if total > 0 else math.nan


def checkerboard_ratio(reference: Array, synthetic: Array, stride: int, mask: Mask | None = None) -> float:
    """Return the synthetic image's `checkerboard` over the reference's: 1 where it has no more than that."""
    own, usual = checkerboard(synthetic, stride, mask), checkerboard(reference, stride, mask)
    return own / usual if usual > 0 else math.nan


def diversity(outputs: Sequence[Array], mask: Mask | None = None) -> float:
    """Mean absolute difference in HU between two outputs of a stochastic method for one input, over all pairs.

    0: the method ignores its noise. Arrays of one shape; over the mask, or everywhere.
    """
    if len(outputs) < 2:
        raise ValueError("diversity needs two outputs or more")
    inside = [(output if mask is None else output[mask]).astype(np.float32) for output in outputs]
    return float(np.mean([np.abs(a - b).mean(dtype=np.float64) for a, b in itertools.combinations(inside, 2)]))


def _eroded(mask: Mask, steps_mm: Sequence[float], border_mm: float) -> Mask:
    eroded = np.zeros_like(mask)
    for plane, kept in zip(mask, eroded, strict=True):
        if plane.all():  # what goes on beyond the image is no border
            kept[...] = True
        elif plane.any():
            kept[...] = distance_transform_edt(plane, sampling=steps_mm[1:]) > border_mm
    return eroded


def _change(error: NDArray[np.float32], inside: Mask, axis: int, distance: float) -> float:
    """Mean |e(p + d) − e(p)| at ``distance`` voxels along ``axis``, interpolated between whole numbers of them."""
    near = math.floor(distance + 1e-3)
    share = max(0.0, distance - near)
    change = _change_over(error, inside, axis, near)
    return change if share < 1e-3 else (1 - share) * change + share * _change_over(error, inside, axis, near + 1)


def _change_over(error: NDArray[np.float32], inside: Mask, axis: int, lag: int) -> float:
    """Mean |e(p + lag) − e(p)| along ``axis``; NaN without any pair."""
    here: list[slice] = [slice(None)] * 3
    there = list(here)
    here[axis], there[axis] = slice(None, -lag), slice(lag, None)
    both = inside[tuple(here)] & inside[tuple(there)]
    if not both.any():
        return math.nan
    return float(np.abs(error[tuple(there)][both] - error[tuple(here)][both]).mean(dtype=np.float64))


def _boxes(image: Array, mask: Mask | None) -> Iterator[tuple[NDArray[np.float64], Mask]]:
    """Every slice that shows something of the mask, cut to the box around it."""
    for index, plane in enumerate(image):
        inside = np.ones(plane.shape, bool) if mask is None else mask[index]
        if not inside.any():
            continue
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        yield plane[box].astype(np.float64), inside[box]


def _lattice(shape: tuple[int, ...], stride: int) -> Mask:
    """Where a spectrum as `numpy.fft.fft2` gives it belongs to ``stride`` and to no smaller one."""

    def near(step: float) -> Mask:
        hits, origin = [], []
        for length in shape:
            frequency = np.fft.fftfreq(length)
            reach = max(NYQUIST_REACH, 1 / length)
            hits.append(np.abs(frequency - step * np.round(frequency / step)) <= reach + 1e-9)
            origin.append(np.abs(frequency) <= reach + 1e-9)
        marked: Mask = np.logical_and.outer(*hits) & ~np.logical_and.outer(*origin)
        return marked

    return near(1 / stride) if stride <= 2 else near(1 / stride) & ~near(2 / stride)
