"""The generator of HA-GAN, and the measures that its networks share (Sun et al. 2022, row C9).

Sun L., Chen J., Xu Y., Gong M., Yu K., Batmanghelich K., "Hierarchical amortized GAN for 3D high resolution medical
image synthesis", IEEE J. Biomed. Health Inform. 26(8), 2022. Written from the paper and the thesis that used it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthct.errors import UserError
from synthct.networks.norms import norm_layer

RATIO = 4
"""Voxels of the volume along a side of one voxel of the latent volume, which is the low-resolution volume's, too."""
PARTS = 8
"""A sub-volume has this part of the volume's slices."""
START = 4
"""Side of the grid that the latent vector is spread on, and of the one that discriminator and encoder end with."""
SIDES = (32, 64, 128, 256)
"""Of the volumes that one description covers; 128 and 256 are published."""
PIECE_NUMBERS = 2**26
"""Where more numbers than these would stand between two layers (256 MiB in 32 bit), a volume is made in pieces."""


@dataclass(frozen=True)
class Measures:
    """The sides, in voxels, of everything that HA-GAN handles for a volume of ``side``³."""

    side: int

    @property
    def latent(self) -> int:
        """Side of the latent volume A and of the low-resolution volume: 64 for 256³."""
        return self.side // RATIO

    @property
    def latent_slices(self) -> int:
        """Slices of A under a sub-volume: 8 for 256³."""
        return self.latent // PARTS

    @property
    def slices(self) -> int:
        """Slices of a sub-volume: 32 for 256³."""
        return self.side // PARTS

    @property
    def positions(self) -> int:
        """Places r of a sub-volume, in slices of A, so that it always begins at a multiple of `RATIO`."""
        return self.latent - self.latent_slices + 1

    @property
    def doublings(self) -> int:
        """From the grid that the latent vector is spread on to A: 4 for 256³."""
        return (self.latent // START).bit_length() - 1

    def crop(self, volume: Tensor, position: int) -> Tensor:
        """Return the sub-volume S^H(X; r) of ``volume`` (N, channels, side, side, side): a view."""
        return volume.narrow(2, RATIO * position, self.slices)

    def crop_latent(self, latent: Tensor, position: int) -> Tensor:
        """Return what of A, or of a low-resolution volume, lies under the sub-volume at r: a view."""
        return latent.narrow(2, position, self.latent_slices)

    def low_resolution(self, volume: Tensor) -> Tensor:
        """Return X^L, (N, channels, latent, latent, latent): the mean of each block of `RATIO`³ voxels.

        So voxel k of it lies over the voxels 4k … 4k + 3 of the volume, which are those that the generator makes of
        voxel k of A. (The thesis says "interpolated with a scale factor of 0.25".)
        """
        return functional.avg_pool3d(volume, RATIO)


def measures(size: list[int] | tuple[int, ...]) -> Measures:
    """Return the measures for volumes of ``size`` (slices, rows, columns).

    Raises
    ------
    UserError
        It is not a cube of one of `SIDES`.
    """
    if len(size) != 3 or len(set(size)) != 1 or size[0] not in SIDES:
        raise UserError(
            f"HA-GAN cannot make volumes of {'×'.join(map(str, size))}.",
            "Its networks halve and double all sides in step.",
            f"Set `data.size` to three equal sides of {', '.join(map(str, SIDES[:-1]))} or {SIDES[-1]}.",
        )
    return Measures(size[0])


class HAGANGenerator(nn.Module):
    """From a latent vector to a volume: the trunk G^A and its two heads, G^H and G^L.

    ========= ============================================================ ====================================
    part      layers                                                       gives, for 256³ and width 512
    ========= ============================================================ ====================================
    trunk G^A dense z → 512×4³; five times conv 3³, GroupNorm 8, ReLU,     the latent volume A, 64 × 64³
              512-512-256-128-64; nearest ×2 between them, as often as
              the size asks: 4 for 256³, 3 for 128³, 2 for 64³
    high G^H  nearest ×2, conv 32, GroupNorm, ReLU, nearest ×2, conv, tanh the volume or a sub-volume of it
    low G^L   conv 32, GroupNorm, ReLU, conv 16, GroupNorm, ReLU, conv,    the whole volume at a quarter of its
              tanh                                                         sides, 64³
    ========= ============================================================ ====================================

    Called, it takes (N, latent) and returns the whole volume (N, out_channels, side, side, side) in [-1, 1]; in
    training the method calls the parts, and ``high`` on the slices of A under one sub-volume alone. GroupNorm's
    statistics are those of what a head is given: in training a sub-volume's, here the whole volume's, as in the paper.

    Parameters
    ----------
    in_channels
        Length of the latent vector: 1024.
    out_channels
        Channels of the volume: the image, or image and mask.
    size
        Slices, rows and columns: a cube of 32, 64, 128 or 256; the recipe's ``data.size`` where it is not given.
    width
        Filters of the first convolutions: 512. All others follow: halved, halved, halved, and so on.
    groups
        Of GroupNorm: 8. A narrow generator wants as many fewer: with 64 filters 8 groups have one filter each at A, so
        that how bright and how large anything is is taken from every filter, and 1 has as many as the paper's.

    Raises
    ------
    UserError
        A size that it cannot make, a width that cannot be halved as often, or no group.

    Examples
    --------
    >>> generator = HAGANGenerator(16, 1, size=[32, 32, 32], width=32).eval()
    >>> generator(torch.zeros(1, 16)).shape
    torch.Size([1, 1, 32, 32, 32])
    """

    dimensions = 3
    classes = 0

    def __init__(
        self, in_channels: int, out_channels: int, *, size: list[int], width: int = 512, groups: int = 8
    ) -> None:
        super().__init__()
        if width < 32 or width % 32:
            raise UserError(
                f"The generator of HA-GAN cannot have a `width` of {width}.",
                "It is halved five times.",
                "Give a multiple of 32.",
            )
        if groups < 1:
            raise UserError(f"The generator of HA-GAN cannot have {groups} `groups`.", todo="Give 1 or more.")
        self.measures = measures(size)
        self.latent_shape = (in_channels,)
        self.latent_channels = width // 8
        self.trunk = _Trunk(in_channels, width, self.measures.doublings, groups)
        self.high = _High(width // 8, out_channels, groups)
        self.low = nn.Sequential(
            *_block(width // 8, width // 16, groups),
            *_block(width // 16, width // 32, groups),
            nn.Conv3d(width // 32, out_channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latent: Tensor, classes: None = None) -> Tensor:
        if classes is not None:
            raise ValueError("HA-GAN is told no class")
        volume: Tensor = self.trunk(latent)
        if torch.is_grad_enabled():
            made: Tensor = self.high(volume)
            return made
        return self.high.in_pieces(volume)


class _Trunk(nn.Module):
    """G^A: (N, latent) → A."""

    def __init__(self, latent: int, width: int, doublings: int, groups: int) -> None:
        super().__init__()
        self.width = width
        self.dense = nn.Linear(latent, width * START**3)
        widths = [width, width, width, width // 2, width // 4, width // 8]
        self.blocks = nn.ModuleList(
            nn.Sequential(*_block(before, after, groups)) for before, after in itertools.pairwise(widths)
        )
        self.doublings = doublings

    def forward(self, latent: Tensor) -> Tensor:
        values = self.dense(latent).view(len(latent), self.width, START, START, START)
        for number, block in enumerate(self.blocks):
            if 0 < number <= self.doublings:
                values = _doubled(values)
            values = block(values)
        made: Tensor = values
        return made


class _High(nn.Module):
    """G^H: some slices of A, or all → as many times four slices of the volume."""

    def __init__(self, before: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(before, before // 2, 3, padding=1)
        self.norm = norm_layer("group", before // 2, dimensions=3, groups=groups)
        self.last = nn.Conv3d(before // 2, out_channels, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        values = functional.relu(self.norm(self.first(_doubled(latent))))
        return torch.tanh(self.last(_doubled(values)))

    def in_pieces(self, latent: Tensor, numbers: int = PIECE_NUMBERS) -> Tensor:
        """Return the same with at most about ``numbers`` numbers of an enlarged volume in memory at a time.

        The convolutions go along the depth in pieces, each with the neighbour slices that it sees; GroupNorm sees
        the whole at half the size, so that its statistics are those of the whole.
        """
        values = functional.relu_(self.norm(_convolved(self.first, latent, numbers)))
        return torch.tanh_(_convolved(self.last, values, numbers))


def _block(before: int, after: int, groups: int) -> list[nn.Module]:
    norm = norm_layer("group", after, dimensions=3, groups=groups)
    return [nn.Conv3d(before, after, 3, padding=1), norm, nn.ReLU(inplace=True)]


def _doubled(volume: Tensor) -> Tensor:
    return functional.interpolate(volume, scale_factor=2.0, mode="nearest")


def _convolved(convolution: nn.Conv3d, volume: Tensor, numbers: int) -> Tensor:
    """Return ``convolution(_doubled(volume))`` made in pieces of the depth; no gradients."""
    slices = volume.shape[2]
    pieces = min(slices, math.ceil(8 * volume.numel() / numbers))
    if pieces == 1:
        whole: Tensor = convolution(_doubled(volume))
        return whole
    made = None
    edges = [round(slices * number / pieces) for number in range(pieces + 1)]
    for first, last in itertools.pairwise(edges):
        low, high = max(0, first - 1), min(slices, last + 1)
        piece = convolution(_doubled(volume[:, :, low:high]))
        if made is None:
            made = piece.new_empty((*piece.shape[:2], *(2 * side for side in volume.shape[2:])))
        made[:, :, 2 * first : 2 * last] = piece.narrow(2, 2 * (first - low), 2 * (last - first))
    assert made is not None
    return made
