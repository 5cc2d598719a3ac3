"""A small picture of a nodule: the CT around it in three planes, its outline drawn over it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from synthct.volumes.geometry import Grid, axial_order, axial_view
from synthct.volumes.hu import AIR_HU

SIDE = 96
"""Pixels of each of the three pictures, which stand side by side: axial, coronal, sagittal."""
LUNG_WINDOW = (-1000.0, 400.0)
_NODULE = (91, 226, 125)
_NARROWEST_MM = 30.0


def preview_of(hu: np.ndarray, labels: np.ndarray, label: int, box: tuple[slice, ...], grid: Grid) -> np.ndarray:
    """Return RGB, uint8, shape (SIDE, 3 × SIDE, 3): the planes of the image through the middle of a nodule.

    They are turned as a radiologist looks at them: the patient's right on the left, front or head up.

    Parameters
    ----------
    hu, labels
        CT and nodules on ``grid``, (z, y, x).
    label
        Whose picture it is.
    box
        Where it lies in them.
    grid
        Of both.
    """
    extent = max((part.stop - part.start) * mm for part, mm in zip(box, grid.spacing[::-1], strict=True))
    width = max(_NARROWEST_MM, 2 * float(extent))
    margins = [int(width / mm) + 2 for mm in grid.spacing[::-1]]
    crop = tuple(slice(max(part.start - n, 0), part.stop + n) for part, n in zip(box, margins, strict=True))
    hu, nodule = axial_view(hu[crop], grid), axial_view(labels[crop] == label, grid)
    order, _ = axial_order(grid)
    step = np.array([grid.spacing[axis] for axis in order])[::-1]
    inside = np.argwhere(nodule)
    middle = (inside.min(axis=0) + inside.max(axis=0)) / 2
    along = (np.arange(SIDE) - (SIDE - 1) / 2) * width / SIDE
    pictures = []
    for still in range(3):
        rows, columns = (axis for axis in range(3) if axis != still)
        place = np.empty((3, SIDE, SIDE))
        place[still] = middle[still]
        place[rows] = (middle[rows] + (along[::-1] if still else along) / step[rows])[:, None]
        place[columns] = (middle[columns] + along / step[columns])[None, :]
        values = ndimage.map_coordinates(hu.astype(np.float32), place, order=1, mode="constant", cval=AIR_HU)
        inside = ndimage.map_coordinates(nodule.astype(np.uint8), place, order=0) > 0
        grey = np.clip((values - LUNG_WINDOW[0]) / (LUNG_WINDOW[1] - LUNG_WINDOW[0]), 0, 1) * 255
        picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        picture[inside & ~ndimage.binary_erosion(inside)] = _NODULE
        pictures.append(picture)
    return np.concatenate(pictures, axis=1)
