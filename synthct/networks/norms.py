"""The normalisation layers that a recipe may name."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

Norm = Literal["none", "batch", "instance", "group"]


def norm_layer(kind: Norm, channels: int, affine: bool = True, dimensions: int = 2, groups: int = 8) -> nn.Module:
    """Return the layer for (N, ``channels``, rows, columns), or with ``dimensions`` 3 slices before the rows.

    ``batch`` has momentum 0.1 in PyTorch's sense (the share of the new batch), which is Keras' 0.9 (row A8).
    ``group`` makes at most ``groups`` groups. ``affine`` concerns ``instance`` alone: CycleGAN's has no weights.
    """
    if kind == "batch":
        return (nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d)(channels, momentum=0.1)
    if kind == "instance":
        return (nn.InstanceNorm2d if dimensions == 2 else nn.InstanceNorm3d)(channels, affine=affine)
    if kind == "group":
        return nn.GroupNorm(math.gcd(groups, channels), channels)
    return nn.Identity()


def needs_bias(kind: Norm) -> bool:
    """Whether a convolution before this layer has use for a bias (batch and instance norm subtract it again)."""
    return kind in ("none", "group")
