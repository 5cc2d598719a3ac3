"""The shape of a nodule turned, scaled, bent, and brought onto another grid with its physical size kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from synthct.errors import UserError
from synthct.volumes.geometry import Grid, array_of, grid_of, image_from_array

_MARGIN = 3
"""Voxels around a template within which its distance map still rises."""
_KNOTS = 4
"""Random displacements across a nodule, along each axis."""
_LARGEST_SCALE = 10.0


@dataclass(frozen=True)
class Pose:
    """How a template is changed before it is planted; the default changes nothing.

    Attributes
    ----------
    rotation
        Degrees about the axes to the right, anterior and superior, in this order.
    scale
        Of every length.
    elastic_mm
        Standard deviation of a smooth random displacement along each axis, which keeps the volume.
    seed
        Of the displacement.
    """

    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    elastic_mm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 / _LARGEST_SCALE <= self.scale <= _LARGEST_SCALE:
            raise UserError(f"A nodule cannot be scaled by {self.scale:g}.", f"0.1 to {_LARGEST_SCALE:g} is possible.")
        if not 0 <= self.elastic_mm <= 50:
            raise UserError(f"A nodule cannot be bent by {self.elastic_mm:g} mm.", "0 to 50 mm is possible.")
        if not np.isfinite(self.rotation).all():
            raise UserError(f"The rotation {self.rotation} cannot be used.", "Three numbers of degrees are needed.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a log."""
        return asdict(self)


UNCHANGED = Pose()


def draw_pose(
    random: np.random.Generator,
    rotation: float = 180.0,
    scale: tuple[float, float] = (0.8, 1.25),
    elastic_mm: float = 0.0,
) -> Pose:
    """Draw a pose: each angle uniform in ± ``rotation`` degrees, the scale log-uniform between its two ends.

    Raises
    ------
    UserError
        A scale below 0.1, above 10 or whose ends are exchanged.
    """
    if not 0 < scale[0] <= scale[1]:
        raise UserError(
            f"The scales {scale[0]:g} to {scale[1]:g} cannot be used.", "Both are above 0, the smaller one first."
        )
    right, anterior, superior = random.uniform(-rotation, rotation, 3)
    drawn = float(np.clip(np.exp(random.uniform(np.log(scale[0]), np.log(scale[1]))), *scale))  # rounding leaves it
    return Pose((float(right), float(anterior), float(superior)), drawn, elastic_mm, int(random.integers(2**31)))


def offsets_on_grid(shape: sitk.Image, grid: sitk.Image | Grid, pose: Pose = UNCHANGED) -> np.ndarray:
    """Return which voxels a template covers on another grid, relative to the voxel that it is centred on.

    The template's signed distance to its surface is sampled where the grid's voxels lie, after the pose; as many
    voxels as its volume holds are then taken, the innermost first. So the physical size is kept to half a voxel
    whatever the spacing and however oblique the grids, and on its own grid a template is itself.

    Parameters
    ----------
    shape
        Not 0 inside; its physical origin (0, 0, 0) is what comes to lie on the centre voxel.
    grid
        Whose spacing and direction count; its position does not.

    Returns
    -------
    numpy.ndarray
        Offsets (z, y, x) in voxels, int64, shape (n, 3), n ≥ 1, sorted.
    """
    inside = np.pad(array_of(shape) != 0, _MARGIN)
    spacing = np.asarray(shape.GetSpacing())
    signed = ndimage.distance_transform_edt(~inside, spacing[::-1]) - ndimage.distance_transform_edt(
        inside, spacing[::-1]
    )
    frame = grid if isinstance(grid, Grid) else grid_of(grid)
    to_world = np.reshape(frame.direction, (3, 3)) * np.asarray(frame.spacing)
    voxel_mm3 = float(np.prod(frame.spacing))
    count = max(1, round(float(inside.sum() * np.prod(spacing)) * pose.scale**3 / voxel_mm3))

    turn = _rotation(pose.rotation)
    own = grid_of(shape)
    corners = own.corners() * pose.scale @ turn.T
    reach = (
        np.abs(corners @ np.linalg.inv(to_world).T).max(axis=0) + 1 + 3 * pose.elastic_mm / np.asarray(frame.spacing)
    )
    reach = np.ceil(np.maximum(reach, np.cbrt(count))).astype(int)
    axes = [np.arange(-extent, extent + 1) for extent in reach]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)  # i, j, k
    points = index @ to_world.T
    if pose.elastic_mm:
        points = points + _displacement(points, pose, float(np.linalg.norm(corners, axis=1).max()))
    points = points @ turn / pose.scale  # rows times R are the inverse rotation
    from_world = np.linalg.inv(own.index_to_world[:3, :3])
    place = (points - own.origin) @ from_world.T + _MARGIN
    depth = ndimage.map_coordinates(signed, place[:, ::-1].T, order=1, mode="nearest")
    beyond = np.maximum(0, np.maximum(-place, place - (np.array(inside.shape[::-1]) - 1))) * spacing
    depth = depth + np.linalg.norm(beyond, axis=1)
    depth = np.round(depth, 6)
    near = np.flatnonzero(depth <= np.partition(depth, count - 1)[count - 1])
    # ties are broken towards the centre, then by place, so that the same voxels come out everywhere
    order = np.lexsort((*index[near].T, np.round((points[near] ** 2).sum(axis=1), 6), depth[near]))
    chosen = index[near[order[:count]]][:, ::-1]
    return chosen[np.lexsort(chosen.T[::-1])].astype(np.int64)


def posed(shape: sitk.Image, pose: Pose) -> sitk.Image:
    """Return a template's shape after a pose as a shape of its own, on voxels of the same size and direction."""
    offsets = offsets_on_grid(shape, shape, pose)
    low, high = offsets.min(axis=0) - 1, offsets.max(axis=0) + 1
    array = np.zeros(tuple(high - low + 1), np.uint8)
    array[tuple((offsets - low).T)] = 1
    frame = grid_of(shape)
    origin = frame.index_to_world[:3, :3] @ low[::-1]
    size: tuple[int, int, int] = array.shape[::-1]  # type: ignore[assignment]
    return image_from_array(array, Grid(size, frame.spacing, tuple(origin.tolist()), frame.direction))


def _rotation(degrees: Sequence[float]) -> np.ndarray:
    """Rotation in LPS of angles about right, anterior and superior, the first applied first."""
    right, anterior, superior = np.radians(degrees)
    # LPS turns the other way about the axes to the left and to the back; about superior it turns as RAS does
    x, y, z = -right, -anterior, superior
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _displacement(points: np.ndarray, pose: Pose, radius: float) -> np.ndarray:
    """Smooth random displacement in mm at points in mm, shape (n, 3); the centre, and so the nodule, stays.

    Random knots over ± ``radius`` with cubic splines between them: the same in space whatever the grid.
    """
    knots = np.random.default_rng(pose.seed).normal(0.0, pose.elastic_mm, (3, _KNOTS, _KNOTS, _KNOTS))
    with_centre = np.vstack([points, np.zeros(3)])
    place = ((with_centre / radius + 1) / 2 * (_KNOTS - 1)).T
    moved = np.stack([ndimage.map_coordinates(field, place, order=3, mode="nearest") for field in knots], axis=1)
    return moved[:-1] - moved[-1]
