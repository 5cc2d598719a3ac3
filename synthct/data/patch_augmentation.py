"""Random changes of one 3D sample (row C3): drawn first, then applied to all its channels in one resampling.

Axes and units: the recipe's ranges are for x, y, z, arrays and everything here for z, y, x; shifts count voxels, angles
are radians (`draw_patch_change` turns degrees into them), rotation and zoom keep distances in mm. MONAI gives the
rotation matrix and the elastic field's filter; its own ``Rand3DElastic`` turns voxels instead of mm and fills all
channels with one value. All of it is done on the CPU, in the processes that `training.workers` asks for, so that the
patch may be made from voxels beyond its own edges; the network's step hides it where it takes longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import grid_sample

from synthct.data.augmentation import BIAS_DEGREE, change_intensity, draw_displacement
from synthct.data.elastic import Displacement
from synthct.data.voxel_size import in_larger_voxels
from synthct.recipe import Augmentation, Elastic, PerAxis

Triple = tuple[float, float, float]
Box = tuple[tuple[int, int, int], tuple[int, int, int]]
"""First voxel and size, z, y, x."""


@dataclass(frozen=True)
class PatchChange:
    """What is done to one 3D sample; the defaults change nothing."""

    angles: Triple = (0.0, 0.0, 0.0)
    """Radians about z, y, x."""
    scale: Triple = (1.0, 1.0, 1.0)
    """Along z, y, x of the anatomy before it is turned. Larger than 1: the anatomy becomes larger."""
    shift: Triple = (0.0, 0.0, 0.0)
    """Along z, y, x, in voxels."""
    elastic: Displacement | None = None
    gamma: float = 1.0
    bias: np.ndarray | None = None
    """Coefficients of the field's Legendre polynomials, (degree + 1) along z, y, x."""
    voxel_mm: float | None = None
    """Size of the voxels that the input is shown in; None: its own."""

    @property
    def moves(self) -> bool:
        """Whether voxels must be interpolated."""
        still = self.angles == (0.0, 0.0, 0.0) and self.scale == (1.0, 1.0, 1.0) and self.shift == (0.0, 0.0, 0.0)
        return not still or self.elastic is not None

    def source(self, size: Sequence[int], spacing: Sequence[float]) -> Box:
        """Return which voxels a patch of ``size`` is made from, relative to its first one.

        An elastic displacement is allowed for up to five times its `spread`.

        Parameters
        ----------
        spacing
            mm along z, y, x.
        """
        if not self.moves:
            return (0, 0, 0), (size[0], size[1], size[2])
        middle = (np.array(size) - 1) / 2
        matrix = _matrix(self, spacing)
        aside = 5 * self.elastic.spread if self.elastic is not None else 0.0
        reach = np.abs(matrix) @ (middle + aside)
        centre = middle - np.array(self.shift)
        first = np.floor(centre - reach).astype(int).tolist()
        last = np.ceil(centre + reach).astype(int).tolist()
        z, y, x = (stop - start + 1 for start, stop in zip(first, last, strict=True))
        return (first[0], first[1], first[2]), (z, y, x)


def draw_patch_change(augmentation: Augmentation, random: np.random.Generator) -> PatchChange:
    """Draw one change; what is off is drawn too, so that one key does not alter another's draws."""
    moved, bent, powered, biased, coarse = random.random(5).tolist()
    own, elastic, power = random.uniform(-1, 1, 9), random.uniform(-1, 1, 9), random.uniform(-1, 1)
    bias = random.uniform(-1, 1, (BIAS_DEGREE + 1,) * 3)
    bias[0, 0, 0] = 0.0
    bias *= augmentation.bias_field / np.abs(bias).sum()
    displacement = draw_displacement(augmentation.elastic, random)
    voxel_mm = float(random.choice(augmentation.resampling.spacings))

    angles, scale, shift = np.zeros(3), np.ones(3), np.zeros(3)
    bends = bent < augmentation.elastic.probability
    if moved < augmentation.affine_probability:
        angles, scale, shift = _affine(augmentation, own)
    if bends:
        more = _affine(augmentation.elastic, elastic)
        angles, scale, shift = angles + more[0], scale * more[1], shift + more[2]
    return PatchChange(
        angles=_triple(angles),
        scale=_triple(scale),
        shift=_triple(shift),
        elastic=displacement if bends else None,
        gamma=float(np.exp(power * augmentation.gamma)) if powered < augmentation.gamma_probability else 1.0,
        bias=bias if augmentation.bias_field and biased < augmentation.bias_field_probability else None,
        voxel_mm=voxel_mm if coarse < augmentation.resampling.probability else None,
    )


def change_patch(
    channels: Mapping[str, np.ndarray],
    change: PatchChange,
    size: Sequence[int],
    spacing: Sequence[float],
    span: tuple[float, float],
    labels: bool = False,
) -> dict[str, np.ndarray]:
    """Make a patch from the voxels that `PatchChange.source` asks for.

    Parameters
    ----------
    channels
        ``input``, ``target``, ``mask`` or some of them, each (1, z, y, x) float32 with the source's voxels, those
        beyond the image filled with what belongs there (air for CT, the lowest value for MR, 0).
    size
        z, y, x of the patch.
    spacing
        mm along z, y, x.
    span
        Values between which the input lies, for gamma and bias field.
    labels
        The input holds label numbers, which are never mixed: it is moved by nearest neighbour.

    Returns
    -------
    dict
        The same names, (1, \\*size) float32; the mask is 0 or 1. Gamma, bias field and larger voxels change the input
        alone, all else changes all alike.
    """
    patch = dict(channels)
    if change.moves:
        apart = ["input"] if labels and "input" in channels else []
        for names, mode in ((apart, "nearest"), ([name for name in channels if name not in apart], "bilinear")):
            if names:
                joined = np.concatenate([np.ascontiguousarray(channels[name]) for name in names])
                moved = _moved(joined, change, size, spacing, mode)
                patch |= {name: moved[number : number + 1] for number, name in enumerate(names)}
    if "mask" in patch:
        patch["mask"] = (patch["mask"] >= 0.5).astype(np.float32)
    if "input" in patch:
        patch["input"] = change_intensity(patch["input"], change.gamma, change.bias, *span)
        if change.voxel_mm is not None:
            patch["input"] = in_larger_voxels(patch["input"], spacing, change.voxel_mm)
    return patch


def _moved(
    channels: np.ndarray, change: PatchChange, size: Sequence[int], spacing: Sequence[float], mode: str
) -> np.ndarray:
    """Interpolate the patch's voxels (C, \\*size) in their source (C, z, y, x)."""
    first, box = change.source(size, spacing)
    offsets = torch.stack(
        torch.meshgrid(*(torch.arange(side, dtype=torch.float32) - (side - 1) / 2 for side in size), indexing="ij")
    )
    if change.elastic is not None:
        offsets = offsets + change.elastic.field(size)
    matrix = torch.from_numpy(_matrix(change, spacing)).float()
    centre = torch.tensor(
        [(side - 1) / 2 - move - start for side, move, start in zip(size, change.shift, first, strict=True)]
    )
    places = torch.einsum("ij,jzyx->zyxi", matrix, offsets) + centre
    # In grid_sample's terms, with align_corners, -1 and 1 are the centres of the first and last voxel; x comes first.
    grid = (places * (2 / (torch.tensor(box) - 1).clamp(min=1)) - 1).flip(-1)
    moved = grid_sample(
        torch.from_numpy(channels)[None], grid[None], mode=mode, padding_mode="border", align_corners=True
    )
    return np.asarray(moved[0].numpy())


def _matrix(change: PatchChange, spacing: Sequence[float]) -> np.ndarray:
    """From a voxel's offset to the middle, to the offset it is taken from; z, y, x, in voxels."""
    from monai.transforms.utils import create_rotate

    turn = np.asarray(create_rotate(3, change.angles))[:3, :3].T
    lengths = np.array(spacing)
    matrix: np.ndarray = turn / np.array(change.scale)[:, None] * lengths / lengths[:, None]
    return matrix


def _affine(ranges: Augmentation | Elastic, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles, scale and shift along z, y, x from nine draws between -1 and 1."""

    def reach(value: PerAxis, one: Triple) -> np.ndarray:
        return np.array(value[::-1] if isinstance(value, tuple) else [value * share for share in one])

    zooms = draws[3:6] if isinstance(ranges.scale, tuple) else draws[3].repeat(3)
    return (
        np.deg2rad(draws[:3] * reach(ranges.rotation_degrees, (1, 0, 0))),
        1 + zooms * reach(ranges.scale, (1, 1, 1)),
        draws[6:] * reach(ranges.translation_voxels, (0, 1, 1)),
    )


def _triple(values: np.ndarray) -> Triple:
    z, y, x = values.tolist()
    return z, y, x
