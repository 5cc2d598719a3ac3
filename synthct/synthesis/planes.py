"""The network's view of a volume: its slices in one plane, scaled, with their neighbours as channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from synthct.synthesis.card import PLANES
from synthct.volumes.scaling import Scaling


def along_plane(voxels: np.ndarray, plane: str) -> np.ndarray:
    """Return a view of an (S, P, L) array whose first axis counts the slices of ``plane``.

    Axial slices are (P, L), coronal (S, L), sagittal (S, P): the other two axes keep their order.
    """
    return np.moveaxis(voxels, PLANES.index(plane), 0)


def input_blocks(
    slices: np.ndarray, scaling: Scaling, neighbours: int, batch: int, inside: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of the first slice and the network's input for ``batch`` slices after the other.

    Parameters
    ----------
    slices
        Array or view of shape (slices, rows, columns).
    scaling
        Fitted.
    neighbours
        Slices on either side given as channels; the first and last slice are repeated beyond the ends.
    batch
        Slices per block; the last block may hold fewer.
    inside
        Mask of the same shape: blocks in which it is 0 everywhere are left out. None: all are wanted.

    Yields
    ------
    tuple
        ``start`` and float32 (slices, 2·neighbours + 1, rows, columns).
    """
    count = len(slices)
    for start in range(0, count, batch):
        stop = min(start + batch, count)
        if inside is not None and not inside[start:stop].any():
            continue
        first, last = max(0, start - neighbours), min(count, stop + neighbours)
        scaled = scaling.apply(slices[first:last])
        missing = (first - (start - neighbours), stop + neighbours - last)
        if any(missing):
            scaled = np.pad(scaled, (missing, (0, 0), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(scaled, 2 * neighbours + 1, axis=0, writeable=True)
        yield start, np.moveaxis(windows, -1, 1)
