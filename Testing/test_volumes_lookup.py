"""The intensity look-up: medians per MR value, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from synthct.errors import UserError
from synthct.volumes.lookup import IntensityLookup, residual


def test_each_mr_value_gets_its_median():
    mr = np.array([0, 0, 0, 10, 10, 10, 10], np.int16)
    ct = np.array([-1000, -900, 500, 40, 60, 50, 3000], np.int16)
    lookup = IntensityLookup().fit([mr], [ct])
    np.testing.assert_array_equal(lookup.apply(np.array([[0, 10]])), [[-900, 55]])


def test_a_function_of_the_mr_is_found_whatever_its_shape():
    rng = np.random.default_rng(0)
    mr = rng.integers(0, 50, (5, 20, 20)).astype(np.float32)
    ct = np.round(1000 * np.sin(mr / 7)).astype(np.int16)
    mask = np.ones(mr.shape, np.uint8)
    assert residual(mr, ct, mask, bins=500) == pytest.approx(0, abs=1e-3)
    shifted = np.roll(ct, 1, axis=2)
    assert residual(mr, shifted, mask, bins=500) > 300


def test_a_rare_class_of_a_label_map_has_a_bin_of_its_own():
    labels = np.array([3] * 1000 + [4] * 3 + [5] * 2)
    hu = np.array([50] * 1000 + [900] * 3 + [30] * 2)
    lookup = IntensityLookup(bins=8).fit([labels], [hu])
    np.testing.assert_array_equal(lookup.apply(np.array([3, 4, 5])), [50, 900, 30])


def test_only_voxels_of_the_mask_count():
    mr = np.array([1.0, 1.0, 1.0, 2.0])
    ct = np.array([100.0, 100.0, 9999.0, -50.0])
    mask = np.array([1, 1, 0, 1])
    lookup = IntensityLookup().fit([mr], [ct], [mask])
    np.testing.assert_array_equal(lookup.apply(np.array([1.0, 2.0])), [100, -50])
    assert residual(mr, ct, mask) == 0


def test_the_median_beats_the_mean_in_mean_absolute_error():
    rng = np.random.default_rng(1)
    mr = rng.integers(0, 8, 4000).astype(float)
    ct = mr * 10 + rng.exponential(200, 4000)
    means = np.array([ct[mr == value].mean() for value in range(8)])
    assert residual(mr, ct, np.ones(4000)) < np.abs(means[mr.astype(int)] - ct).mean()


def test_several_cases_are_learnt_from_together_and_values_never_seen_are_answered():
    lookup = IntensityLookup(4).fit([np.array([0.0, 1.0]), np.array([2.0, 3.0])], [np.array([0, 1]), np.array([2, 3])])
    np.testing.assert_array_equal(lookup.apply(np.array([-5.0, 0.0, 1.0, 2.0, 3.0, 99.0])), [0, 0, 1, 2, 3, 3])


def test_an_empty_mask_is_refused():
    with pytest.raises(UserError, match="no voxels"):
        residual(np.zeros(3), np.zeros(3), np.zeros(3))
    with pytest.raises(UserError, match="no voxels"):
        IntensityLookup().fit([], [])
