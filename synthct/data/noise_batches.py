"""Batches of images, alone or with their masks, for networks that are fed noise or tell classes.

Draws follow from (seed, step, sample). Nothing is remembered between steps, so that a resumed training goes on exactly,
and ``world`` processes with batches of ``batch`` see together what one process with ``world`` × ``batch`` would see.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthct.data.cache import Volume
from synthct.data.fitting import image_size
from synthct.data.shuffling import ShuffledEpochs
from synthct.data.slices import AXES
from synthct.errors import UserError
from synthct.recipe import Data
from synthct.volumes.scaling import Scaling, make_scaling


@dataclass(frozen=True)
class _Item:
    """A volume, or with ``axis`` one slice of it."""

    volume: Volume
    axis: int | None = None
    number: int = 0


class NoiseBatches:
    """The training batches of a run from noise: ``batches[step]`` for any step from 0 on.

    A batch maps ``target`` to float32 (N, channels, \\*``data.size``), scaled, and with ``data.classes`` ``class`` to
    int64 (N,). Channel 0 is the image, channel 1 its mask where ``data.masks`` is ``channel``; where it is ``joined``
    the mask's slices follow the image's along z. In 2D a sample is a slice of one of ``data.planes``. With ``data.fit``
    ``centre`` an image that is smaller than a sample is padded evenly with the lowest value of each scaling.

    An epoch shows every slice once, in 3D every volume as many times as samples side by side are needed to cover it.

    It serves as the data set of ``DataLoader(batches, batch_size=None, sampler=range(first_step, last_step))``.

    Parameters
    ----------
    volumes
        As from ``open_cache``, brought to size by ``fitted``.
    ids
        The cases to draw from.
    rank, world
        This process and their number; ``batch`` is the size on each.

    Raises
    ------
    UserError
        There is no case.
    """

    def __init__(
        self,
        volumes: Mapping[str, Volume],
        ids: Sequence[str],
        data: Data,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._data, self._batch, self._seed, self._rank, self._world = data, batch, seed, rank, world
        self._image, self._mask = make_scaling(data.target_scaling), make_scaling(data.mask_scaling)
        self._size = image_size(data)
        self._items = [item for name in ids for item in self._items_of(volumes[name])]
        if not self._items:
            raise UserError("There is no image to train on.", todo="Look at the check table of `synthct cohort`.")
        self._order = ShuffledEpochs(seed, len(self._items))

    def __len__(self) -> int:
        """Return the number of samples that an epoch shows."""
        return len(self._items)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show about every sample once, at least 1."""
        return max(1, round(len(self) / (self._batch * self._world)))

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        if step < 0:
            raise IndexError(step)
        first = (step * self._world + self._rank) * self._batch
        return self._joined([self._sample(first + n, step, self._rank * self._batch + n) for n in range(self._batch)])

    def preview(self, count: int) -> dict[str, Tensor]:
        """Return ``count`` samples (or all, where they are fewer) spread evenly over the cases, cut at the middle."""
        return self._joined([self._cut(self._items[place], None) for place in self._places(count)])

    def spread(self, count: int) -> Iterator[np.ndarray]:
        """Give ``target`` of the same samples, one at a time."""
        for place in self._places(count):
            yield self._cut(self._items[place], None)["target"]

    def classes_of_spread(self, count: int) -> list[int]:
        """Return ``class`` of the same samples; 0 where there are no classes."""
        return [self._class_of(self._items[place].volume) for place in self._places(count)]

    def _class_of(self, volume: Volume) -> int:
        return self._data.classes.index(str(getattr(volume, self._data.class_of))) if self._data.classes else 0

    def _places(self, count: int) -> list[int]:
        places: list[int] = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int).tolist()
        return places

    def _sample(self, position: int, step: int, sample: int) -> dict[str, Any]:
        random = np.random.default_rng([self._seed, step, sample])
        item = self._items[self._order.at(position, 0)]
        flip = bool(random.random() < 0.5) and self._data.augmentation.flip
        found = self._cut(item, random if self._data.fit == "crop" else None)
        if flip and item.axis != AXES["sagittal"]:
            found["target"] = found["target"][..., ::-1]
        return found

    def _items_of(self, volume: Volume) -> list[_Item]:
        if len(self._size) == 2:
            axes = [AXES[plane] for plane in self._data.planes]
            return [_Item(volume, axis, number) for axis in axes for number in range(volume.shape[axis])]
        sides = zip(volume.shape, self._size, strict=True)
        count = math.prod(-(-length // side) for length, side in sides) if self._data.fit == "crop" else 1
        return [_Item(volume)] * count

    def _cut(self, item: _Item, random: np.random.Generator | None) -> dict[str, Any]:
        """Return one sample, from the middle or, with ``random``, from anywhere."""
        shape = [length for axis, length in enumerate(item.volume.shape) if axis != item.axis]
        corner = [_first(length, side, random) for length, side in zip(shape, self._size, strict=True)]
        image = self._window(item, item.volume.ct, corner, self._image)
        if self._data.masks == "none":
            sample = image[None]
        else:
            mask = self._window(item, item.volume.mask, corner, self._mask)
            sample = np.stack([image, mask]) if self._data.masks == "channel" else np.concatenate([image, mask])[None]
        if not self._data.classes:
            return {"target": sample}
        return {"target": sample, "class": np.int64(self._class_of(item.volume))}

    def _window(self, item: _Item, array: np.ndarray, corner: Sequence[int], scaling: Scaling) -> np.ndarray:
        whole = array if item.axis is None else array[(slice(None),) * item.axis + (item.number,)]
        first = [max(0, start) for start in corner]
        last = [min(length, start + side) for length, start, side in zip(whole.shape, corner, self._size, strict=True)]
        values = scaling.apply(np.asarray(whole[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]))
        if values.shape == self._size:
            return values
        low = np.float32(scaling.apply(np.asarray([scaling.range[0]], np.float32))[0])
        window = np.full(self._size, low, np.float32)
        window[tuple(slice(a - c, b - c) for a, b, c in zip(first, last, corner, strict=True))] = values
        return window

    def _joined(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}


def _first(length: int, side: int, random: np.random.Generator | None) -> int:
    if length <= side or random is None:
        return (length - side) // 2
    return int(random.integers(length - side + 1))


def require_pairs(volumes: Mapping[str, Volume], data: Data) -> None:
    """Refuse cases that a training from noise, or of classes, cannot use, by name.

    Raises
    ------
    UserError
        A mask that is missing or holds values other than ``data.mask_scaling`` declares, a ``data.class_of`` that
        ``data.classes`` does not name, or an image that is smaller than what the network makes.
    """
    for volume in volumes.values():
        known = getattr(volume, data.class_of)
        if data.classes and known not in data.classes:
            raise UserError(
                f"The case {volume.id} has the {data.class_of} {known or 'none'}.",
                f"`data.classes` names {', '.join(data.classes)}.",
                "Correct the manifest, or exclude the case.",
            )
        if data.masks != "none":
            _require_mask(volume, make_scaling(data.mask_scaling))
        if data.fit == "crop" and _is_small(volume, data):
            raise UserError(
                f"The image of case {volume.id} is smaller than what the network makes.",
                f"It has {'×'.join(map(str, volume.shape))} voxels (slices, rows, columns) and the network makes "
                f"{'×'.join(map(str, image_size(data)))}.",
                "Set `data.fit` to resize, or to centre, which pads it, or choose a smaller `data.size`.",
            )


def _is_small(volume: Volume, data: Data) -> bool:
    axes: list[int | None] = [None] if len(data.size) == 3 else [AXES[plane] for plane in data.planes]
    shapes = ([length for axis, length in enumerate(volume.shape) if axis != out] for out in axes)
    return any(a < b for shape in shapes for a, b in zip(shape, image_size(data), strict=True))


def _require_mask(volume: Volume, scaling: Scaling) -> None:
    if not volume.masked:
        raise UserError(
            f"The case {volume.id} has no mask.",
            "`data.masks` asks for pairs of image and mask.",
            "Add `mask` to the manifest, exclude the case, or set `data.masks` to none.",
        )
    low, high = scaling.range
    values = np.unique(volume.mask)
    if values.min() < low or values.max() > high:
        raise UserError(
            f"The mask of case {volume.id} holds {', '.join(map(str, values.tolist()))}.",
            f"`data.mask_scaling` {scaling.name} declares {', '.join(str(n) for n in range(int(low), int(high) + 1))}.",
            "Correct the mask, or take hagan-mask for values 0, 1 and 2 and hagan-mask-binary for 0 and 1.",
        )
