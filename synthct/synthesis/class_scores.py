"""What a classifier of images says of prepared volumes: class by class, one volume at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synthct.data.cache import Volume
from synthct.data.noise_batches import NoiseBatches
from synthct.networks.resnet_classifier import pooled_features
from synthct.recipe import Data

SLICES = 16
"""Slices of a volume that a 2D network is shown, evenly chosen."""


def samples_of(volume: Volume, data: Data) -> NDArray[np.float32]:
    """Return what a network is shown of a volume: one sample in 3D, at most `SLICES` in 2D.

    Parameters
    ----------
    volume
        Brought to size by ``fitted``.

    Returns
    -------
    array
        (samples, channels, \\*``data.size``), scaled.
    """
    batches = NoiseBatches({volume.id: volume}, [volume.id], data, 1, 0)
    shown: NDArray[np.float32] = batches.preview(1 if len(data.size) == 3 else SLICES)["target"].numpy()
    return shown


def class_probabilities(
    network: nn.Module, volume: Volume, data: Data, device: torch.device | str
) -> NDArray[np.float64]:
    """Return the probabilities of the classes of one volume, (classes,): in 2D the mean over its slices."""
    kind = next(network.parameters()).dtype
    _, found = pooled_features(network, torch.from_numpy(samples_of(volume, data)).to(device, kind))
    assert found is not None
    mean: NDArray[np.float64] = found.double().mean(dim=0).cpu().numpy()
    return mean
