"""Learned doubling of rows and columns in a decoder."""

from __future__ import annotations

from typing import Literal

from torch import nn

Upsampling = Literal["transposed", "resize", "bilinear"]


def upsample(before: int, after: int, kind: Upsampling, kernel: int = 2, bias: bool = True) -> nn.Module:
    """Return a layer from (N, ``before``, rows, columns) to (N, ``after``, 2·rows, 2·columns).

    Parameters
    ----------
    kind
        ``transposed``: transposed convolution of stride 2, as the published decoders have it; it can leave a
        checkerboard. ``resize``: nearest neighbour, then 3×3 convolution. ``bilinear``: 1×1 convolution, then
        bilinear; the cheapest.
    kernel
        Of the transposed convolution: 2 (U-Net) or 3 (CycleGAN's ResNet generator).
    """
    if kind == "transposed":
        padding = (kernel - 1) // 2
        return nn.ConvTranspose2d(
            before, after, kernel, stride=2, padding=padding, output_padding=2 * padding + 2 - kernel, bias=bias
        )
    if kind == "resize":
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 3, padding=1, bias=bias)
        )
    return nn.Sequential(
        nn.Conv2d(before, after, 1, bias=bias),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    )
