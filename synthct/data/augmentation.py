"""Random changes of one training sample: drawn first, then applied to all its channels in one resampling.

Geometry is the same for input, target and mask; gamma and bias field change the input only. Rotation and zoom are
done in mm, so that anisotropic coronal and sagittal slices are not sheared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import grid_sample

from synthct.recipe import Augmentation

BIAS_DEGREE = 3


@dataclass(frozen=True)
class Change:
    """What is done to one sample; the defaults change nothing."""

    flip: bool = False
    angle: float = 0.0
    """Radians, in the plane."""
    scale: float = 1.0
    """Larger than 1: the anatomy becomes larger."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Rows and columns, in voxels."""
    gamma: float = 1.0
    bias: np.ndarray | None = None
    """Coefficients of the field's Legendre polynomials, (degree + 1, degree + 1) over rows and columns."""

    @property
    def moves(self) -> bool:
        """Whether voxels must be interpolated (a mirror image needs none)."""
        return self.angle != 0 or self.scale != 1 or self.shift != (0.0, 0.0)


def draw_change(augmentation: Augmentation, random: np.random.Generator) -> Change:
    """Draw one change. What is off in ``augmentation`` is drawn too, so that one key does not alter another's draws."""
    flip = bool(random.random() < 0.5)
    turn, zoom, down, right, power = random.uniform(-1, 1, 5).tolist()
    bias = random.uniform(-1, 1, (BIAS_DEGREE + 1, BIAS_DEGREE + 1))
    bias[0, 0] = 0.0
    bias *= augmentation.bias_field / np.abs(bias).sum()
    return Change(
        flip=flip and augmentation.flip,
        angle=float(np.deg2rad(turn * augmentation.rotation_degrees)),
        scale=1 + zoom * augmentation.scale,
        shift=(down * augmentation.translation_voxels, right * augmentation.translation_voxels),
        gamma=float(np.exp(power * augmentation.gamma)),
        bias=bias if augmentation.bias_field else None,
    )


def cut(
    channels: np.ndarray,
    outside: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
    change: Change = Change(),
    spacing: tuple[float, float] = (1.0, 1.0),
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
    down = np.arange(size[0]) - (size[0] - 1) / 2
    right = np.arange(size[1]) - (size[1] - 1) / 2
    row = (corner[0] + (size[0] - 1) / 2 - change.shift[0] + cos * down)[:, None] + sin / ratio * right
    column = (corner[1] + (size[1] - 1) / 2 - change.shift[1] - sin * ratio * down)[:, None] + cos * right
    # In grid_sample's terms, with align_corners, -1 and 1 are the centres of the first and the last pixel.
    places = np.empty((1, *size, 2), np.float32)
    places[0, ..., 0] = column * (2 / max(columns - 1, 1)) - 1
    places[0, ..., 1] = row * (2 / max(rows - 1, 1)) - 1
    grid = torch.from_numpy(places)
    moved = grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0] + background
    return np.asarray(moved.numpy())


def _copied(channels: np.ndarray, outside: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    window = np.empty((len(channels), *size), np.float32)
    window[:] = outside[:, None, None]
    first = [max(0, start) for start in corner]
    last = [min(start + length, limit) for start, length, limit in zip(corner, size, channels.shape[1:], strict=True)]
    to = [slice(a - start, b - start) for a, b, start in zip(first, last, corner, strict=True)]
    window[:, to[0], to[1]] = channels[:, first[0] : last[0], first[1] : last[1]]
    return window


def change_intensity(image: np.ndarray, change: Change, low: float, high: float) -> np.ndarray:
    """Apply gamma and bias field to a scaled input (C, rows, columns) whose values span ``low`` to ``high``."""
    if change.gamma == 1 and change.bias is None:
        return image
    share = np.maximum((image - np.float32(low)) / np.float32(high - low), 0)
    if change.gamma != 1:
        share **= np.float32(change.gamma)
    if change.bias is not None:
        share *= 1 + _field(change.bias, image.shape[1], image.shape[2])
    return (share * np.float32(high - low) + np.float32(low)).astype(np.float32, copy=False)


def _field(coefficients: np.ndarray, rows: int, columns: int) -> np.ndarray:
    degree = len(coefficients) - 1
    down = np.polynomial.legendre.legvander(np.linspace(-1, 1, rows), degree)
    right = np.polynomial.legendre.legvander(np.linspace(-1, 1, columns), degree)
    return (down @ coefficients @ right.T).astype(np.float32)
