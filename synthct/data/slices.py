"""Batches of slices of fixed shape, drawn from the cache; every draw follows from (seed, step, sample) alone.

Nothing is remembered between steps, so a resumed training goes on exactly, and ``world`` processes with batches of
``batch`` see together what one process with ``world`` × ``batch`` would see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from synthct.data.augmentation import Change, change_intensity, cut, draw_change
from synthct.data.cache import Volume
from synthct.data.pieces import Piece, Ranges, pieces_of
from synthct.data.shuffling import ShuffledEpochs
from synthct.data.voxel_size import in_larger_voxels
from synthct.errors import UserError
from synthct.recipe import Data

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Array axis (z, y, x) that a plane's slices are counted along."""
MIN_BODY_FRACTION = 0.01


class SliceBatches:
    """The training batches of a run: ``batches[step]`` for any step from 0 on.

    A batch maps names to float32 tensors, N = ``batch``, H × W = ``data.size``:
    ``input`` (N, 2·neighbours + 1, H, W) and ``target`` (N, 1, H, W) scaled, ``mask`` (N, 1, H, W) 0 or 1.
    With ``data.paired`` False, target slices are drawn independently of the input's and ``target_mask`` belongs to
    them. Smaller slices are padded with scaled air (CT) and the volume's lowest value (MR) or the class outside the
    body (label map; see `synthct.volumes.label_numbers.label_beyond`); larger ones are cropped at random within the
    body. Neighbours beyond the first and last slice repeat it.

    It serves as the data set of ``DataLoader(batches, batch_size=None, sampler=range(first_step, last_step))``.

    Parameters
    ----------
    volumes
        As from ``open_cache``.
    ids
        The cases to draw from.
    ranges
        Limits some cases to slabs of axial slices.
    rank, world
        This process and their number; ``batch`` is the size on each.

    Raises
    ------
    UserError
        An unknown plane or a cohort without a slice that shows enough of a body.
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
        ranges: Ranges | None = None,
    ) -> None:
        for plane in data.planes:
            if plane not in AXES:
                raise UserError(f"`data.planes` names {plane}.", f"Known: {', '.join(AXES)}.")
        self._data, self._batch, self._seed, self._rank, self._world = data, batch, seed, rank, world
        self._pieces = [piece for name in ids for piece in pieces_of(volumes[name], data, (ranges or {}).get(name))]
        self._items = np.concatenate([_items(n, p, data) for n, p in enumerate(self._pieces)] or [np.empty((0, 3))])
        if not len(self._items):
            raise UserError(
                f"No slice of {', '.join(ids) or 'no case'} can be trained on.",
                f"The body covers less than {MIN_BODY_FRACTION:.0%} of every one.",
                "Look at the masks, or set `data.body_only` to false.",
            )
        self._order = ShuffledEpochs(seed, len(self._items))

    @property
    def slices(self) -> int:
        """Number of different slices that are drawn from."""
        return len(self._items)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show about every slice once, at least 1."""
        return max(1, round(self.slices / (self._batch * self._world)))

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        first = (step * self._world + self._rank) * self._batch
        return self._joined([self._sample(first + n, step, self._rank * self._batch + n) for n in range(self._batch)])

    def preview(self, count: int) -> dict[str, Tensor]:
        """Return ``count`` paired slices spread evenly over the cases, unchanged, cut at the body's middle."""
        chosen = np.linspace(0, self.slices - 1, count + 2)[1:-1].round().astype(int)
        samples = []
        for number in chosen:
            values = self._cut(self._items[number], None, Change(), both=True)
            samples.append({"input": values[:-2], "target": values[-2:-1], "mask": values[-1:]})
        return self._joined(samples)

    def _sample(self, position: int, step: int, sample: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng([self._seed, step, sample, 0])
        item = self._item(position, 0)
        change = draw_change(self._data.augmentation, random, int(item[1]))
        if self._data.paired:
            values = self._cut(item, random, change, both=True)
            found = {"input": values[:-2], "target": values[-2:-1], "mask": values[-1:]}
        else:
            values = self._cut(item, random, change, both=False)
            found = {"input": values[:-1], "mask": values[-1:]}
            random = np.random.default_rng([self._seed, step, sample, 1])
            other_item = self._item(position, 1)
            other = draw_change(self._data.augmentation, random, int(other_item[1]))
            values = self._cut(other_item, random, other, both=False, target=True)
            found |= {"target": values[:-1], "target_mask": values[-1:]}
        piece = self._pieces[item[0]]
        changed = change_intensity(found["input"], change.gamma, change.bias, *piece.span)
        if change.voxel_mm is not None:
            changed = in_larger_voxels(changed, _spacing(piece, int(item[1])), change.voxel_mm)
        return found | {"input": piece.with_noise(changed, random)}

    def _item(self, position: int, stream: int) -> np.ndarray:
        """Return piece, plane and slice number at ``position`` of the endless row of shuffled epochs."""
        item: np.ndarray = self._items[self._order.at(position, stream)]
        return item

    def _cut(
        self, item: np.ndarray, random: np.random.Generator | None, change: Change, both: bool, target: bool = False
    ) -> np.ndarray:
        """Return the window's channels (input, target, mask as asked for) as (C, H, W); the mask is 0 or 1."""
        piece, axis, number = self._pieces[item[0]], int(item[1]), int(item[2])
        mask = _slices(piece, "mask", axis, [number])
        parts, outside = [], []
        if both or not target:
            steps = range(-self._data.neighbours, self._data.neighbours + 1)
            mirrored = change.flip and axis == AXES["sagittal"]  # left and right are then across the slices
            numbers = [number - step if mirrored else number + step for step in steps]
            parts.append(piece.input.apply(_slices(piece, "input", axis, numbers)))
            outside += [piece.outside[0]] * len(numbers)
        if both or target:
            parts.append(piece.target.apply(_slices(piece, "ct", axis, [number])))
            outside.append(piece.outside[1])
        channels = np.concatenate([*parts, mask.astype(np.float32)])
        size = (self._data.size[0], self._data.size[1])
        corner = _corner(mask[0], size, random)
        labels = len(parts[0]) if piece.input.classes is not None and not target else 0
        beyond = np.array([*outside, 0], np.float32)
        window = cut(channels, beyond, corner, size, change, _spacing(piece, axis), labels)
        window[-1] = window[-1] >= 0.5
        return window[..., ::-1] if change.flip and axis != AXES["sagittal"] else window

    def _joined(self, samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}


def _items(number: int, piece: Piece, data: Data) -> np.ndarray:
    """Return the piece's slices as rows of piece, axis and slice number."""
    inside = np.asarray(piece.volume.mask[piece.start : piece.stop])
    rows = []
    for plane in data.planes:
        axis = AXES[plane]
        covered = inside.mean(axis=tuple(other for other in range(3) if other != axis))
        kept = np.flatnonzero(covered >= MIN_BODY_FRACTION) if data.body_only else np.arange(len(covered))
        rows.append(np.stack([np.full_like(kept, number), np.full_like(kept, axis), kept], axis=1))
    return np.concatenate(rows)


def _spacing(piece: Piece, axis: int) -> tuple[float, float]:
    """Return row and column distance in mm of slices across ``axis``."""
    down, right = (length for index, length in enumerate(reversed(piece.volume.spacing)) if index != axis)
    return down, right


def _slices(piece: Piece, name: str, axis: int, numbers: Sequence[int]) -> np.ndarray:
    """Return slices along ``axis`` of the piece as (N, rows, columns); numbers beyond it repeat its ends."""
    array = getattr(piece.volume, name)[piece.start : piece.stop]
    last = array.shape[axis] - 1
    return np.stack([np.take(array, min(max(number, 0), last), axis=axis) for number in numbers])


def _corner(mask: np.ndarray, size: tuple[int, int], random: np.random.Generator | None) -> tuple[int, int]:
    """Return the first row and column of the window; where it is smaller than the slice it stays on the body."""
    corner = []
    for axis, (length, wanted) in enumerate(zip(mask.shape, size, strict=True)):
        if length <= wanted:
            corner.append(-((wanted - length) // 2))
            continue
        covered = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = (covered[0], covered[-1] + 1) if len(covered) else (0, length)
        ends = np.clip(sorted((first, last - wanted)), 0, length - wanted)
        corner.append(int(ends.sum() // 2 if random is None else random.integers(ends[0], ends[1] + 1)))
    return corner[0], corner[1]
