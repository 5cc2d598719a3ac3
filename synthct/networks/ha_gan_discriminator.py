"""The discriminator of HA-GAN (Sun et al. 2022, row C9): it judges a sub-volume and the whole at low resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.ha_gan import START, measures
from synthct.networks.spectral_norm import spectral_norm


class HAGANDiscriminator(nn.Module):
    """D^H and D^L; one logit a volume, the mean of theirs. Spectral norm everywhere, LeakyReLU 0.2.

    ====== ================================================================= ====================================
    branch layers                                                            filters for 256³ and width 512
    ====== ================================================================= ====================================
    high   convs of 4 and stride 2 down to 4 rows; where 2 slices are left   16-32-64-128-256-512, then 128
    D^H    one of 2 along the depth, where 1 is left of 1; a conv over the
           whole grid; the position joins; dense, LeakyReLU, dense           129 → 64 → 1
    low    convs of 4 and stride 2 down to 4³; a conv over the whole grid    32-64-128-256, then 1
    D^L
    ====== ================================================================= ====================================

    Filters are counted from the deepest, so that smaller volumes leave out the first: 32-… for 128³.

    Parameters
    ----------
    in_channels
        Channels of the volume.
    out_channels
        Judgements: 1.
    size
        Slices, rows and columns of a whole volume; the recipe's ``data.size`` where it is not given.
    width
        Filters of the deepest convolution of D^H: 512; D^L's has half of them.

    Raises
    ------
    UserError
        A size that HA-GAN cannot take, or a width that cannot be halved as often.
    """

    dimensions = 3

    def __init__(self, in_channels: int, out_channels: int = 1, *, size: list[int], width: int = 512) -> None:
        super().__init__()
        sides = measures(size)
        if width < 64 or width % 64:
            raise UserError(
                f"The discriminator of HA-GAN cannot have a `width` of {width}.",
                "It is halved five times, and its dense layer has an eighth of it.",
                "Give a multiple of 64.",
            )
        self.high = nn.Sequential(*_high(in_channels, sides.slices, sides.side, width))
        self.judge = nn.Sequential(
            spectral_norm(nn.Linear(width // 4 + 1, width // 8)),
            nn.LeakyReLU(0.2, inplace=True),
            spectral_norm(nn.Linear(width // 8, out_channels)),
        )
        self.low = nn.Sequential(*_low(in_channels, out_channels, sides.latent, width // 2))

    def forward(self, part: Tensor, low: Tensor, position: Tensor) -> Tensor:
        """Return one logit a volume, (N, out_channels).

        Parameters
        ----------
        part, low
            (N, in_channels, slices, rows, columns): a sub-volume, and the whole volume at low resolution.
        position
            (N,): where the sub-volume lies, 0 at the first slice and 1 at the last place.
        """
        features = self.high(part).flatten(1)
        high = self.judge(torch.cat([features, position[:, None].to(features)], dim=1))
        whole: Tensor = self.low(low)
        return 0.5 * (high + whole.flatten(1))


def _high(in_channels: int, slices: int, rows: int, width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = in_channels
    for after in _widths(width, rows):
        kernel, stride, padding = {1: (1, 1, 0), 2: (2, 2, 0)}.get(slices, (4, 2, 1))
        conv = nn.Conv3d(before, after, (kernel, 4, 4), stride=(stride, 2, 2), padding=(padding, 1, 1))
        layers += [spectral_norm(conv), nn.LeakyReLU(0.2, inplace=True)]
        before, slices = after, max(1, slices // 2)
    last = spectral_norm(nn.Conv3d(before, width // 4, (1, START, START)))
    return [*layers, last, nn.LeakyReLU(0.2, inplace=True)]


def _low(in_channels: int, out_channels: int, side: int, width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = in_channels
    for after in _widths(width, side):
        layers += [spectral_norm(nn.Conv3d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
        before = after
    return [*layers, spectral_norm(nn.Conv3d(before, out_channels, START))]


def _widths(deepest: int, side: int) -> list[int]:
    """Filters of the convolutions that halve ``side`` down to `START`, doubled at each, ``deepest`` at the last."""
    halvings = (side // START).bit_length() - 1
    return [deepest // 2 ** (halvings - 1 - level) for level in range(halvings)]
