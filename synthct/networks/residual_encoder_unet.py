"""Residual-encoder U-Net of nnU-Net, in 3D or 2D: Isensee et al. 2024, "nnU-Net Revisited" (REFERENCE F).

Written out here since nnU-Net's own package of architectures brings torchvision, and MONAI's residual block strides the
1×1 convolution on its skip, which drops seven of eight voxels where nnU-Net averages them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, needs_bias, norm_layer
from synthct.networks.upsampling import CONVOLUTIONS, Upsampling, upsample

_SLOPE = 0.01


class ResidualEncoderUNet(nn.Module):
    """Encoder of residual blocks (He et al. 2016), decoder of one convolution per stage, skips by concatenation.

    Takes (N, in_channels, slices, rows, columns), returns (N, out_channels, slices, rows, columns); every side must be
    a multiple of ``divisor`` = 2^(stages − 1). With ``dimensions`` 2 there are no slices. The defaults are the
    encoder of the published ResEnc M and L; these have a transposed decoder, and heads for deep supervision, which a
    regression does not need.

    Parameters
    ----------
    in_channels, out_channels
        Images in and out.
    dimensions
        3, or 2 for slices.
    features
        Filters per stage, full resolution first, as a list or as ``32-64-128``; each stage halves every side.
    blocks
        Residual blocks per stage, as many numbers as ``features`` has.
    norm
        After each convolution: instance (nnU-Net), batch, group or none.
    dropout
        Probability inside each residual block.
    upsampling
        ``resize`` leaves no checkerboard; ``transposed``: 2×2×2, nnU-Net. See `synthct.networks.upsampling.upsample`.
    output
        ``linear`` or ``tanh``.
    initialisation
        See `synthct.networks.initialisation.initialise`; ``he`` is nnU-Net's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dimensions: Literal[2, 3] = 3,
        features: list[int] | str = "32-64-128-256-320-320",
        blocks: list[int] | str = "1-3-4-6-6-6",
        norm: Norm = "instance",
        dropout: float = 0.0,
        upsampling: Upsampling = "resize",
        output: Literal["linear", "tanh"] = "linear",
        initialisation: Initialisation = "he",
    ) -> None:
        super().__init__()
        widths, depths = _numbers("features", features), _numbers("blocks", blocks)
        if len(widths) != len(depths) or len(widths) < 2:
            raise UserError(
                "The residual-encoder U-Net's features and blocks disagree.",
                f"There are {len(widths)} features and {len(depths)} blocks.",
                "Give as many of one as of the other, two or more.",
            )
        self.dimensions = dimensions
        self.divisor = 2 ** (len(widths) - 1)
        self.stem = _convolution(in_channels, widths[0], 1, norm, dimensions)
        self.encoder = nn.ModuleList()
        for stage, (before, after, count) in enumerate(zip([widths[0], *widths[:-1]], widths, depths, strict=True)):
            stride = 2 if stage else 1
            self.encoder.append(
                nn.Sequential(
                    ResidualBlock(before, after, stride, norm, dropout, dimensions),
                    *(ResidualBlock(after, after, 1, norm, dropout, dimensions) for _ in range(count - 1)),
                )
            )
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(upsample(deep, shallow, upsampling, dimensions=dimensions) for deep, shallow in steps)
        self.decoder = nn.ModuleList(_convolution(2 * shallow, shallow, 1, norm, dimensions) for _, shallow in steps)
        self.head = CONVOLUTIONS[dimensions](widths[0], out_channels, 1)
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()
        initialise(self, initialisation)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return what each stage of the encoder gives, full resolution first."""
        stages: list[Tensor] = []
        for stage in self.encoder:
            stages.append(stage(stages[-1] if stages else self.stem(image)))
        return stages

    def forward(self, image: Tensor) -> Tensor:
        skips = self.features(image)
        features = skips.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), up(features)], dim=1))
        return self.output(self.head(features))


class ResidualBlock(nn.Module):
    """Two 3×3×3 convolutions added to their input; the first has the stride, the skip averages and has a 1×1×1.

    Takes (N, before, \\*sides), returns (N, after, \\*sides / stride).
    """

    def __init__(self, before: int, after: int, stride: int, norm: Norm, dropout: float, dimensions: int) -> None:
        super().__init__()
        drop = {2: nn.Dropout2d, 3: nn.Dropout3d}[dimensions]
        pool = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dimensions]
        self.layers = nn.Sequential(
            *_convolution(before, after, stride, norm, dimensions),
            *([drop(dropout)] if dropout else []),
            *list(_convolution(after, after, 1, norm, dimensions))[:-1],
        )
        skip: list[nn.Module] = [pool(stride)] if stride > 1 else []
        if before != after:
            skip += [
                CONVOLUTIONS[dimensions](before, after, 1, bias=False),
                norm_layer(norm, after, dimensions=dimensions),
            ]
        self.skip = nn.Sequential(*skip)
        self.activation = nn.LeakyReLU(_SLOPE, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.activation(self.layers(features) + self.skip(features))
        return output


def _convolution(before: int, after: int, stride: int, norm: Norm, dimensions: int) -> nn.Sequential:
    # nnU-Net keeps the convolutions' biases before its instance norm, which subtracts them again.
    bias = norm == "instance" or needs_bias(norm)
    return nn.Sequential(
        CONVOLUTIONS[dimensions](before, after, 3, stride, 1, bias=bias),
        norm_layer(norm, after, dimensions=dimensions),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )


def _numbers(what: str, given: list[int] | str) -> list[int]:
    try:
        numbers = [int(part) for part in given.split("-")] if isinstance(given, str) else given
    except ValueError:
        numbers = []
    if min(numbers, default=0) < 1:
        raise UserError(
            f"The residual-encoder U-Net's {what} cannot be {given!r}.",
            todo="Give positive numbers, one per stage, as in 32-64-128.",
        )
    return numbers
