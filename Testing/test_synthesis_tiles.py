"""Tiles cover a slice, share enough, and their weights add up to one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from synthct.synthesis.tiles import OVERLAP, TilePlan


@pytest.mark.parametrize("shape", [(20, 20), (32, 32), (33, 70), (100, 31), (257, 129)])
@pytest.mark.parametrize("size", [(32, 32), (48, 24), (30, 50)])
@pytest.mark.parametrize("divisor", [1, 16])
def test_tiles_cover_the_slice_and_weights_add_up(shape, size, divisor):
    plan = TilePlan(shape, size, divisor)
    total = np.zeros(shape)
    for tile in plan.tiles:
        assert tile.weights.shape == plan.tile == total[tile.rows, tile.columns].shape
        assert tile.weights.min() > 0
        total[tile.rows, tile.columns] += tile.weights
    assert np.allclose(total, 1, atol=1e-5)
    assert all(side % divisor == 0 for side in plan.padded)
    for axis in (0, 1):
        starts = sorted({(tile.rows, tile.columns)[axis].start for tile in plan.tiles})
        assert all(b - a <= plan.tile[axis] * (1 - OVERLAP) + 1 for a, b in itertools.pairwise(starts))
        assert plan.padded[axis] < max(size[axis], shape[axis] if shape[axis] <= size[axis] else 0) + divisor


def test_a_slice_that_fits_is_one_tile_with_weight_one():
    (tile,) = TilePlan((20, 31), (32, 32), 16).tiles
    assert np.array_equal(tile.weights, np.ones((20, 31), np.float32))
    assert TilePlan((20, 31), (32, 32), 16).padded == (32, 32)


def test_weights_fall_smoothly_to_the_border():
    plan = TilePlan((32, 96), (32, 32))
    inner = plan.tiles[len(plan.tiles) // 2].weights[0]
    assert inner.argmax() not in (0, 31) and inner[0] < 0.1 and inner[-1] < 0.1
    assert np.abs(np.diff(inner)).max() < 0.2
