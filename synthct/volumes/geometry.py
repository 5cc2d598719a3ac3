"""Where voxels lie: compare grids, move arrays onto them, resample from one to another.

World coordinates are LPS in mm (SimpleITK's). Grids are described in SimpleITK's x, y, z order, arrays are z, y, x.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError

_INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}
_SLAB_VOXELS = 16_000_000
_ROUNDING_MM = 0.1
_MOST_VOXELS = 2.0**33
"""16 GiB in the smallest type that HU have."""
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels in space.

    Attributes
    ----------
    size
        Voxels along x, y, z of the image (not of the world).
    spacing
        mm between voxel centres along the same axes.
    origin
        LPS position in mm of the centre of voxel (0, 0, 0).
    direction
        Row-major 3×3 matrix whose columns are the LPS unit vectors of the image's axes.
    """

    size: tuple[int, int, int]
    spacing: Triple
    origin: Triple
    direction: tuple[float, ...]

    @property
    def index_to_world(self) -> np.ndarray:
        """4×4 matrix from (i, j, k) to LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    def corners(self) -> np.ndarray:
        """LPS positions in mm of the centres of the eight corner voxels, shape (8, 3)."""
        last = [(0, n - 1) for n in self.size]
        index = np.array([(*corner, 1) for corner in itertools.product(*last)], dtype=float)
        return (index @ self.index_to_world.T)[:, :3]


def grid_of(image: sitk.Image) -> Grid:
    """Return the grid of a 3D image."""
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def same_grid(a: sitk.Image | Grid, b: sitk.Image | Grid, tolerance_mm: float = 1e-3) -> bool:
    """Whether two grids have the same size and no voxel lies further than ``tolerance_mm`` from its twin."""
    a, b = _grid(a), _grid(b)
    return a.size == b.size and _largest_shift(a, b) <= tolerance_mm


def require_same_grid(
    a: sitk.Image | Grid, b: sitk.Image | Grid, names: tuple[str, str], tolerance_mm: float = 1e-3
) -> None:
    """Refuse two images that are not voxel by voxel in the same place.

    Raises
    ------
    UserError
        Naming both and saying how they differ.
    """
    a, b = _grid(a), _grid(b)
    if a.size != b.size:
        why = f"They have {_times(a.size)} and {_times(b.size)} voxels."
    elif _largest_shift(a, b) > tolerance_mm:
        why = f"The same voxel lies up to {_largest_shift(a, b):.3g} mm apart in the two."
    else:
        return
    raise UserError(
        f"{names[0]} and {names[1]} are not on the same grid.", why, f"Resample {names[1]} onto {names[0]} first."
    )


def array_of(image: sitk.Image) -> np.ndarray:
    """Return a copy of the voxels, shape (z, y, x), in the image's own type."""
    return sitk.GetArrayFromImage(image)


def image_from_array(array: np.ndarray, reference: sitk.Image | Grid) -> sitk.Image:
    """Put an array of shape (z, y, x) onto the grid of ``reference``; bool becomes uint8.

    Raises
    ------
    ValueError
        When the shape is not that of the grid.
    """
    grid = _grid(reference)
    if array.shape != grid.size[::-1]:
        raise ValueError(f"array of shape {array.shape} does not fit a grid of shape {grid.size[::-1]}")
    if array.dtype == bool:
        array = array.view(np.uint8)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def resample_onto(
    image: sitk.Image,
    reference: sitk.Image | Grid,
    interpolation: str = "linear",
    outside: float = 0.0,
    transform: sitk.Transform | None = None,
) -> sitk.Image:
    """Resample an image onto another grid; the pixel type stays, integers are rounded rather than truncated.

    Parameters
    ----------
    image
        3D scalar image.
    reference
        Grid of the result.
    interpolation
        ``"linear"`` for intensities, ``"nearest"`` for labels.
    outside
        Value where the image does not reach: −1024 for a CT, 0 for an MR or a mask.
    transform
        Maps LPS points of the reference to points of the image (SimpleITK's sense); None: identity.
    """
    grid = _grid(reference)
    transform = transform or sitk.Transform(3, sitk.sitkIdentity)
    kind = image.GetPixelID()
    exact = interpolation == "nearest" or kind in (sitk.sitkFloat32, sitk.sitkFloat64)
    if exact:
        return _resample(image, grid, interpolation, outside, transform, kind)
    dtype = sitk.GetArrayViewFromImage(image).dtype
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    result = np.empty(grid.size[::-1], dtype)
    step = max(1, _SLAB_VOXELS // (grid.size[0] * grid.size[1]))
    for start in range(0, grid.size[2], step):  # in slabs: the float copy stays small
        count = min(step, grid.size[2] - start)
        origin = tuple(float(value) for value in (grid.index_to_world @ (0, 0, start, 1))[:3])
        slab = Grid((grid.size[0], grid.size[1], count), grid.spacing, origin, grid.direction)  # type: ignore[arg-type]
        part = _resample(image, slab, interpolation, outside, transform, sitk.sitkFloat32)
        values = np.rint(sitk.GetArrayViewFromImage(part))
        result[start : start + count] = np.clip(values, low, high, out=values)
    return image_from_array(result, grid)


def resample_to_spacing(
    image: sitk.Image, spacing: Sequence[float], interpolation: str = "linear", outside: float = 0.0
) -> sitk.Image:
    """Resample to another voxel size (x, y, z in mm) over the same field of view, its centre kept."""
    return resample_onto(image, grid_with_spacing(image, spacing), interpolation, outside)


def grid_with_spacing(reference: sitk.Image | Grid, spacing: Sequence[float]) -> Grid:
    """Return the grid with the given voxel size (x, y, z in mm) that covers the same field of view."""
    grid = _grid(reference)
    old, new = np.asarray(grid.spacing), np.asarray([float(value) for value in spacing])
    if new.shape != (3,) or not np.all(new > 0):
        raise UserError(f"The spacing {tuple(spacing)} is not usable.", "Three numbers of mm above zero are needed.")
    size = np.maximum(1, np.rint(np.asarray(grid.size) * old / new)).astype(int)
    voxels = float(np.prod(size.astype(float)))
    if voxels > _MOST_VOXELS:
        raise UserError(
            f"The spacing {tuple(new.tolist())} is not usable.",
            f"It makes {voxels / 1e9:.0f} thousand million voxels of an image of {_times(grid.size)}.",
            "Ask for larger voxels.",
        )
    middle = (grid.index_to_world @ (*((np.asarray(grid.size) - 1) / 2), 1))[:3]
    origin = middle - np.reshape(grid.direction, (3, 3)) @ ((size - 1) / 2 * new)
    return Grid(tuple(size.tolist()), tuple(new.tolist()), tuple(origin.tolist()), grid.direction)


def grid_of_matrix(matrix: np.ndarray, size: tuple[int, int, int], name: str) -> Grid:
    """Return the grid whose axes are the columns of a 4×4 matrix from (i, j, k) to LPS mm.

    Directions that are rounded (all corners within 0.1 mm of a grid with right angles) are made orthogonal.

    Raises
    ------
    UserError
        Naming ``name``, when an axis has no length, two axes coincide, or the axes are not at right angles.
    """
    axes = np.asarray(matrix, float)[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    again = "Export the image again from the scanner or from Slicer."
    if not np.isfinite(matrix).all() or not (spacing > 0).all():
        raise UserError(f"{name} has a voxel size of zero or none at all.", f"Its axes are {axes.tolist()}.", again)
    left, lengths, right = np.linalg.svd(axes / spacing)
    if lengths[-1] < 1e-3:
        raise UserError(f"{name} has a singular direction matrix.", "Two of its axes run the same way.", again)
    direction = left @ right
    origin = tuple(float(value) for value in matrix[:3, 3])
    grid = Grid(size, tuple(spacing.tolist()), origin, tuple(direction.ravel().tolist()))  # type: ignore[arg-type]
    reach = np.abs(axes - direction * spacing) @ (np.asarray(size) - 1)
    if np.linalg.norm(reach) > _ROUNDING_MM:
        cosines = (axes / spacing).T @ (axes / spacing)
        angle = np.degrees(np.arcsin(np.abs(cosines - np.eye(3)).max()))
        raise UserError(
            f"{name} is sheared: two of its axes are {angle:.2f}° away from a right angle.",
            "A volume whose slices are shifted against each other cannot be used as a stack.",
            "Resample it onto an upright grid (in Slicer: harden the transform, then Resample Scalar Volume).",
        )
    return grid


def to_axial(image: sitk.Image) -> sitk.Image:
    """Permute and flip the axes so that they run as closely as possible to left, posterior, superior.

    No value is interpolated and every voxel stays where it is in space. The array of the result is (S, P, L), so its
    axis 0 goes through axial, axis 1 through coronal and axis 2 through sagittal planes.
    """
    order, flips = axial_order(image)
    if order != (0, 1, 2):
        image = sitk.PermuteAxes(image, order)
    return _flipped(image, flips)


def back_from_axial(image: sitk.Image, original: sitk.Image | Grid) -> sitk.Image:
    """Undo `to_axial`: bring an image on the grid of ``to_axial(original)`` onto exactly the grid of ``original``."""
    grid = _grid(original)
    order, flips = axial_order(grid)
    image = _flipped(image, flips)
    if order != (0, 1, 2):
        image = sitk.PermuteAxes(image, [order.index(axis) for axis in range(3)])
    else:
        image = sitk.Image(image)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def axial_view(array: np.ndarray, grid: sitk.Image | Grid) -> np.ndarray:
    """Return the array that `to_axial` would give, (S, P, L), as a view: nothing is copied, writing writes through.

    Parameters
    ----------
    array
        Voxels on ``grid``, shape (z, y, x).
    grid
        Where they lie.
    """
    order, flips = axial_order(grid)
    turned = np.transpose(array, [2 - order[2 - axis] for axis in range(3)])
    return turned[tuple(slice(None, None, -1 if flip else 1) for flip in reversed(flips))]


def axial_order(image: sitk.Image | Grid) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which image axis goes to x, y, z (left, posterior, superior), and which of the results must be flipped."""
    direction = np.reshape(_grid(image).direction, (3, 3))
    order = max(
        itertools.permutations(range(3)), key=lambda axes: sum(abs(direction[w, a]) for w, a in enumerate(axes))
    )
    flips = tuple(bool(direction[world, axis] < 0) for world, axis in enumerate(order))
    return order, flips  # type: ignore[return-value]


def _flipped(image: sitk.Image, flips: tuple[bool, bool, bool]) -> sitk.Image:
    return image[tuple(slice(None, None, -1 if flip else 1) for flip in flips)] if any(flips) else image


def _grid(value: sitk.Image | Grid) -> Grid:
    return value if isinstance(value, Grid) else grid_of(value)


def _largest_shift(a: Grid, b: Grid) -> float:
    return float(np.linalg.norm(a.corners() - b.corners(), axis=1).max())


def _times(size: Sequence[int]) -> str:
    return "×".join(str(n) for n in size)


def _resample(
    image: sitk.Image, grid: Grid, interpolation: str, outside: float, transform: sitk.Transform, kind: int
) -> sitk.Image:
    method = _INTERPOLATORS[interpolation]
    return sitk.Resample(image, grid.size, transform, method, grid.origin, grid.spacing, grid.direction, outside, kind)
