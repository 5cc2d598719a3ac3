"""Find a place for a nodule in a label map: any at random, the nearest to a point, or the proof that there is none.

A place is drawn by testing many random voxels at once, exactly, on the voxels of the nodule. Where that finds none, an
upper bound on blocks of voxels leaves only the blocks in which a place is possible, and if need be all their voxels
are counted by correlation (FFT). All three draw uniformly from the same set: the valid voxels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import scipy.fft

from synthct.labels.ground import FORBIDDEN, GOOD, Ground

_BLOCK = 8
"""Voxels along each edge of the blocks of the upper bound."""
_GATHERS = 20_000_000
"""Voxels looked at before random drawing gives way to the next stage."""
_AT_ONCE = 2_000_000
_FIRST = 64
_TILE = 96
_START_MM = 8.0
_SINGLE_PRECISION = 1e5
"""Largest product of norms for which a correlation in single precision is exact after rounding."""


class NoPlace(Exception):
    """No voxel satisfies the rule.

    Attributes
    ----------
    best_share
        The largest share on the chosen classes that any place reaches which breaks no other rule, or an upper bound of
        it; None: every place breaks another rule.
    inside
        Whether the nodule fits into the volume at all.
    """

    def __init__(self, best_share: float | None, inside: bool) -> None:
        super().__init__(best_share, inside)
        self.best_share = best_share
        self.inside = inside


class Search:
    """Places for one nodule (its voxels on the grid) in one label map."""

    def __init__(self, ground: Ground, offsets: np.ndarray) -> None:
        self._worth = ground.worth
        self._ground = ground
        self._offsets = offsets
        self._low, self._high = offsets.min(axis=0), offsets.max(axis=0)
        self._tolerated = ground.tolerated(len(offsets))
        shape = np.array(ground.labels.shape)
        self._first, self._last = -self._low, shape - 1 - self._high  # anchors that keep it inside the volume
        self._strides = np.array([shape[1] * shape[2], shape[2], 1])
        shuffled = np.random.default_rng(0).permutation(len(offsets))  # any few are then typical of all
        self._flat = (offsets @ self._strides)[shuffled]
        self._blocks: np.ndarray | None = None
        self._bound = 0.0

    def fits(self, anchors: np.ndarray) -> np.ndarray:
        """Return which anchors (z, y, x), shape (n, 3), are valid, exactly; they must keep the nodule in the volume."""
        return self._test(anchors)[0]

    def random(self, random: np.random.Generator) -> np.ndarray:
        """Draw one valid anchor (z, y, x), uniformly among all.

        Raises
        ------
        NoPlace
            There is none, which is then proven.
        """
        if (self._last < self._first).any():
            raise NoPlace(None, inside=False)
        found = self._draw(lambda count: random.integers(self._first, self._last + 1, (count, 3)))
        if found is not None:
            return found
        blocks = self._possible_blocks()
        if not len(blocks):
            raise NoPlace(self._bound or None, inside=True)

        def in_blocks(count: int) -> np.ndarray:
            chosen = blocks[random.integers(len(blocks), size=count)] * _BLOCK
            anchors = chosen + random.integers(_BLOCK, size=(count, 3))
            return anchors[((anchors >= self._first) & (anchors <= self._last)).all(axis=1)]

        found = self._draw(in_blocks)
        if found is not None:
            return found
        valid = []
        fewest: int | None = None
        for low, shape in self._tiles(self._first, self._last):
            misses, forbidden = self._counts(low, shape)
            valid.append(np.argwhere((forbidden == 0) & (misses <= self._tolerated)) + low)
            if (forbidden == 0).any():
                lowest = int(misses[forbidden == 0].min())
                fewest = lowest if fewest is None else min(fewest, lowest)
        places = np.concatenate(valid)
        if not len(places):
            raise NoPlace(None if fewest is None else 1 - fewest / len(self._offsets), inside=True)
        return np.asarray(places[random.integers(len(places))])

    def nearest(self, anchor: np.ndarray) -> np.ndarray | None:
        """Return the valid anchor nearest in mm to a voxel, which may lie outside the volume; None: there is none."""
        if (self._last < self._first).any():
            return None
        spacing = np.array(self._ground.grid.spacing[::-1])
        inside = np.clip(anchor, self._first, self._last)
        reach = float(np.linalg.norm((inside - anchor) * spacing)) + _START_MM
        while True:
            steps = np.floor(reach / spacing).astype(int)
            low, high = np.maximum(anchor - steps, self._first), np.minimum(anchor + steps, self._last)
            best, at = np.inf, None
            for start, shape in self._tiles(low, high):
                misses, forbidden = self._counts(start, shape)
                places = np.argwhere((forbidden == 0) & (misses <= self._tolerated)) + start
                if len(places):
                    distances = np.linalg.norm((places - anchor) * spacing, axis=1)
                    if distances.min() < best:
                        best, at = float(distances.min()), places[distances.argmin()]
            whole = (low == self._first).all() and (high == self._last).all()
            if best <= reach or whole:
                return at
            reach *= 2

    def _test(self, anchors: np.ndarray) -> tuple[np.ndarray, int]:
        """Which anchors are valid, and how many voxels were looked at: a few of each first, all of the survivors."""
        valid = np.zeros(len(anchors), bool)
        left, worth = np.arange(len(anchors)), self._worth.reshape(-1)
        base = anchors @ self._strides
        misses = np.zeros(len(anchors), int)
        looked, start, size = 0, 0, _FIRST
        while start < len(self._flat) and len(left):
            part = self._flat[start : start + size]
            rows = max(1, _AT_ONCE // len(part))
            keep = []
            for first in range(0, len(left), rows):
                some = left[first : first + rows]
                values = np.take(worth, base[some, None] + part)
                misses[some] += np.count_nonzero(values != GOOD, axis=1)
                allowed = (values != FORBIDDEN).all(axis=1) & (misses[some] <= self._tolerated)
                keep.append(some[allowed])
                looked += values.size
            left = np.concatenate(keep)
            start, size = start + size, size * 8
        valid[left] = True
        return valid, looked

    def _draw(self, propose: Callable[[int], np.ndarray]) -> np.ndarray | None:
        looked, count = 0, _FIRST
        while looked < _GATHERS:
            anchors = propose(count)
            valid, more = self._test(anchors)
            if valid.any():
                return np.asarray(anchors[int(valid.argmax())])
            looked += more + count
            count = min(count * 4, 16384)
        return None

    def _possible_blocks(self) -> np.ndarray:
        """Blocks, by their number (z, y, x), whose voxels an upper bound does not rule out as anchors, shape (n, 3).

        Whichever voxel of block A is the anchor, voxel v of the nodule lies in block A + floor(v / B) or its next
        neighbours. It is counted as good if any of these eight blocks has a good voxel, and as forbidden if all of
        them are forbidden throughout.
        """
        if self._blocks is not None:
            return self._blocks
        shape = np.array(self._worth.shape)
        count = -(-shape // _BLOCK)
        places, times = np.unique(self._offsets // _BLOCK, axis=0, return_counts=True)
        low, high = places.min(axis=0), places.max(axis=0)
        before, after = np.maximum(-low, 0), np.maximum(high, 0) + 1
        good = np.zeros(count, bool)
        blocked = np.zeros(count, bool)
        for z in range(count[0]):
            slab = self._worth[z * _BLOCK : (z + 1) * _BLOCK]
            good[z] = _any_in_blocks((slab == GOOD).any(axis=0))
            blocked[z] = ~_any_in_blocks((slab != FORBIDDEN).any(axis=0))
        padding = [(int(a), int(b)) for a, b in zip(before, after, strict=True)]
        good, blocked = np.pad(good, padding), np.pad(blocked, padding)
        for axis in range(3):
            good = good | np.roll(good, -1, axis)
            blocked = blocked & np.roll(blocked, -1, axis)
        field = good + 1j * blocked
        counts = _correlate(field, places - low, times, before + low, count)
        inside = np.indices(tuple(count.tolist())).reshape(3, -1).T
        reachable = ((inside + 1) * _BLOCK > self._first).all(axis=1) & (inside * _BLOCK <= self._last).all(axis=1)
        free = reachable & (counts.imag.reshape(-1) == 0)
        hits = counts.real.reshape(-1)
        needed = len(self._offsets) - self._tolerated
        self._bound = float(hits[free].max() / len(self._offsets)) if free.any() else 0.0
        self._blocks = inside[free & (hits >= needed)]
        return self._blocks

    def _tiles(self, low: np.ndarray, high: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Boxes (first anchor, shape) that cover the possible anchors from ``low`` to ``high``."""
        if (high < low).any():
            return
        blocks = self._possible_blocks() * _BLOCK
        for corner in itertools.product(*(range(a, b + 1, _TILE) for a, b in zip(low, high, strict=True))):
            start = np.array(corner)
            stop = np.minimum(start + _TILE, high + 1)
            here = blocks[((blocks + _BLOCK > start) & (blocks < stop)).all(axis=1)]
            if len(here):
                start = np.maximum(start, here.min(axis=0))
                stop = np.minimum(stop, here.max(axis=0) + _BLOCK)
                yield start, stop - start

    def _counts(self, low: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every anchor of a box, how many voxels of the nodule lie on no good, and on forbidden voxels."""
        first, last = low + self._low, low + shape + self._high
        part = self._worth[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        field = (part != GOOD) + 1j * (part == FORBIDDEN)
        counts = _correlate(field, self._offsets - self._low, np.ones(len(self._offsets)), np.zeros(3, int), shape)
        return counts.real.astype(int), counts.imag.astype(int)


def _any_in_blocks(plane: np.ndarray) -> np.ndarray:
    """Whether any pixel of each block of a plane (y, x) is set."""
    starts = [np.arange(0, length, _BLOCK) for length in plane.shape]
    rows = np.logical_or.reduceat(plane, starts[0], axis=0)
    return np.asarray(np.logical_or.reduceat(rows, starts[1], axis=1))


def _correlate(
    field: np.ndarray, places: np.ndarray, weights: np.ndarray, first: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """Sum ``weights`` × ``field[a + places]`` for every a from ``first`` on, of ``shape``, rounded to whole numbers.

    ``field`` is complex with whole parts, and a + places must lie inside it; where they do, nothing wraps around.
    """
    size = [scipy.fft.next_fast_len(length) for length in field.shape]
    norms = float(np.sqrt(np.count_nonzero(field) * np.sum(np.square(weights, dtype=float))))
    kind = np.complex64 if norms < _SINGLE_PRECISION else np.complex128
    kernel = np.zeros(size, kind)
    kernel[tuple(places.T)] = weights
    spectrum = scipy.fft.fftn(field.astype(kind), size)
    spectrum *= scipy.fft.fftn(kernel, overwrite_x=True).conj()
    sums = scipy.fft.ifftn(spectrum, overwrite_x=True)
    sums = sums[tuple(slice(a, a + n) for a, n in zip(first, shape, strict=True))]
    return np.rint(sums.real) + 1j * np.rint(sums.imag)
