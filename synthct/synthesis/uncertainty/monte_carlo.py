"""Monte-Carlo dropout: a network that goes on leaving out units while everything else of it is in eval mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def has_dropout(network: nn.Module) -> bool:
    """Whether a network has a dropout layer that leaves anything out."""
    return any(isinstance(layer, _DROPOUTS) and layer.p > 0 for layer in network.modules())


class MonteCarloDropout(nn.Module):
    """One random draw of a network: its dropout layers stay active in eval mode, its norms do not (Gal 2016).

    The wrapped network is left with active dropout; put it back by its own ``eval()``.

    Parameters
    ----------
    network
        With dropout layers.
    seed
        Numbers that the draws come from; torch's global generators are left as they were after each call.
    """

    def __init__(self, network: nn.Module, seed: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.divisor = getattr(network, "divisor", 1)
        self.dimensions = getattr(network, "dimensions", 2)
        self._seed = list(seed)
        self._calls = 0

    def train(self, mode: bool = True) -> MonteCarloDropout:
        super().train(mode)
        for layer in self.network.modules():
            if isinstance(layer, _DROPOUTS):
                layer.train()
        return self

    def forward(self, image: Tensor) -> Tensor:
        devices = [image.device] if image.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(np.random.SeedSequence([*self._seed, self._calls]).generate_state(1)[0]))
            self._calls += 1
            output: Tensor = self.network(image)
        return output
