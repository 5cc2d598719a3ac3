"""The endless row of shuffled epochs that batches are drawn from; every place follows from the seed alone."""

from __future__ import annotations

import numpy as np


class ShuffledEpochs:
    """Items 0 … ``count`` − 1, all of them once in every epoch, each epoch in an order of its own.

    Parameters
    ----------
    seed
        Of the run.
    count
        Items of an epoch.
    """

    def __init__(self, seed: int, count: int) -> None:
        self._seed, self._count = seed, count
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def at(self, position: int, stream: int) -> int:
        """Return the item at ``position`` of the row; ``stream`` tells rows that are independent of each other."""
        epoch, place = divmod(position, self._count)
        key = (epoch, stream)
        if key not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if abs(k[0] - epoch) < 2}
            self._orders[key] = np.random.default_rng([self._seed, epoch, stream]).permutation(self._count)
        return int(self._orders[key][place])
