"""Label numbers turned into one channel per class at a network's entrance (row B5's alternative)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LabelChannels:
    """The first ``count`` channels of a network's input hold label numbers, 0 to ``classes`` − 1."""

    count: int
    classes: int

    def unfolded(self, in_channels: int) -> int:
        """Return how many channels ``in_channels`` are once every class has its own."""
        return in_channels + self.count * (self.classes - 1)


class OneHotInput(nn.Module):
    """A network that sees label numbers as channels of 0 and 1, slice by slice and class by class.

    Done here and not where samples are made, so that slices, tiles, windows and their padding stay label numbers, and a
    GPU is sent a byte's worth of information per voxel rather than a channel per class.

    Takes (N, in_channels, ...), the first of which hold whole numbers; others pass unchanged. A number that is no class
    is 0 in every channel. ``divisor``, ``dimensions`` and whatever else is asked for are the network's own.

    Parameters
    ----------
    network
        Takes ``labels.unfolded(in_channels)`` channels.
    labels
        Which channels hold label numbers.
    """

    def __init__(self, network: nn.Module, labels: LabelChannels) -> None:
        super().__init__()
        self.network = network
        self.divisor = int(getattr(network, "divisor", 1))
        self.dimensions = int(getattr(network, "dimensions", 2))
        self.probabilities = bool(getattr(network, "probabilities", False))
        self.labels = labels

    def forward(self, image: Tensor) -> Tensor:
        numbers = image[:, : self.labels.count].unsqueeze(2)
        shape = [1, 1, self.labels.classes, *[1] * (image.dim() - 2)]
        classes = torch.arange(self.labels.classes, device=image.device, dtype=image.dtype).reshape(shape)
        channels = (numbers == classes).to(image.dtype).flatten(1, 2)
        output: Tensor = self.network(torch.cat([channels, image[:, self.labels.count :]], dim=1))
        return output
