"""Tells by a segmentation network's features where an image came from (row D4)."""

from __future__ import annotations

from torch import Tensor, nn


class DomainClassifier(nn.Module):
    """Three 1×1×1 convolutions on features (N, channels, ...); gives one logit per place, (N, 1, ...).

    Each place is judged by itself and not their mean: instance norm before it would leave every mean 0.

    Parameters
    ----------
    channels
        Of the features.
    width
        Filters in between.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(channels, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(width, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(width, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers(features)
        return logits
