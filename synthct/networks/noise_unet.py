"""The U-Net generators of vanilla GAN 1 and 2 that are fed a volume of noise (rows C4 and C5), in 3D and 2D."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from synthct.networks.halving import filter_numbers, halvings, strides
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, needs_bias, norm_layer
from synthct.networks.upsampling import CONVOLUTIONS

_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class NoiseUNet(nn.Module):
    """As many encoder blocks as there are filters, a bottleneck, as many decoder blocks; skips by concatenation.

    An encoder block is a 3×3×3 convolution of stride 2, a norm (but for the first) and LeakyReLU 0.2; the bottleneck
    the same with stride 1; a decoder block a transposed 3×3×3 convolution of stride 2, ReLU and dropout. A last
    convolution gives the channels. Along an axis that a block can no longer halve it has stride 1 (see
    `synthct.networks.halving`), so that any size goes: 7 blocks on 16³, 4 on 54×154×154.

    Takes latents (N, in_channels, \\*size), noise of the image's own size, and returns (N, out_channels, \\*size) in
    [−1, 1].

    The text names blocks, skips, batch norm and dropout. Kernel, activations, filters and the dropout's rate are our
    reading (pix2pix's, but for the kernel of 3, which serves odd sides).

    Parameters
    ----------
    in_channels, out_channels
        Channels of noise (1 in row C4), and of the image.
    size
        Rows and columns of the image, in 3D slices before them; the recipe's ``data.size`` where it is not given.
    filters
        Of each encoder block, full resolution first, as a list or as ``64-128-256``: 7 for vanilla GAN 1, 4 for 2.
    norm
        batch (row C4), instance, group or none.
    dropout
        Probability in every decoder block.
    output
        ``tanh``, or ``linear``.
    initialisation
        See `synthct.networks.initialisation.initialise`; ``glorot`` is Keras' own, which the authors used.

    Attributes
    ----------
    latent_shape
        (in_channels, \\*size).
    """

    classes = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: list[int],
        filters: list[int] | str = "64-128-256-512-512-512-512",
        norm: Norm = "batch",
        dropout: float = 0.5,
        output: Literal["tanh", "linear"] = "tanh",
        initialisation: Initialisation = "glorot",
    ) -> None:
        super().__init__()
        widths = filter_numbers("the noise U-Net", filters)
        sides = halvings(size, len(widths))
        self.dimensions = dimensions = len(size)
        self.latent_shape = (in_channels, *size)
        convolution = CONVOLUTIONS[dimensions]

        self.encoder = nn.ModuleList()
        for level, (before, after) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True)):
            kind: Norm = norm if level else "none"
            stride: Any = strides(sides[level], sides[level + 1])
            self.encoder.append(_block(convolution(before, after, 3, stride, 1, bias=needs_bias(kind)), kind, after))
        deepest = widths[-1]
        self.bottleneck = _block(convolution(deepest, deepest, 3, 1, 1, bias=needs_bias(norm)), norm, deepest)

        self.decoder = nn.ModuleList()
        given = deepest
        for level in reversed(range(len(widths))):
            after = widths[max(level - 1, 0)]
            self.decoder.append(Doubling(given + widths[level], after, sides[level + 1], sides[level], dropout))
            given = after
        self.head = convolution(given, out_channels, 3, 1, 1)
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()
        initialise(self, initialisation)

    def forward(self, latent: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return images; there are no classes to be told."""
        skips = [latent]
        for block in self.encoder:
            skips.append(block(skips[-1]))
        features = self.bottleneck(skips[-1])
        for block in self.decoder:
            features = block(torch.cat([features, skips.pop()], dim=1))
        return self.output(self.head(features))


class Doubling(nn.Module):
    """Transposed 3×3×3 convolution from ``sides`` back to ``target``, ReLU and dropout: a block of the decoder."""

    def __init__(
        self, before: int, after: int, sides: tuple[int, ...], target: tuple[int, ...], dropout: float
    ) -> None:
        super().__init__()
        stride: Any = strides(target, sides)
        missing: Any = tuple(
            wanted - ((side - 1) * step + 1) for side, wanted, step in zip(sides, target, stride, strict=True)
        )
        self.layers = nn.Sequential(
            _TRANSPOSED[len(sides)](before, after, 3, stride, 1, output_padding=missing),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.layers(features)
        return output


def _block(convolution: nn.Module, norm: Norm, channels: int) -> nn.Sequential:
    dimensions = 3 if isinstance(convolution, nn.Conv3d) else 2
    return nn.Sequential(
        convolution, norm_layer(norm, channels, dimensions=dimensions), nn.LeakyReLU(0.2, inplace=True)
    )
