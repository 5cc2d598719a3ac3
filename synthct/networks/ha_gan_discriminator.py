"""The discriminator of HA-GAN (Sun et al. 2022, row C9): it judges a sub-volume and the whole at low resolution."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthct.errors import UserError
from synthct.networks.batch_spread import batch_spread
from synthct.networks.ha_gan import START, measures
from synthct.networks.initialisation import initialise
from synthct.networks.spectral_norm import spectral_norm


class HAGANDiscriminator(nn.Module):
    """D^H and D^L; one logit a volume, the mean of theirs. LeakyReLU 0.2; spectral norm everywhere, if not told else.

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
    norm
        ``spectral``, the paper's; ``none``: weights begin as He's rule says, and R1 holds the discriminator back.
    group
        Volumes whose common standard deviation is one more feature before the last convolution of either branch
        (`batch_spread`); 0, the paper's: none. Spectral norm makes it too faint to be heard.

    Raises
    ------
    UserError
        A size that HA-GAN cannot take, a width that cannot be halved as often, or a negative group.
    """

    dimensions = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        size: list[int],
        width: int = 512,
        norm: Literal["spectral", "none"] = "spectral",
        group: int = 0,
    ) -> None:
        super().__init__()
        sides = measures(size)
        if width < 64 or width % 64:
            raise UserError(
                f"The discriminator of HA-GAN cannot have a `width` of {width}.",
                "It is halved five times, and its dense layer has an eighth of it.",
                "Give a multiple of 64.",
            )
        if group < 0:
            raise UserError(f"The discriminator of HA-GAN cannot have a `group` of {group}.", todo="Give 0 or more.")
        self.group = group
        self.high = nn.Sequential(*_high(in_channels, sides.slices, sides.side, width))
        self.whole_high = nn.Conv3d(width + bool(group), width // 4, (1, START, START))
        self.judge = nn.Sequential(
            nn.Linear(width // 4 + 1, width // 8), nn.LeakyReLU(0.2, inplace=True), nn.Linear(width // 8, out_channels)
        )
        self.low, deepest = _low(in_channels, sides.latent, width // 2)
        self.whole_low = nn.Conv3d(deepest + bool(group), out_channels, START)
        if norm == "none":
            initialise(self, "he")
        else:
            for layer in list(self.modules()):
                if isinstance(layer, nn.Conv3d | nn.Linear):
                    spectral_norm(layer)

    def forward(self, part: Tensor, low: Tensor, position: Tensor) -> Tensor:
        """Return one logit a volume, (N, out_channels).

        Parameters
        ----------
        part, low
            (N, in_channels, slices, rows, columns): a sub-volume, and the whole volume at low resolution.
        position
            (N,): where the sub-volume lies, 0 at the first slice and 1 at the last place.
        """
        features = functional.leaky_relu(self.whole_high(self._beside_others(self.high(part))), 0.2).flatten(1)
        high: Tensor = self.judge(torch.cat([features, position[:, None].to(features)], dim=1))
        whole: Tensor = self.whole_low(self._beside_others(self.low(low)))
        return 0.5 * (high + whole.flatten(1))

    def _beside_others(self, features: Tensor) -> Tensor:
        if not self.group:
            return features
        return torch.cat([features, batch_spread(features, self.group)], dim=1)


def _high(in_channels: int, slices: int, rows: int, width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = in_channels
    for after in _widths(width, rows):
        kernel, stride, padding = {1: (1, 1, 0), 2: (2, 2, 0)}.get(slices, (4, 2, 1))
        conv = nn.Conv3d(before, after, (kernel, 4, 4), stride=(stride, 2, 2), padding=(padding, 1, 1))
        layers += [conv, nn.LeakyReLU(0.2, inplace=True)]
        before, slices = after, max(1, slices // 2)
    return layers


def _low(in_channels: int, side: int, width: int) -> tuple[nn.Sequential, int]:
    layers: list[nn.Module] = []
    before = in_channels
    for after in _widths(width, side):
        layers += [nn.Conv3d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        before = after
    return nn.Sequential(*layers), before


def _widths(deepest: int, side: int) -> list[int]:
    """Filters of the convolutions that halve ``side`` down to `START`, doubled at each, ``deepest`` at the last."""
    halvings = (side // START).bit_length() - 1
    return [deepest // 2 ** (halvings - 1 - level) for level in range(halvings)]
