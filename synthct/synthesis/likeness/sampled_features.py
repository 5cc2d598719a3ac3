"""The network's features of a volume from a few of its slices, or from windows side by side for a 3D network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from synthct.events import SILENT
from synthct.synthesis.likeness.features import FeatureProbe
from synthct.synthesis.model_file import Model
from synthct.synthesis.planes import along_plane
from synthct.synthesis.predictor import Predictor
from synthct.volumes.scaling import Scaling

SLICES = 8
"""Slices per volume: their mean is that of all slices to well within the spread between patients."""
WINDOWS_PER_AXIS = 3
"""At most so many windows of a 3D network along each axis."""


def sampled_features(
    model: Model, voxels: np.ndarray, body: np.ndarray | None, scaling: Scaling, device: torch.device | str
) -> NDArray[np.float64] | None:
    """Return what `FeatureProbe` sees in a volume; None for a network without convolutions.

    Parameters
    ----------
    voxels
        (S, P, L), as the network is given them in a translation.
    body
        Mask of the same shape: slices without body are not taken. None: all may be.
    scaling
        Fitted to the volume.
    """
    padding = float(scaling.apply(np.asarray([voxels.min()], np.float32))[0])
    with FeatureProbe(model.network) as probe:
        if len(model.card["size"]) == 3:
            _windows_through(model, voxels, body, scaling, padding, torch.device(device))
        else:
            blocks = _slice_blocks(model, voxels, body, scaling)
            for _ in Predictor(model, torch.device(device), 1, SILENT).predict(blocks, padding):
                pass
    return probe.features


def _slice_blocks(
    model: Model, voxels: np.ndarray, body: np.ndarray | None, scaling: Scaling
) -> Iterator[tuple[int, np.ndarray]]:
    """Evenly spaced slices of the first of the card's planes, each with its neighbours as channels."""
    plane, neighbours = model.card["planes"][0], int(model.card.get("neighbours", 0))
    slices = along_plane(voxels, plane)
    wanted = np.arange(len(slices))
    if body is not None and body.any():
        wanted = np.flatnonzero(along_plane(body, plane).any((1, 2)))
    for number in wanted[np.linspace(0, len(wanted) - 1, min(SLICES, len(wanted))).round().astype(int)]:
        window = np.clip(np.arange(number - neighbours, number + neighbours + 1), 0, len(slices) - 1)
        yield int(number), scaling.apply(slices[window])[None]


@torch.inference_mode()
def _windows_through(
    model: Model, voxels: np.ndarray, body: np.ndarray | None, scaling: Scaling, padding: float, device: torch.device
) -> None:
    """Give a 3D network windows of its size that lie side by side over the body."""
    size = model.card["size"]
    network = model.network.to(device)
    starts = []
    for length, side in zip(voxels.shape, size, strict=True):
        count = min(WINDOWS_PER_AXIS, math.ceil(length / side))
        starts.append(np.linspace(0, max(0, length - side), count).round().astype(int).tolist())
    for corner in itertools.product(*starts):
        place = tuple(slice(a, a + side) for a, side in zip(corner, size, strict=True))
        if body is not None and not body[place].any():
            continue
        part = scaling.apply(voxels[place])
        missing = [(0, side - length) for side, length in zip(size, part.shape, strict=True)]
        part = np.pad(part, missing, constant_values=padding)
        network(torch.from_numpy(part)[None, None].to(device))
