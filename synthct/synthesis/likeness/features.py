"""What a network sees in a volume: the mean of each channel where it looks most coarsely, read while it works."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CHANNELS = 128
"""At most so many channels are kept, evenly chosen: enough to tell inputs apart, and a card stays small."""
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class FeatureProbe:
    """While entered, listens to a network and averages the channels of its deepest convolution over all it is given.

    The deepest convolution is the last one of those whose output has the fewest pixels: the bottleneck of a U-Net, the
    last residual block of a ResNet. It is found during the first forward pass; after that one hook is left, whose mean
    stays on the device. Works for any number of spatial axes.

    Parameters
    ----------
    network
        Takes (N, channels, spatial axes); nothing of it is changed.

    Attributes
    ----------
    listening
        Set to False for inputs that do not count.
    """

    def __init__(self, network: nn.Module) -> None:
        self.listening = True
        self._network = network
        self._hooks: list[Any] = []
        self._seen: tuple[int, nn.Module, Tensor] | None = None
        self._deepest: nn.Module | None = None
        self._sum: Tensor | None = None
        self._count = 0

    def __enter__(self) -> FeatureProbe:
        convolutions = [module for module in self._network.modules() if isinstance(module, _CONVOLUTIONS)]
        self._hooks = [module.register_forward_hook(self._look) for module in convolutions]
        if convolutions:
            self._hooks.append(self._network.register_forward_hook(self._found))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_hooks()

    @property
    def features(self) -> np.ndarray | None:
        """Mean of each channel, float64 of at most `CHANNELS`; None where nothing was seen."""
        if self._sum is None:
            return None
        means = (self._sum / self._count).double().cpu().numpy()
        return means if len(means) <= CHANNELS else means[np.linspace(0, len(means) - 1, CHANNELS).round().astype(int)]

    def _look(self, module: nn.Module, _inputs: Any, output: Tensor) -> None:
        pixels = output[0, 0].numel()
        if self.listening and (self._seen is None or pixels <= self._seen[0]):
            self._seen = (pixels, module, _channel_means(output))

    def _found(self, _network: nn.Module, _inputs: Any, _output: Any) -> None:
        if self._seen is None:
            return
        self._remove_hooks()
        _, self._deepest, means = self._seen
        self._seen = None
        self._add(means)
        self._hooks = [self._deepest.register_forward_hook(self._listen)]

    def _listen(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if self.listening:
            self._add(_channel_means(output))

    def _add(self, means: Tensor) -> None:
        total = means.sum(0)
        self._sum = total if self._sum is None else self._sum.to(total.device) + total
        self._count += len(means)

    def _remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


@torch.no_grad()
def _channel_means(output: Tensor) -> Tensor:
    """(N, channels), float32; before anything changes the output in place."""
    return output.detach().float().mean(dim=tuple(range(2, output.ndim)))
