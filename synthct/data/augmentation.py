"""Random changes of one training sample: drawn first, then applied to all its channels in one resampling.

Geometry is the same for input, target and mask; gamma, bias field and larger voxels change the input only. Rotation
and zoom are done in mm, so that anisotropic coronal and sagittal slices are not sheared. This is the path of slices;
volumes go through `synthct.data.patch_augmentation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import grid_sample

from synthct.data.elastic import Displacement
from synthct.recipe import Augmentation, Elastic, PerAxis

BIAS_DEGREE = 3


@dataclass(frozen=True)
class Change:
    """What is done to one sample; the defaults change nothing."""

    flip: bool = False
    angle: float = 0.0
    """Radians, in the plane."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Along rows and columns of the anatomy before it is turned. Larger than 1: the anatomy becomes larger."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Rows and columns, in voxels."""
    elastic: Displacement | None = None
    gamma: float = 1.0
    bias: np.ndarray | None = None
    """Coefficients of the field's Legendre polynomials, (degree + 1) along each axis."""
    voxel_mm: float | None = None
    """Size of the voxels that the input is shown in; None: its own."""

    @property
    def moves(self) -> bool:
        """Whether voxels must be interpolated (a mirror image needs none)."""
        still = self.angle == 0 and self.scale == (1.0, 1.0) and self.shift == (0.0, 0.0)
        return not still or self.elastic is not None


def draw_change(augmentation: Augmentation, random: np.random.Generator, axis: int = 0) -> Change:
    """Draw one change of a slice across array axis ``axis`` (z, y, x).

    What is off in ``augmentation`` is drawn too, so that one key does not alter another's draws. From ``random``
    itself are taken the draws of the first recipes only, the others from a child of it.
    """
    flip = bool(random.random() < 0.5)
    turn, zoom, down, right, power = random.uniform(-1, 1, 5).tolist()
    bias = random.uniform(-1, 1, (BIAS_DEGREE + 1, BIAS_DEGREE + 1))
    bias[0, 0] = 0.0
    bias *= augmentation.bias_field / np.abs(bias).sum()
    more = random.spawn(1)[0]
    moved, bent, powered, biased, coarse = more.random(5).tolist()
    across, elastic_turn, *elastic_moves = more.uniform(-1, 1, 6).tolist()
    displacement = draw_displacement(augmentation.elastic, more)
    voxel_mm = float(more.choice(augmentation.resampling.spacings))

    angle, scale, shift = 0.0, (1.0, 1.0), (0.0, 0.0)
    if moved < augmentation.affine_probability:
        angle, scale, shift = _in_plane(augmentation, axis, turn, (zoom, across), (down, right))
    bends = bent < augmentation.elastic.probability
    if bends:
        zooms, shifts = elastic_moves[:2], elastic_moves[2:]
        own = _in_plane(augmentation.elastic, axis, elastic_turn, (zooms[0], zooms[1]), (shifts[0], shifts[1]))
        angle += own[0]
        scale = (scale[0] * own[1][0], scale[1] * own[1][1])
        shift = (shift[0] + own[2][0], shift[1] + own[2][1])
    return Change(
        flip=flip and augmentation.flip,
        angle=angle,
        scale=scale,
        shift=shift,
        elastic=displacement if bends else None,
        gamma=float(np.exp(power * augmentation.gamma)) if powered < augmentation.gamma_probability else 1.0,
        bias=bias if augmentation.bias_field and biased < augmentation.bias_field_probability else None,
        voxel_mm=voxel_mm if coarse < augmentation.resampling.probability else None,
    )


def draw_displacement(elastic: Elastic, random: np.random.Generator) -> Displacement:
    """Draw smoothness, magnitude and seed of a displacement."""
    sigma, magnitude = random.uniform(*elastic.sigma), random.uniform(*elastic.magnitude)
    return Displacement(sigma, magnitude, int(random.integers(2**63)))


def _in_plane(
    ranges: Augmentation | Elastic, axis: int, turn: float, zooms: tuple[float, float], shifts: tuple[float, float]
) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """Angle, scale and shift in the slice from draws between -1 and 1 for angle, rows and columns."""
    across = 2 - axis  # the arrays' z, y, x as the recipe's x, y, z
    down, right = (place for place in (2, 1, 0) if place != across)

    def reach(value: PerAxis, place: int) -> float:
        return value[place] if isinstance(value, tuple) else value

    same = not isinstance(ranges.scale, tuple)
    angle = float(np.deg2rad(turn * reach(ranges.rotation_degrees, across)))
    scale = 1 + zooms[0] * reach(ranges.scale, down), 1 + zooms[0 if same else 1] * reach(ranges.scale, right)
    shift = (
        shifts[0] * reach(ranges.translation_voxels, down),
        shifts[1] * reach(ranges.translation_voxels, right),
    )
    return angle, scale, shift


def cut(
    channels: np.ndarray,
    outside: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
    change: Change = Change(),
    spacing: tuple[float, float] = (1.0, 1.0),
    labels: int = 0,
) -> np.ndarray:
    """Cut a window out of a slice, moved by ``change`` about the window's centre.

    Parameters
    ----------
    channels
        (C, rows, columns), float32.
    outside
        (C,) values that the window shows beyond the slice.
    corner
        Row and column of the window's first pixel in the slice; may be negative.
    size
        Rows and columns of the window.
    spacing
        Row and column distance in mm.
    labels
        So many first channels hold label numbers, which are never mixed: they are moved by nearest neighbour.

    Returns
    -------
    numpy.ndarray
        (C, \\*size) float32; a mirror image is not made here.
    """
    if not change.moves:
        return _copied(channels, outside, corner, size)
    rows, columns = channels.shape[1:]
    background = torch.from_numpy(outside.astype(np.float32))[:, None, None]
    source = (torch.from_numpy(np.ascontiguousarray(channels)) - background)[None]
    cos, sin = np.cos(change.angle) / change.scale, np.sin(change.angle) / change.scale
    ratio = spacing[0] / spacing[1]
    down = (np.arange(size[0]) - (size[0] - 1) / 2)[:, None]
    right = np.arange(size[1]) - (size[1] - 1) / 2
    if change.elastic is not None:
        aside = change.elastic.field(size).numpy()
        down, right = down + aside[0], right + aside[1]
    row = corner[0] + (size[0] - 1) / 2 - change.shift[0] + cos[0] * down + sin[0] / ratio * right
    column = corner[1] + (size[1] - 1) / 2 - change.shift[1] - sin[1] * ratio * down + cos[1] * right
    # In grid_sample's terms, with align_corners, -1 and 1 are the centres of the first and the last pixel.
    places = np.empty((1, *size, 2), np.float32)
    places[0, ..., 0] = column * (2 / max(columns - 1, 1)) - 1
    places[0, ..., 1] = row * (2 / max(rows - 1, 1)) - 1
    grid = torch.from_numpy(places)
    parts = [
        grid_sample(part, grid, mode=mode, padding_mode="zeros", align_corners=True)[0]
        for part, mode in ((source[:, :labels], "nearest"), (source[:, labels:], "bilinear"))
        if part.shape[1]
    ]
    return np.asarray((torch.cat(parts) + background).numpy())


def _copied(channels: np.ndarray, outside: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    window = np.empty((len(channels), *size), np.float32)
    window[:] = outside[:, None, None]
    first = [max(0, start) for start in corner]
    last = [min(start + length, limit) for start, length, limit in zip(corner, size, channels.shape[1:], strict=True)]
    to = [slice(a - start, b - start) for a, b, start in zip(first, last, corner, strict=True)]
    window[:, to[0], to[1]] = channels[:, first[0] : last[0], first[1] : last[1]]
    return window


def change_intensity(image: np.ndarray, gamma: float, bias: np.ndarray | None, low: float, high: float) -> np.ndarray:
    """Apply gamma and bias field to a scaled input (C, \\*size) whose values span ``low`` to ``high``.

    ``bias`` holds the coefficients of Legendre polynomials along each axis, as `Change` has them.
    """
    if gamma == 1 and bias is None:
        return image
    share = np.maximum((image - np.float32(low)) / np.float32(high - low), 0)
    if gamma != 1:
        share **= np.float32(gamma)
    if bias is not None:
        share *= 1 + _field(bias, image.shape[1:])
    return (share * np.float32(high - low) + np.float32(low)).astype(np.float32, copy=False)


def _field(coefficients: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    for length in size:
        polynomials = np.polynomial.legendre.legvander(np.linspace(-1, 1, length), BIAS_DEGREE)
        coefficients = np.tensordot(coefficients, polynomials, (0, 1))
    return coefficients.astype(np.float32)
