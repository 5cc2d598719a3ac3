"""A generated mask made fit for use: binarised where its scaling says so, without specks (row C11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synthct.errors import UserError
from synthct.volumes.scaling import Scaling

THRESHOLD = 0.5
"""In mask values: half-way between background, 0, and the first label, 1, whatever the scaling makes of them."""


def binarise(mask: NDArray[np.floating], scaling: Scaling) -> NDArray[np.uint8]:
    """Return 1 where a generated mask holds a label and 0 elsewhere, the same shape.

    The threshold is 0.5 in mask values. In the network's output that is −0.5 for masks trained as [0, 2] and 0 for
    binary ones trained as {−1, 1}; at 0 the first form would lose label 1, which lies exactly there (row C11).

    Parameters
    ----------
    mask
        As the network gives it, −1 to 1, any shape.
    scaling
        The one that the masks were trained with: ``hagan-mask`` or ``hagan-mask-binary``.
    """
    return (scaling.invert(mask) > THRESHOLD).astype(np.uint8)


def remove_small(mask: NDArray[Any], minimum_mm3: float, spacing: tuple[float, ...]) -> NDArray[Any]:
    """Return the mask without its connected components of less than ``minimum_mm3``; a new array of its type.

    Voxels that touch by a face, an edge or a corner belong together. Labels other than 0 are taken together, so that
    a component of two labels counts as one.

    Parameters
    ----------
    mask
        (slices, rows, columns), or (rows, columns) of one slice; 0 is background.
    minimum_mm3
        Volume in mm³; 0 removes nothing.
    spacing
        x, y and z in mm. For a slice z is its thickness.

    Raises
    ------
    UserError
        A negative or infinite volume.
    """
    if not 0 <= minimum_mm3 < np.inf:
        raise UserError(f"The smallest component cannot be {minimum_mm3} mm³.", todo="Give 0 or more.")
    if mask.ndim not in (2, 3) or len(spacing) != 3:
        raise ValueError(f"a mask of {mask.ndim} axes and a spacing of {len(spacing)} numbers do not go together")
    components, voxels = _components(mask)
    volumes = voxels * float(np.prod(spacing))
    # A lump of exactly the volume asked for stays, whatever the spacing's last digit does to the product.
    kept = volumes >= minimum_mm3 * (1 - 1e-9)
    kept[0] = False
    return np.where(kept[components], mask, 0).astype(mask.dtype)


def keep_largest(mask: NDArray[Any]) -> NDArray[Any]:
    """Return the mask with its largest connected component alone; a new array of its type.

    What belongs together is as in `remove_small`; of two components of the same size the first stays.

    Parameters
    ----------
    mask
        (slices, rows, columns), or (rows, columns) of one slice; 0 is background.
    """
    components, voxels = _components(mask)
    largest = 1 + int(voxels[1:].argmax()) if len(voxels) > 1 else -1
    return np.where(components == largest, mask, 0).astype(mask.dtype)


def _components(mask: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the number of each voxel's component, 0 for background, and the voxels of each number."""
    components, count = ndimage.label(mask != 0, np.ones((3,) * mask.ndim))
    return components, np.bincount(components.ravel(), minlength=count + 1)
