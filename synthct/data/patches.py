"""Batches of 3D patches of fixed shape, drawn from the cache; every draw follows from (seed, step, sample) alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from synthct.data.cache import Volume
from synthct.data.patch_augmentation import change_patch, draw_patch_change
from synthct.data.pieces import Piece, Ranges, pieces_of
from synthct.data.shuffling import ShuffledEpochs
from synthct.errors import UserError
from synthct.recipe import Data

Corner = tuple[int, int, int]


class PatchBatches:
    """The training batches of a 3D run: ``batches[step]`` for any step from 0 on.

    A batch maps names to float32 tensors, N = ``batch``, D × H × W = ``data.size`` (slices, rows, columns): ``input``,
    ``target`` (scaled) and ``mask`` (0 or 1), each (N, 1, D, H, W). With ``data.paired`` False, target patches are
    drawn independently of the input's and ``target_mask`` belongs to them.

    A patch's centre is a voxel of the body, each as likely as any other; the patch is then moved so far that it does
    not leave the body's bounding box, where it fits into it. Only its own voxels are read. Volumes that are smaller
    than a patch are padded evenly with scaled air (CT) and the volume's lowest value (MR) or the class outside the body
    (label map). An epoch shows every volume
    as many times as patches side by side are needed to cover its body's bounding box.

    It serves as the data set of ``DataLoader(batches, batch_size=None, sampler=range(first_step, last_step))``.

    Parameters
    ----------
    volumes
        As from ``open_cache``.
    ids
        The cases to draw from.
    ranges
        Limits some cases to slabs of axial slices, which no patch looks beyond.
    rank, world
        This process and their number; ``batch`` is the size on each.

    Raises
    ------
    UserError
        A cohort without a body.
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
        self._data, self._batch, self._seed, self._rank, self._world = data, batch, seed, rank, world
        self._size: Corner = (data.size[0], data.size[1], data.size[2])
        pieces = [piece for name in ids for piece in pieces_of(volumes[name], data, (ranges or {}).get(name))]
        self._bodies = [body for body in (_Body(piece, data.body_only) for piece in pieces) if body.voxels]
        if not self._bodies:
            raise UserError(
                f"No patch of {', '.join(ids) or 'no case'} can be trained on.",
                "The body mask of every one is empty.",
                "Look at the masks, or set `data.body_only` to false.",
            )
        self._items = np.concatenate(
            [
                np.stack([np.full(count, number), np.arange(count)], axis=1)
                for number, count in enumerate(math.prod(body.cells(self._size)) for body in self._bodies)
            ]
        )
        self._order = ShuffledEpochs(seed, len(self._items))

    @property
    def patches(self) -> int:
        """Number of patches side by side that cover the bodies' bounding boxes."""
        return len(self._items)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show about as many patches as cover the bodies, at least 1."""
        return max(1, round(self.patches / (self._batch * self._world)))

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        first = (step * self._world + self._rank) * self._batch
        return _joined([self._sample(first + n, step, self._rank * self._batch + n) for n in range(self._batch)])

    def preview(self, count: int) -> dict[str, Tensor]:
        """Return ``count`` paired patches spread evenly over the cases and their bodies, unchanged."""
        samples = []
        for number in np.linspace(0, self.patches - 1, count + 2)[1:-1].round().astype(int):
            body, cell = self._bodies[self._items[number, 0]], int(self._items[number, 1])
            names = ("input", "target", "mask")
            samples.append(_cut(body.piece, body.evenly(cell, self._size), self._size, names))
        return _joined(samples)

    def _sample(self, position: int, step: int, sample: int) -> dict[str, np.ndarray]:
        if self._data.paired:
            return self._drawn(position, step, sample, 0, ("input", "target", "mask"))
        other = self._drawn(position, step, sample, 1, ("target", "mask"))
        return {
            **self._drawn(position, step, sample, 0, ("input", "mask")),
            "target": other["target"],
            "target_mask": other["mask"],
        }

    def _drawn(self, position: int, step: int, sample: int, stream: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        random = np.random.default_rng([self._seed, step, sample, stream])
        change = draw_patch_change(self._data.augmentation, random.spawn(1)[0])
        flip = bool(random.random() < 0.5) and self._data.augmentation.flip
        body = self._bodies[self._body(position, stream)]
        piece, corner = body.piece, body.drawn(random, self._size)
        spacing = piece.volume.spacing[::-1]
        first, size = change.source(self._size, spacing)
        z, y, x = (start + aside for start, aside in zip(corner, first, strict=True))
        cut = _cut(piece, (z, y, x), size, names)
        patch = change_patch(cut, change, self._size, spacing, piece.span, piece.input.classes is not None)
        if "input" in patch:
            patch["input"] = piece.with_noise(patch["input"], random)
        return {name: values[..., ::-1] for name, values in patch.items()} if flip else patch

    def _body(self, position: int, stream: int) -> int:
        """Return the number of the body at ``position`` of the endless row of shuffled epochs."""
        return int(self._items[self._order.at(position, stream), 0])


class _Body:
    """Where the body lies in a piece; of its mask only the voxels per slice and the bounding box are kept."""

    def __init__(self, piece: Piece, body_only: bool) -> None:
        self.piece = piece
        self._body_only = body_only
        shape = (piece.stop - piece.start, *piece.volume.shape[1:])
        counts, rows, columns = np.zeros(shape[0], np.int64), np.zeros(shape[1], bool), np.zeros(shape[2], bool)
        for number in range(shape[0]):
            inside = self._inside(number)
            counts[number] = np.count_nonzero(inside)
            rows |= inside.any(axis=1)
            columns |= inside.any(axis=0)
        self._ends = np.cumsum(counts)
        self.voxels = int(self._ends[-1])
        self._shape = shape
        self._box = [np.flatnonzero(covered)[[0, -1]] + (0, 1) if self.voxels else (0, 0)
                     for covered in (counts > 0, rows, columns)]  # fmt: skip

    def cells(self, size: Corner) -> Corner:
        """Return how many patches side by side cover the bounding box along each axis."""
        z, y, x = (-(-int(stop - start) // side) for (start, stop), side in zip(self._box, size, strict=True))
        return z, y, x

    def evenly(self, cell: int, size: Corner) -> Corner:
        """Return the corner of one of the `cells`, which share what they have too much; slices vary slowest."""
        places = np.unravel_index(cell, self.cells(size))
        corner = [
            (low + high) // 2 if count == 1 else low + (high - low) * int(place) // (count - 1)
            for place, count, (low, high) in zip(places, self.cells(size), self._limits(size), strict=True)
        ]
        return corner[0], corner[1], corner[2]

    def drawn(self, random: np.random.Generator, size: Corner) -> Corner:
        """Return the corner of a patch around a voxel of the body that is drawn at random."""
        number = int(random.integers(self.voxels))
        z = int(np.searchsorted(self._ends, number, side="right"))
        flat = np.flatnonzero(self._inside(z))[number - int(self._ends[z])]  # counted from the slice's last
        centre = (z, *divmod(int(flat), self._shape[2]))
        corner = [
            min(max(middle - side // 2, low), high)
            for middle, side, (low, high) in zip(centre, size, self._limits(size), strict=True)
        ]
        return corner[0], corner[1], corner[2]

    def _inside(self, number: int) -> np.ndarray:
        mask = self.piece.volume.mask[self.piece.start + number]
        return np.asarray(mask) > 0 if self._body_only else np.ones(mask.shape, bool)

    def _limits(self, size: Corner) -> list[tuple[int, int]]:
        """Return the lowest and highest corner along each axis."""
        limits = []
        for length, side, (first, last) in zip(self._shape, size, self._box, strict=True):
            if length <= side:
                limits.append((-((side - length) // 2), -((side - length) // 2)))
                continue
            low, high = np.clip(sorted((int(first), int(last) - side)), 0, length - side).tolist()
            limits.append((low, high))
        return limits


def _cut(piece: Piece, corner: Corner, size: Corner, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the named arrays of a patch as float32 (1, \\*size); ``corner`` counts from the piece's start."""
    shape = (piece.stop - piece.start, *piece.volume.shape[1:])
    first = [min(max(0, start), length) for start, length in zip(corner, shape, strict=True)]
    ends = (min(start + side, length) for start, side, length in zip(corner, size, shape, strict=True))
    last = [max(start, stop) for start, stop in zip(first, ends, strict=True)]
    to = tuple(slice(a - start, b - start) for a, b, start in zip(first, last, corner, strict=True))
    rows, columns = slice(first[1], last[1]), slice(first[2], last[2])
    parts = {
        "input": (piece.volume.input, piece.input.apply),
        "target": (piece.volume.ct, piece.target.apply),
        "mask": (piece.volume.mask, lambda values: values > 0),
    }
    patch = {}
    for name, outside in zip(parts, piece.outside, strict=True):
        if name in names:
            array, scaled = parts[name]
            patch[name] = np.full((1, *size), outside, np.float32)
            patch[name][0][to] = scaled(array[piece.start + first[0] : piece.start + last[0], rows, columns])
    return patch


def _joined(samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}
