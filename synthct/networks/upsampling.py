"""Learned doubling of every side in a decoder."""

from __future__ import annotations

from typing import Literal

from torch import nn

Upsampling = Literal["transposed", "resize", "bilinear"]
CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
"""Convolution by number of spatial axes."""


def upsample(
    before: int, after: int, kind: Upsampling, kernel: int = 2, bias: bool = True, dimensions: int = 2
) -> nn.Module:
    """Return a layer from (N, ``before``, \\*sides) to (N, ``after``, \\*doubled sides).

    Parameters
    ----------
    kind
        ``transposed``: transposed convolution of stride 2, as the published decoders have it; it can leave a
        checkerboard. ``resize``: nearest neighbour, then 3×3 convolution. ``bilinear``: 1×1 convolution, then
        bilinear (in 3D trilinear); the cheapest.
    kernel
        Of the transposed convolution: 2 (U-Net) or 3 (CycleGAN's ResNet generator).
    dimensions
        2: sides are rows and columns; 3: slices, rows and columns.
    """
    convolution = CONVOLUTIONS[dimensions]
    if kind == "transposed":
        transposed = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose3d
        padding = (kernel - 1) // 2
        return transposed(
            before, after, kernel, stride=2, padding=padding, output_padding=2 * padding + 2 - kernel, bias=bias
        )
    if kind == "resize":
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"), convolution(before, after, 3, padding=1, bias=bias)
        )
    return nn.Sequential(
        convolution(before, after, 1, bias=bias),
        nn.Upsample(scale_factor=2, mode="bilinear" if dimensions == 2 else "trilinear", align_corners=False),
    )
