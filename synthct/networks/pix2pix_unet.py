"""The U-Net generator of pix2pix: Isola et al. 2017, appendix 6.1.1 (rows A12, B6, D2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, needs_bias, norm_layer
from synthct.networks.upsampling import Upsampling, upsample


class Pix2PixUNet(nn.Module):
    """4×4 convolutions that halve down to the bottleneck, and as many doublings back, joined by skips.

    Encoder C64-C128-C256-C512-C512-C512-C512-C512, decoder CD512-CD512-CD512-C512-C256-C128-C64 and the image: C is
    convolution, norm, activation, CD has dropout before the activation. LeakyReLU 0.2 down, ReLU up; a skip is taken
    before the activation. Neither the first convolution nor the bottleneck nor the last has a norm, but the bottleneck
    may have one.

    Takes (N, in_channels, rows, columns), returns (N, out_channels, rows, columns); rows and columns must be
    multiples of ``divisor`` = 2^depth.

    Parameters
    ----------
    in_channels, out_channels
        Slices in (more than one: 2.5D) and images out.
    depth
        Halvings: 8 for 256×256 (U-Net-256), 7 for 128×128 (row B6). Of the decoder's 512s the last are left out
        where there are fewer.
    width
        Filters of the first convolution: 64; doubled three times, then constant.
    norm
        batch (Isola et al.), instance (without weights), group or none.
    bottleneck_norm
        Whether the bottleneck has a norm too, as in row B6: batch or group, since one pixel has no instance's spread.
        Batch norm then needs more than one image at once in training, where the bottleneck is one pixel.
    dropout
        Probability in the first three layers of the decoder: 0.5.
    upsampling
        ``transposed``: 4×4 transposed convolution (Isola et al.); or see `synthct.networks.upsampling.upsample`.
    output
        ``tanh`` or ``linear``.
    initialisation
        See `synthct.networks.initialisation.initialise`; N(0, 0.02) is Isola et al.'s.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 8,
        width: int = 64,
        norm: Norm = "batch",
        bottleneck_norm: bool = False,
        dropout: float = 0.5,
        upsampling: Upsampling = "transposed",
        output: Literal["tanh", "linear"] = "tanh",
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        if depth < 2 or width < 1:
            raise UserError(
                f"A pix2pix U-Net of depth {depth} and width {width} is none.", todo="Give a depth of 2 or more."
            )
        if bottleneck_norm and norm == "instance":
            raise UserError(
                "The bottleneck of a pix2pix U-Net cannot have an instance norm.",
                "One pixel less its mean is 0.",
                "Take batch or group norm, or none there.",
            )
        self.divisor = 2**depth
        widths = [width * min(2**level, 8) for level in range(depth)]
        bias = needs_bias(norm)

        self.encoder = nn.ModuleList([nn.Conv2d(in_channels, width, 4, 2, 1)])
        for level in range(1, depth):
            layers = [nn.LeakyReLU(0.2), nn.Conv2d(widths[level - 1], widths[level], 4, 2, 1, bias=bias)]
            if level < depth - 1 or bottleneck_norm:
                layers.append(norm_layer(norm, widths[level], affine=False))
            self.encoder.append(nn.Sequential(*layers))

        self.decoder = nn.ModuleList()
        for level in range(depth - 1, 0, -1):
            before = widths[level] * (1 if level == depth - 1 else 2)
            layers = [
                nn.ReLU(),
                upsample(before, widths[level - 1], upsampling, kernel=4, bias=bias),
                norm_layer(norm, widths[level - 1], affine=False),
            ]
            if dropout and level > depth - 4:
                layers.append(nn.Dropout(dropout))
            self.decoder.append(nn.Sequential(*layers))
        self.head = nn.Sequential(nn.ReLU(), upsample(2 * width, out_channels, upsampling, kernel=4))
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()
        initialise(self, initialisation)

    def forward(self, image: Tensor) -> Tensor:
        skips: list[Tensor] = []
        features = image
        for layer in self.encoder:
            features = layer(features)
            skips.append(features)
        features = skips.pop()
        for layer in self.decoder:
            features = torch.cat([layer(features), skips.pop()], dim=1)
        return self.output(self.head(features))
