"""An array translated by a 3D network, slab by slab from the feet upwards, straight into its result."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from synthct.synthesis.model_file import Model
from synthct.synthesis.predictor import Predictor
from synthct.synthesis.progress import SliceProgress
from synthct.synthesis.slicewise import to_hu
from synthct.synthesis.windows import starts, weights
from synthct.volumes.scaling import Scaling


def translate_volume(
    voxels: np.ndarray,
    result: np.ndarray,
    model: Model,
    scaling: Scaling,
    predictor: Predictor,
    progress: SliceProgress,
    lowest: float,
    inside: np.ndarray | None = None,
) -> None:
    """Translate an (S, P, L) array into ``result``, int16 of the same shape.

    Windows of the model's size share half of themselves with their neighbours and are blended by Gaussian weights.
    The weights are a product over the axes, so that a slab as thick as a window is blended in its plane first and
    along the body afterwards: the result is that of one sliding window over the whole volume. What is held beside
    ``voxels`` and ``result`` are slabs: two inputs with where they are wanted, a padded copy, the windows' sum and
    their weights, an output and the running sum. With 64 of 400 slices of 512 × 512 that is, int16 input, result and
    a mask included, 2.9 times the volume as float32 (measured with a network that needs nothing itself).

    Parameters
    ----------
    voxels, result
        Source values and where the rounded HU go; both may be views. ``result`` holds air.
    model, scaling
        ``scaling`` is fitted to the volume.
    predictor, progress
        Where it is computed, and what counts the slices; progress comes, and may end the work, after each window.
    lowest
        Source value put evenly around a volume that is smaller than a window.
    inside
        Windows in which this is 0 everywhere need not be computed; ``result`` is then only right where it is not 0.
        None: all are.
    """
    count, depth = len(voxels), predictor.depth
    before = max(0, depth - count) // 2
    places = starts(max(count, depth), depth)
    padding = float(scaling.apply(np.asarray([lowest], np.float32))[0])
    fade = weights(depth)
    whole = np.zeros(max(count, depth), np.float32)
    for start in places:
        whole[start : start + depth] += fade
    wanted = [start for start in places if inside is None or inside[max(0, start - before) : start + depth].any()]
    done = _Counter(progress, count, len(wanted))

    def slabs() -> Iterator[tuple[int, np.ndarray]]:
        for number, start in enumerate(wanted):
            done.slabs = number
            yield start, _slab(voxels, inside, start - before, depth, scaling, padding)

    total = np.zeros((depth, *voxels.shape[1:]), np.float32)
    first = 0

    def finish(until: int) -> None:
        """Write the slices below ``until``, to which no further slab adds anything."""
        nonlocal first
        ready = min(until - first, depth)
        for number in range(ready):
            place = first + number - before
            if 0 <= place < count and (inside is None or inside[place].any()):
                hu = to_hu(total[number] / whole[first + number], model)
                result[place] = np.rint(hu, out=hu)
        total[: depth - ready] = total[ready:]
        total[depth - ready :] = 0
        first = until

    for start, output in predictor.predict(slabs(), padding, done.window):
        finish(start)
        output *= fade[:, None, None]
        total += output[0]
    finish(first + depth)
    done.finish()


class _Counter:
    """Tells the progress in slices, as a share of all slabs and of the windows of the one that is worked on."""

    def __init__(self, progress: SliceProgress, slices: int, slabs: int) -> None:
        self._progress, self._slices, self._count = progress, slices, slabs
        self._told = self.slabs = 0

    def window(self, share: float) -> None:
        """Take note that ``share`` of the slab is done; less than before where memory ran out in it."""
        reached = max(self._told, int(self._slices * (self.slabs + share) / self._count))
        self._progress.advance(reached - self._told)
        self._told = reached

    def finish(self) -> None:
        """Count what was left out."""
        self._progress.advance(self._slices - self._told)


def _slab(
    voxels: np.ndarray, inside: np.ndarray | None, start: int, depth: int, scaling: Scaling, padding: float
) -> np.ndarray:
    """Scaled input and where a result is wanted, (1, 2, depth, rows, columns); ``start`` may lie below the volume."""
    first, last = max(0, start), min(len(voxels), start + depth)
    slab = np.zeros((1, 2, depth, *voxels.shape[1:]), np.float32)
    slab[0, 0] = padding
    place = slice(first - start, last - start)
    slab[0, 0, place] = scaling.apply(voxels[first:last])
    slab[0, 1, place] = 1 if inside is None else inside[first:last] > 0
    return slab
