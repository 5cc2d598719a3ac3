"""Tiles that cover a slice, and the weights with which their results are blended."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

OVERLAP = 0.25
"""Least part of a tile that it shares with its neighbour."""
SIGMA = 1 / 6
"""Standard deviation of the blending weights as a part of the tile's side."""


@dataclass(frozen=True)
class Tile:
    """One tile: where it lies in the slice (rows, columns) and the weight of each of its pixels."""

    rows: slice
    columns: slice
    weights: np.ndarray
    """Float32, shape of the tile; at every pixel of the slice the weights of all tiles add up to 1."""


@dataclass(frozen=True)
class TilePlan:
    """How a slice of ``shape`` (rows, columns) is covered with tiles of at most ``size``.

    A side that is no longer than the tile is taken whole. The longer ones are covered with tiles at even distances
    that share at least a quarter; the blending weights are Gaussian, so that no border of a tile shows.
    ``padded`` is what the network is given: the tile rounded up to multiples of ``divisor``.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    divisor: int = 1

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of each tile, before padding."""
        return tuple(  # type: ignore[return-value]
            length if length <= side else min(length, _multiple(side, self.divisor))
            for length, side in zip(self.shape, self.size, strict=True)
        )

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns that the network is given."""
        return tuple(_multiple(side, self.divisor) for side in self.tile)  # type: ignore[return-value]

    @cached_property
    def tiles(self) -> list[Tile]:
        """The tiles, row by row."""
        rows, columns = (list(_along(*pair)) for pair in zip(self.shape, self.tile, strict=True))
        return [
            Tile(row, column, np.outer(row_weights, column_weights))
            for row, row_weights in rows
            for column, column_weights in columns
        ]


def _along(length: int, side: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Places of tiles along one side and their weights there, which add up to 1 everywhere."""
    places = starts(length, side)
    position = (np.arange(side) + 0.5) / side - 0.5
    weights = np.exp(-0.5 * (position / SIGMA) ** 2)
    total = np.zeros(length)
    for start in places:
        total[start : start + side] += weights
    for start in places:
        place = slice(start, start + side)
        yield place, (weights / total[place]).astype(np.float32)


def starts(length: int, side: int) -> list[int]:
    """Return where tiles of ``side`` begin along ``length``: at even distances, the last at the end."""
    count = 1 if side >= length else 1 + math.ceil((length - side) / (side * (1 - OVERLAP)))
    places: list[int] = np.rint(np.linspace(0, length - side, count)).astype(int).tolist()
    return places


def _multiple(length: int, divisor: int) -> int:
    return -(-length // divisor) * divisor
