"""Turn a volume into upright axial slices: what planning systems expect of a CT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import Grid, grid_of, resample_onto, same_grid, to_axial
from synthct.volumes.hu import AIR_HU

_ROUNDING_MM = 1e-2
_MOST_VOXELS = 2**31
_UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def is_axial(image: sitk.Image | Grid) -> bool:
    """Whether rows run to the left, columns to the back and slices to the head, within rounding."""
    grid = image if isinstance(image, Grid) else grid_of(image)
    return same_grid(grid, Grid(grid.size, grid.spacing, grid.origin, _UPRIGHT), _ROUNDING_MM)


def resample_axial(image: sitk.Image, spacing: Sequence[float] | None = None, outside: float = AIR_HU) -> sitk.Image:
    """Bring a volume onto upright axial slices with square pixels, in the same patient coordinates.

    A volume that only has to be turned by permuting and flipping its axes is not interpolated. Others are interpolated
    linearly onto the smallest upright box that holds every voxel centre.

    Parameters
    ----------
    image
        3D scalar image.
    spacing
        mm: one number for all three axes, or x, y, z. None: the image's own, with the smaller of x and y for both.
    outside
        Value where the image does not reach.

    Returns
    -------
    SimpleITK.Image
        Direction identity, the pixel type of ``image``.

    Raises
    ------
    UserError
        Spacing that is not above zero, or so fine that the volume could not be handled.
    """
    turned = to_axial(image)
    wanted = _wanted(turned, spacing)
    if is_axial(turned):
        turned.SetDirection(_UPRIGHT)
        if np.allclose(turned.GetSpacing(), wanted, rtol=0, atol=1e-4):
            return turned
    corners = grid_of(turned).corners()
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(2, np.ceil((high - low) / wanted - 1e-4) + 1)
    if float(np.prod(size)) > _MOST_VOXELS:
        shown = "×".join(f"{n:.0f}" for n in size)
        raise UserError(f"The spacing {wanted.tolist()} mm is too fine.", f"It would give {shown} voxels.")
    origin = (low + high - (size - 1) * wanted) / 2
    grid = Grid(
        tuple(int(n) for n in size),  # type: ignore[arg-type]
        tuple(wanted.tolist()),
        tuple(origin.tolist()),
        _UPRIGHT,
    )
    return resample_onto(turned, grid, "linear", outside)


def _wanted(image: sitk.Image, spacing: Sequence[float] | None) -> np.ndarray:
    if spacing is None:
        x, y, z = image.GetSpacing()
        return np.array([min(x, y), min(x, y), z])
    values = np.array([float(value) for value in spacing])
    if values.size not in (1, 3) or not (np.isfinite(values).all() and (values > 0).all()):
        raise UserError(
            f"The spacing {' '.join(f'{value:g}' for value in values)} cannot be used.",
            "One number of mm above zero is needed for all axes, or three for x, y and z.",
        )
    return np.broadcast_to(values, 3).copy()
