"""An array translated slice by slice in one plane, or averaged over several, straight into its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from synthct.errors import UserError
from synthct.synthesis.model_file import Model
from synthct.synthesis.planes import along_plane, input_blocks
from synthct.synthesis.predictor import Predictor
from synthct.synthesis.progress import SliceProgress
from synthct.volumes.scaling import Scaling

INT16_MAX = np.iinfo(np.int16).max


def translate_array(
    voxels: np.ndarray,
    result: np.ndarray,
    planes: Sequence[str],
    model: Model,
    scaling: Scaling,
    predictor: Predictor,
    progress: SliceProgress,
    lowest: float,
    inside: np.ndarray | None = None,
    on_block: Callable[[int, int], None] | None = None,
) -> None:
    """Translate an (S, P, L) array into ``result``, int16 of the same shape.

    Nothing else of the volume's size is held: for several planes the sum is kept in ``result`` itself, in as fine
    a fraction of a HU as fits into int16 (an eighth up to 4095 HU).

    Parameters
    ----------
    voxels, result
        Source values and where the rounded HU go; both may be views. ``result`` holds air.
    planes
        One or more.
    model, scaling
        ``scaling`` is fitted to the volume.
    predictor, progress
        Where it is computed and what counts the slices.
    lowest
        Source value put around slices that are too small for the network.
    inside
        Slices and tiles in which this is 0 everywhere need not be computed; ``result`` is then only right where it is
        not 0. None: all are.
    on_block
        Told the first slice of each block, and the one after its last, before the block is computed.
    """

    def hu_blocks(plane: str) -> Iterator[tuple[int, np.ndarray]]:
        slices = along_plane(voxels, plane)
        wanted = None if inside is None else along_plane(inside, plane)
        neighbours = int(model.card.get("neighbours", 0))
        padding = float(scaling.apply(np.asarray([lowest], np.float32))[0])
        blocks = _announced(input_blocks(slices, scaling, neighbours, predictor.batch, wanted), on_block)
        done = 0
        for start, output in predictor.predict(blocks, padding, part=None if wanted is None else _rectangle(wanted)):
            yield start, to_hu(output, model)
            progress.advance(start + len(output) - done, plane)
            done = start + len(output)
        progress.advance(len(slices) - done, plane)

    if len(planes) == 1:
        target = along_plane(result, planes[0])
        for start, hu in hu_blocks(planes[0]):
            target[start : start + len(hu)] = np.rint(hu, out=hu)
        return
    fraction = max(1, INT16_MAX // max(1, *(math.ceil(abs(limit)) for limit in model.card["hu_range"])))
    result[...] = 0
    for plane in planes:
        target = along_plane(result, plane)
        for start, hu in hu_blocks(plane):
            hu *= fraction / len(planes)
            target[start : start + len(hu)] += np.rint(hu, out=hu).astype(np.int16)
    for axial in result:
        axial[...] = np.rint(axial / np.float32(fraction))


def _rectangle(wanted: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns in which any slice of (slices, rows, columns) is wanted."""
    rows, columns = (np.flatnonzero(wanted.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _announced(
    blocks: Iterator[tuple[int, np.ndarray]], on_block: Callable[[int, int], None] | None
) -> Iterator[tuple[int, np.ndarray]]:
    for start, block in blocks:
        if on_block is not None:
            on_block(start, start + len(block))
        yield start, block


def to_hu(output: np.ndarray, model: Model) -> np.ndarray:
    """Scaled network output as HU within the model's range, float32, not yet rounded."""
    if not np.isfinite(output.sum()):
        raise UserError(
            "The network's output holds values that are not numbers.",
            "Its weights are damaged, or its training diverged.",
            "Use another model.",
        )
    low, high = model.card["hu_range"]
    hu = model.target_scaling.invert(output)
    return np.clip(hu, math.ceil(low), math.floor(high), out=hu)
