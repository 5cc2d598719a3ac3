"""Layers with an equalised learning rate: Karras et al. 2018, "Progressive growing of GANs", section 4.1.

Weights begin as N(0, 1) and are multiplied at every use by He's constant, gain / √fan-in, so that Adam, whose steps do
not depend on a gradient's size, changes all layers at the same relative speed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2


def leaky(features: Tensor) -> Tensor:
    """Return LeakyReLU of slope 0.2, times √2, which keeps a variance of about 1."""
    return functional.leaky_relu(features, SLOPE) * math.sqrt(2)


class EqualisedLinear(nn.Module):
    """A dense layer, (N, before) → (N, after).

    Parameters
    ----------
    bias
        What the biases begin as.
    rate
        Learning rate of this layer in shares of the optimiser's: weights begin as N(0, 1/rate) and are multiplied
        by ``rate`` more.
    """

    def __init__(self, before: int, after: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / rate)
        self.bias = nn.Parameter(torch.full((after,), bias / rate))
        self.scale = rate / math.sqrt(before)
        self.rate = rate

    def forward(self, features: Tensor) -> Tensor:
        return functional.linear(features, self.weight * self.scale, self.bias * self.rate)


class EqualisedConv(nn.Module):
    """A convolution, (N, before, rows, columns) → (N, after, rows, columns); with ``stride`` 2 there is no padding."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after)) if bias else None
        self.scale = 1 / math.sqrt(before * kernel**2)
        self.stride = stride
        self.padding = kernel // 2 if stride == 1 else 0

    def forward(self, features: Tensor) -> Tensor:
        return functional.conv2d(features, self.weight * self.scale, self.bias, self.stride, self.padding)
