"""FastGAN: Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis"
(REFERENCE C6). Written from the paper: section 3.1 and figure 3 (generator), section 3.2 and figure 4 (discriminator).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthct.errors import UserError
from synthct.networks.doubling import features_at, start_and_doublings
from synthct.networks.full_precision import full_precision
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.spectral_norm import spectral_norm

_DECODED = 128
"""Longest side, about, of what a decoder reconstructs."""
_EXCITES = 4
"""Doublings between the two ends of a skip-layer excitation: 8² excites 128², 16² 256², 32² 512²."""


class FastGANGenerator(nn.Module):
    """One convolution per size, gated linear units, and small images that excite the features of large ones.

    Takes latents (N, latent), gives (N, out_channels, rows, columns) in [−1, 1] by tanh. Noise is drawn afresh from
    torch's global generator in training mode; in eval mode it is left out, its mean being 0.

    Parameters
    ----------
    latent, out_channels
        Length of z, and channels of the image: 1, or 2 for image and mask.
    size
        Rows and columns, 32 or more; the recipe's ``data.size`` where it is not given. See
        `synthct.networks.doubling.start_and_doublings` for sizes that are no power of 2.
    capacity, widest
        A layer whose shorter side is s has ``capacity`` / s features, at most ``widest``.
    initialisation
        See `synthct.networks.initialisation.initialise`; ``normal`` is DCGAN's, from which the paper starts.

    Attributes
    ----------
    latent_shape, dimensions, classes
        What every generator from noise tells: (latent,), 2 and 0 (there are no classes).
    """

    dimensions = 2
    classes = 0

    def __init__(
        self,
        latent: int,
        out_channels: int,
        *,
        size: list[int],
        capacity: int = 8192,
        widest: int = 512,
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        if min(latent, capacity, widest) < 1:
            raise UserError(
                f"FastGAN's generator cannot have latent {latent}, capacity {capacity} and widest {widest}.",
                todo="Give 1 or more.",
            )
        self.latent_shape = (latent,)
        start, doublings = start_and_doublings(size)
        self.size = (size[0], size[-1])
        widths = [features_at(4 << level, capacity, widest) for level in range(doublings + 1)]
        self.begin = nn.Sequential(
            nn.Unflatten(1, (latent, 1, 1)),
            nn.ConvTranspose2d(latent, 2 * widths[0], start, bias=False),
            nn.BatchNorm2d(2 * widths[0]),
            nn.GLU(dim=1),
        )
        # Noise, and the second convolution of all sizes but the last, are our reading of figure 3.
        self.up = nn.ModuleList(
            DoublingBlock(before, after, thorough=level < doublings - 1)
            for level, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.reach = min(_EXCITES, doublings)
        self.excite = nn.ModuleList(
            Excitation(widths[level], widths[level + self.reach]) for level in range(doublings + 1 - self.reach)
        )
        self.to_image = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        initialise(self, initialisation)

    def forward(self, latent: Tensor, classes: Tensor | None = None) -> Tensor:
        features = [self.begin(latent)]
        for level, block in enumerate(self.up, start=1):
            larger = block(features[-1])
            if level >= self.reach:
                larger = self.excite[level - self.reach](features[level - self.reach], larger)
            features.append(larger)
        whole = features[-1]
        top, left = ((have - side) // 2 for have, side in zip(whole.shape[-2:], self.size, strict=True))
        window = whole[..., top : top + self.size[0], left : left + self.size[1]]
        with full_precision(window.device):  # HU need more than 16 bit
            return torch.tanh(self.to_image(window.to(self.to_image.weight.dtype)))


class DoublingBlock(nn.Module):
    """Nearest neighbour, 3×3 convolution, batch norm, gated linear unit: (N, before, r, c) → (N, after, 2r, 2c).

    Parameters
    ----------
    thorough
        Noise, and a second convolution with noise, batch norm and gated linear unit, follow.
    """

    def __init__(self, before: int, after: int, thorough: bool) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        steps = [(before, after), *([(after, after)] if thorough else [])]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(taken, 2 * given, 3, padding=1, bias=False) for taken, given in steps
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(2 * given) for _, given in steps)
        self.strengths = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in steps) if thorough else None

    def forward(self, features: Tensor) -> Tensor:
        features = self.upsample(features)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            features = convolution(features)
            if self.strengths is not None and self.training:
                shape = (len(features), 1, *features.shape[-2:])
                features = features + self.strengths[number] * torch.randn(
                    shape, dtype=features.dtype, device=features.device
                )
            features = functional.glu(norm(features), dim=1)
        return features


class Excitation(nn.Module):
    """Skip-layer excitation, equation 1: the features of a large image are weighted, each as a whole, by a small one.

    Adaptive pooling of the small one to 4×4, a 4×4 convolution to 1×1, LeakyReLU 0.1, a 1×1 convolution, sigmoid.
    Takes (N, small, r, c) and (N, large, rows, columns), returns the second, weighted.
    """

    def __init__(self, small: int, large: int) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(small, large, 4),
            nn.LeakyReLU(0.1),
            nn.Conv2d(large, large, 1),
            nn.Sigmoid(),
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        weighted: Tensor = large * self.weights(small)
        return weighted


class Reconstruction(NamedTuple):
    """What a decoder made of the discriminator's features, and the image it should be, (N, channels, rows, columns)."""

    decoded: Tensor
    original: Tensor


class FastGANDiscriminator(nn.Module):
    """An encoder to a grid of logits, with two small decoders that keep its features honest (section 3.2).

    Takes (N, in_channels, rows, columns), returns (N, out_channels, r, c): one logit per place, from features of a
    grid whose shorter side is 8 to 15, by a 4×4 convolution.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the image, and judgements for each place: 1.
    size
        Rows and columns, 32 or more; the recipe's ``data.size`` where it is not given.
    capacity, widest
        As the generator's.
    spectral
        Whether the encoder's convolutions are divided by their largest singular value (Miyato et al. 2018). The
        generator's need none: batch norm after each of them undoes any scale.
    initialisation
        See `synthct.networks.initialisation.initialise`.
    """

    dimensions = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        size: list[int],
        capacity: int = 8192,
        widest: int = 512,
        spectral: bool = True,
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        if min(capacity, widest) < 1:
            raise UserError(
                f"FastGAN's discriminator cannot have capacity {capacity} and widest {widest}.", todo="Give 1 or more."
            )
        _, halvings = start_and_doublings(size, least=8)
        widths = [features_at(8 << level, capacity, widest) for level in range(halvings, -1, -1)]
        self.begin = nn.Sequential(nn.Conv2d(in_channels, widths[0], 3, padding=1), nn.LeakyReLU(0.2))
        self.blocks = nn.ModuleList(HalvingBlock(before, after) for before, after in itertools.pairwise(widths))
        self.judge = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 1, bias=False),
            nn.BatchNorm2d(widths[-1]),
            nn.LeakyReLU(0.2),
            nn.Conv2d(widths[-1], out_channels, 4),
        )
        side = min(size)
        grid = side >> halvings
        self.decode_whole = Decoder(widths[-1], in_channels, _doublings(grid, min(side, _DECODED)))
        self.decode_part = Decoder(widths[-2], in_channels, _doublings(grid, min(side // 2, _DECODED)))
        initialise(self, initialisation)
        if spectral:
            for module in [*self.begin.modules(), *self.blocks.modules(), *self.judge.modules()]:
                if isinstance(module, nn.Conv2d):
                    spectral_norm(module)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.judge(self._features(image)[-1])
        return logits

    def with_reconstructions(self, image: Tensor) -> tuple[Tensor, list[Reconstruction]]:
        """Return the logits of real images, and two reconstructions: of the whole, and of a random quarter.

        The whole comes from the features of the smallest grid; the quarter, half of each side at a place drawn from
        torch's global CPU generator, from the same quarter of the grid before. Originals are averaged to the size
        of what is decoded.
        """
        *_, before, last = self._features(image)
        rows, columns = (side // 2 for side in before.shape[-2:])
        top = int(torch.randint(before.shape[-2] - rows + 1, ()))
        left = int(torch.randint(before.shape[-1] - columns + 1, ()))
        quarter = before[..., top : top + rows, left : left + columns]
        tall, wide = (whole / side for whole, side in zip(image.shape[-2:], before.shape[-2:], strict=True))
        shown = image[
            ..., round(top * tall) : round((top + rows) * tall), round(left * wide) : round((left + columns) * wide)
        ]
        pairs = [(self.decode_whole(last), image), (self.decode_part(quarter), shown)]
        found = [
            Reconstruction(decoded, functional.interpolate(original, size=decoded.shape[-2:], mode="area"))
            for decoded, original in pairs
        ]
        return self.judge(last), found

    def _features(self, image: Tensor) -> list[Tensor]:
        features = [self.begin(image)]
        for block in self.blocks:
            features.append(block(features[-1]))
        return features


class HalvingBlock(nn.Module):
    """The mean of two ways to half the rows and columns: convolutions 4×4 and 3×3, or average and 1×1 (figure 4)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(0.2),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(0.2),
        )
        self.direct = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(before, after, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(0.2),
        )

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = (self.main(features) + self.direct(features)) / 2
        return output


class Decoder(nn.Sequential):
    """Nearest neighbour, 3×3 convolution, batch norm and gated linear unit per doubling; tanh (figure 4).

    Four doublings, 8² to 128², where the image is large enough.
    """

    def __init__(self, before: int, channels: int, doublings: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(doublings):
            after = max(8, before // 2)
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(before, 2 * after, 3, padding=1, bias=False),
                nn.BatchNorm2d(2 * after),
                nn.GLU(dim=1),
            ]
            before = after
        super().__init__(*layers, nn.Conv2d(before, channels, 3, padding=1), nn.Tanh())


def _doublings(grid: int, side: int) -> int:
    """Return how often ``grid`` doubles without passing ``side``; once at least."""
    return max(1, int(math.log2(side / grid)))
