"""The encoders of HA-GAN (Sun et al. 2022, row C9): from a volume back to the generator's latent vector."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.ha_gan import START, measures
from synthct.networks.norms import norm_layer


class HAGANEncoder(nn.Module):
    """E^H: a sub-volume → what of the latent volume A lies under it, at a quarter of its sides.

    Conv 4³ of stride 2, conv 3³, conv 4³ of stride 2, each with GroupNorm 8 and ReLU; filters 32-32-64.

    Parameters
    ----------
    in_channels
        Channels of the volume.
    out_channels
        Those of A, 64; the convolutions before have half of them.
    """

    dimensions = 3

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.layers = nn.Sequential(
            *_normed(nn.Conv3d(in_channels, half, 4, stride=2, padding=1)),
            *_normed(nn.Conv3d(half, half, 3, padding=1)),
            *_normed(nn.Conv3d(half, out_channels, 4, stride=2, padding=1)),
        )

    def forward(self, part: Tensor) -> Tensor:
        latent: Tensor = self.layers(part)
        return latent


class HAGANGlobalEncoder(nn.Module):
    """E^G: the whole latent volume A → the latent vector (N, out_channels).

    Conv 4³ of stride 2 down to 4³, each with GroupNorm 8 and ReLU, filters 32-64-128-256 for 256³ (counted from the
    deepest, as D^L's: our reading), then one conv over the whole grid.

    Parameters
    ----------
    in_channels
        Channels of A.
    out_channels
        Length of the latent vector.
    size
        Slices, rows and columns of a whole volume; the recipe's ``data.size`` where it is not given.
    width
        Filters of the deepest convolution: 256.

    Raises
    ------
    UserError
        A size that HA-GAN cannot take, or a width that cannot be halved as often.
    """

    dimensions = 3

    def __init__(self, in_channels: int, out_channels: int, *, size: list[int], width: int = 256) -> None:
        super().__init__()
        if width < 8 or width % 8:
            raise UserError(
                f"The global encoder of HA-GAN cannot have a `width` of {width}.",
                "It is halved up to three times.",
                "Give a multiple of 8.",
            )
        halvings = measures(size).doublings
        widths = [in_channels, *(width // 2 ** (halvings - 1 - level) for level in range(halvings))]
        layers = [
            layer
            for before, after in itertools.pairwise(widths)
            for layer in _normed(nn.Conv3d(before, after, 4, stride=2, padding=1))
        ]
        self.layers = nn.Sequential(*layers, nn.Conv3d(widths[-1], out_channels, START))

    def forward(self, latent: Tensor) -> Tensor:
        vector: Tensor = self.layers(latent)
        return vector.flatten(1)


def _normed(convolution: nn.Conv3d) -> list[nn.Module]:
    norm = norm_layer("group", convolution.out_channels, dimensions=3)
    return [convolution, norm, nn.ReLU(inplace=True)]
