"""The grid that a model works on, where it was trained at a spacing of its own, and the way back from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from synthct.volumes.geometry import Grid, axial_order, grid_with_spacing, image_from_array

_TOLERANCE = 0.01
_SLAB_VOXELS = 4_000_000


def model_grid(grid: Grid, spacing: Sequence[float | None] | None) -> Grid:
    """Return the grid with the model's spacing over the same field of view, or ``grid`` itself.

    Parameters
    ----------
    grid
        Of the input, in any orientation.
    spacing
        Along left, posterior, superior in mm; None or 0 in one place, or within 1 % of the input's: the input's own.
    """
    wanted = list(grid.spacing)
    order, _ = axial_order(grid)
    for axis, length in zip(order, spacing or (), strict=False):
        if length and abs(length / grid.spacing[axis] - 1) > _TOLERANCE:
            wanted[axis] = float(length)
    return grid if wanted == list(grid.spacing) else grid_with_spacing(grid, wanted)


def sampled_back(hu: np.ndarray, work: Grid, grid: Grid) -> np.ndarray:
    """Sample HU on ``work`` linearly at the voxels of ``grid``, in slabs; beyond the edge its value is repeated.

    Parameters
    ----------
    hu
        int16, shape (z, y, x) of ``work``.
    work, grid
        Where the values lie, and where they are wanted.

    Returns
    -------
    numpy.ndarray
        int16, rounded, shape (z, y, x) of ``grid``.
    """
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetOutputSpacing(grid.spacing)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetUseNearestNeighborExtrapolator(True)
    image = image_from_array(hu, work)
    result = np.empty(grid.size[::-1], np.int16)
    step = max(1, _SLAB_VOXELS // (grid.size[0] * grid.size[1]))
    for start in range(0, grid.size[2], step):
        stop = min(start + step, grid.size[2])
        resampler.SetOutputOrigin((grid.index_to_world @ (0, 0, start, 1))[:3].tolist())
        resampler.SetSize((grid.size[0], grid.size[1], stop - start))
        slab = resampler.Execute(image)  # a view does not keep its image alive
        result[start:stop] = np.rint(sitk.GetArrayViewFromImage(slab))
    return result
