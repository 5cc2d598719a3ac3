"""Exponential moving average of a network's weights: steadier than the weights of any single step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Running mean of ``network``'s weights, itself a network that can be validated and kept.

    The decay grows as min(decay, (1 + n) / (10 + n)) with the number of updates n, so that a short training is not
    dominated by its first weights. Buffers (running means of batch normalisation) are copied as they are.

    Parameters
    ----------
    network
        The network that is trained; copied at once.
    decay
        Weight of the past at every update, for example 0.999.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._source = network

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; call it after every training step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_([*self.network.parameters()], [*self._source.parameters()], 1.0 - decay)
        for mean, now in zip(self.network.buffers(), self._source.buffers(), strict=True):
            mean.copy_(now)
        self.updates += 1

    def tensors(self) -> dict[str, Tensor]:
        """Weights and buffers by name."""
        return self.network.state_dict()

    def load(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Go on from stored weights and number of updates."""
        self.network.load_state_dict(tensors)
        self.updates = updates
