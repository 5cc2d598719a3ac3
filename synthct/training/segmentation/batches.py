"""Patches of CTs with their lesions, both classes equally likely in the middle (row B10).

Every draw follows from (seed, sample) alone, so that a training that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthct.training.segmentation.settings import SegmentationTraining
from synthct.training.segmentation.volumes import LesionVolume
from synthct.volumes.hu import AIR_HU
from synthct.volumes.scaling import make_scaling

_ORDER, _PATCH, _TARGET = 1, 2, 3
_TRIES = 200


class LesionBatches:
    """``batches[iteration]`` for any iteration from 0 on: ``image`` (scaled) and ``mask``, (N, 1, *patch), float32.

    In an epoch each volume gives ``patches_per_volume`` patches, all of them in an order drawn anew. A patch is moved
    so far that it does not leave the volume; a volume that is smaller is padded with air.

    Parameters
    ----------
    volumes
        To learn from.
    target
        Of another domain, without masks: ``target_image`` then has patches of them too, their places drawn evenly.
    """

    def __init__(
        self,
        volumes: Sequence[LesionVolume],
        settings: SegmentationTraining,
        seed: int,
        target: Sequence[LesionVolume] = (),
    ) -> None:
        self._volumes, self._target, self._settings, self._seed = list(volumes), list(target), settings, seed
        self._scaling = make_scaling(settings.intensity)

    def __getitem__(self, iteration: int) -> dict[str, Tensor]:
        first = iteration * self._settings.batch
        samples = range(first, first + self._settings.batch)
        pairs = [self._patch(sample) for sample in samples]
        batch = {
            "image": self._scaled([image for image, _ in pairs]),
            "mask": torch.from_numpy(np.stack([mask for _, mask in pairs])[:, None].astype(np.float32)),
        }
        if self._target:
            batch["target_image"] = self._scaled([self._target_patch(sample) for sample in samples])
        return batch

    def volume_of(self, sample: int) -> LesionVolume:
        """Return the volume that sample ``sample`` is cut from."""
        each = self._settings.patches_per_volume
        epoch, place = divmod(sample, len(self._volumes) * each)
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self._volumes) * each)
        return self._volumes[int(order[place]) // each]

    def _patch(self, sample: int) -> tuple[NDArray[Any], NDArray[Any]]:
        volume = self.volume_of(sample)
        random = np.random.default_rng([self._seed, _PATCH, sample])
        centre = _drawn_centre(volume, random)
        cut = [
            _cut(array, centre, self._settings.patch, air) for array, air in ((volume.image, AIR_HU), (volume.mask, 0))
        ]
        if self._settings.flip:
            axes = tuple(axis for axis in range(3) if random.random() < 0.5)
            cut = [np.flip(array, axes) for array in cut]
        return cut[0], cut[1]

    def _target_patch(self, sample: int) -> NDArray[Any]:
        random = np.random.default_rng([self._seed, _TARGET, sample])
        volume = self._target[int(random.integers(len(self._target)))]
        image = volume.image
        centre = [int(random.integers(length)) for length in image.shape]
        return _cut(image, centre, self._settings.patch, AIR_HU)

    def _scaled(self, patches: Sequence[NDArray[Any]]) -> Tensor:
        return torch.from_numpy(self._scaling.apply(np.stack(patches)[:, None]))


def _drawn_centre(volume: LesionVolume, random: np.random.Generator) -> list[int]:
    """Draw lesion or background, then a voxel of it; a volume without lesions, or of nothing else, has one class."""
    mask, lesion = volume.mask, volume.lesion
    if len(lesion) and (len(lesion) == mask.size or random.random() < 0.5):
        return [int(index) for index in np.unravel_index(lesion[random.integers(len(lesion))], mask.shape)]
    for _ in range(_TRIES):  # background is most of a volume
        centre = [int(random.integers(length)) for length in mask.shape]
        if not mask[tuple(centre)]:
            break
    return centre


def _cut(array: NDArray[Any], centre: Sequence[int], size: Sequence[int], outside: float) -> NDArray[Any]:
    """Return the patch of ``size`` about ``centre``, moved into the array; what the array lacks is ``outside``."""
    starts = [
        min(max(0, middle - side // 2), max(0, length - side))
        for middle, side, length in zip(centre, size, array.shape, strict=True)
    ]
    piece = array[tuple(slice(start, start + side) for start, side in zip(starts, size, strict=True))]
    if piece.shape == tuple(size):
        return np.array(piece)
    result = np.full(tuple(size), outside, array.dtype)
    before = [(side - length) // 2 for side, length in zip(size, piece.shape, strict=True)]
    result[tuple(slice(b, b + length) for b, length in zip(before, piece.shape, strict=True))] = piece
    return result
