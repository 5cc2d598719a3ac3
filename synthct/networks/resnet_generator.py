"""ResNet generator of CycleGAN: Johnson et al. 2016, Zhu et al. 2017 (rows A7 and B7)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, needs_bias, norm_layer
from synthct.networks.upsampling import Upsampling, upsample


class ResNetGenerator(nn.Module):
    """7×7 convolution, two halvings, residual blocks, two doublings, 7×7 convolution; reflection padding.

    Takes (N, in_channels, rows, columns), returns (N, out_channels, rows, columns); rows and columns must be
    multiples of ``divisor`` = 4, and at least 8.

    Parameters
    ----------
    in_channels, out_channels
        Slices in (more than one: 2.5D) and images out.
    blocks
        Residual blocks: 9 for 256×256 (row A7), 6 for 128×128 (row B7).
    width
        Filters at full resolution, doubled at each halving: 64 (Zhu et al.) or 32 (row B7).
    norm
        instance (without weights of its own), batch, group or none.
    dropout
        Probability inside each residual block.
    upsampling
        ``transposed``: 3×3 transposed convolution (Zhu et al.); or see `synthct.networks.upsampling.upsample`.
    output
        ``tanh`` or ``linear``.
    initialisation
        See `synthct.networks.initialisation.initialise`; N(0, 0.02) is Zhu et al.'s.
    """

    divisor = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        blocks: int = 9,
        width: int = 64,
        norm: Norm = "instance",
        dropout: float = 0.0,
        upsampling: Upsampling = "transposed",
        output: Literal["tanh", "linear"] = "tanh",
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        if blocks < 1 or width < 1:
            raise UserError(f"A ResNet generator of {blocks} blocks and width {width} is none.", todo="Give 1 or more.")
        # CycleGAN keeps the convolutions' biases before its instance norm, which subtracts them again.
        bias = norm == "instance" or needs_bias(norm)

        def after(channels: int) -> list[nn.Module]:
            return [norm_layer(norm, channels, affine=False), nn.ReLU(inplace=True)]

        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, width, 7, padding=3, padding_mode="reflect", bias=bias),
            *after(width),
        ]
        for channels in (width, 2 * width):
            layers += [nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=bias), *after(2 * channels)]
        layers += [ResidualBlock(4 * width, norm, dropout, bias) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [upsample(channels, channels // 2, upsampling, kernel=3, bias=bias), *after(channels // 2)]
        layers.append(nn.Conv2d(width, out_channels, 7, padding=3, padding_mode="reflect"))
        if output == "tanh":
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)
        initialise(self, initialisation)

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.layers(image)
        return output


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with reflection padding, added to their input; no activation after the sum."""

    def __init__(self, channels: int, norm: Norm, dropout: float, bias: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=bias),
            norm_layer(norm, channels, affine=False),
            nn.ReLU(inplace=True),
            *([nn.Dropout(dropout)] if dropout else []),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=bias),
            norm_layer(norm, channels, affine=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = features + self.layers(features)
        return output
