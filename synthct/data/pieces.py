"""What samples are cut from: volumes, or slabs of them, with their scalings fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthct.data.cache import Volume
from synthct.recipe import Data
from synthct.volumes.hu import AIR_HU
from synthct.volumes.label_numbers import label_beyond
from synthct.volumes.scaling import Scaling, make_scaling

Ranges = Mapping[str, Sequence[tuple[int, int]]]
"""Case id → axial slices [start, stop) that may be used; a case that is not named is used whole."""


@dataclass
class Piece:
    """Neighbouring axial slices [start, stop) of one volume: samples never look beyond it."""

    volume: Volume
    start: int
    stop: int
    input: Scaling
    target: Scaling
    outside: np.ndarray
    """Scaled values beyond the image: input, target, mask."""
    span: tuple[float, float]
    """Scaled values between which the input lies."""

    def with_noise(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return a scaled input with the noise that its scaling asks for (row B4)."""
        if not self.input.noise:
            return image
        low, high = self.input.range
        noise = random.random(image.shape, np.float32)
        noise *= np.float32(self.input.noise * 2 / (high - low))
        return image + noise


def pieces_of(volume: Volume, data: Data, slabs: Sequence[tuple[int, int]] | None) -> list[Piece]:
    """Return the pieces of ``volume`` that ``slabs`` name, or the whole of it as one; scalings are the volume's."""
    mr, ct = make_scaling(data.input_scaling), make_scaling(data.target_scaling)
    mr, ct = mr.fit(volume.input, volume.mask), ct.fit(volume.ct, volume.mask)
    beyond = volume.input.min() if mr.classes is None else label_beyond(mr.classes)
    lowest = np.asarray([beyond], np.float32)
    outside = np.array([mr.apply(lowest)[0], ct.apply(np.asarray([AIR_HU], np.float32))[0], 0], np.float32)
    span = mr.apply(np.asarray(mr.range, np.float32))
    return [
        Piece(volume, start, stop, mr, ct, outside, (float(span[0]), float(span[1])))
        for start, stop in (slabs if slabs is not None else [(0, volume.shape[0])])
        if stop > start
    ]
