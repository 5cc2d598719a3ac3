"""How the weights of a network begin. All draws come from torch's global generator."""

from __future__ import annotations

from typing import Literal

from torch import nn

Initialisation = Literal["default", "normal", "glorot", "he"]


def initialise(network: nn.Module, kind: Initialisation) -> None:
    """Set the weights of every convolution and dense layer of ``network``.

    Parameters
    ----------
    kind
        ``default``: as PyTorch has drawn them (uniform, Kaiming's fan-in rule with a = √5).
        ``normal``: N(0, 0.02), biases 0: DCGAN, pix2pix, CycleGAN (row D1).
        ``glorot``: Glorot uniform, biases 0: what Keras does when nothing is said.
        ``he``: He normal for leaky ReLUs of slope 0.01, biases 0: nnU-Net.
    """
    if kind == "default":
        return
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            if kind == "normal":
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif kind == "he":
                nn.init.kaiming_normal_(module.weight, a=0.01)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
