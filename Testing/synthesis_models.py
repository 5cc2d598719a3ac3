"""Models whose answer is known: a network that returns its centre slice, so that HU come out as they went in."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import nn

from synthct.synthesis.model_file import Model

WINDOW = {"name": "ct-window", "low": -1024.0, "high": 3000.0}
TINY_CARD = {
    "name": "tiny",
    "network": {"name": "unet", "width": "4-8"},
    "in_channels": 1,
    "out_channels": 1,
    "input_scaling": {"name": "mr-percentile", "low": 0.5, "high": 99.5},
    "target_scaling": WINDOW,
    "size": [32, 32],
    "hu_range": [-1024, 2000],
    "body_only": True,
}
"""What `save_model` wants to know of a U-Net that only has to run."""


class Centre(nn.Module):
    """Returns the middle input channel; sides must be multiples of 8, as a U-Net demands."""

    divisor = 8

    def __init__(self) -> None:
        super().__init__()
        self.largest = (0, 0, 0, 0)
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[-1] % self.divisor == 0 and image.shape[-2] % self.divisor == 0
        self.calls += 1
        self.largest = max(self.largest, tuple(image.shape), key=np.prod)
        middle = image.shape[1] // 2
        return image[:, middle : middle + 1]


def centre_model(network: nn.Module | None = None, **changes: Any) -> Model:
    """Return a model that keeps every value between −1024 and 3000; ``changes`` go into its card."""
    card: dict[str, Any] = {
        "format": 1,
        "name": "centre",
        "input": "MR",
        "network": {"name": "centre"},
        "in_channels": 1,
        "out_channels": 1,
        "neighbours": 0,
        "input_scaling": WINDOW,
        "target_scaling": WINDOW,
        "planes": ["axial", "coronal", "sagittal"],
        "size": [32, 32],
        "spacing": None,
        "hu_range": [-1024, 3000],
    }
    card.update(changes)
    card["in_channels"] = 2 * card["neighbours"] + 1
    return Model(network or Centre(), card)


def random_grid_image(array: np.ndarray, seed: int, spacing: tuple[float, float, float] | None = None) -> sitk.Image:
    """Put an array onto an oblique, possibly permuted, flipped and anisotropic grid."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if seed % 3 == 0:  # upright, but permuted and flipped
        axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    image = sitk.GetImageFromArray(array)
    image.SetDirection(axes.ravel().tolist())
    image.SetSpacing(spacing or rng.uniform(0.7, 4.0, 3).tolist())
    image.SetOrigin(rng.uniform(-200, 200, 3).tolist())
    return image
