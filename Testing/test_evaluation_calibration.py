"""Calibration of errors whose distribution is known."""

import math

import numpy as np
import pytest
from matplotlib.image import imread

from synthct.evaluation.uncertainty.calibration import BINS, WIDTHS, calibration, normal_coverage
from synthct.evaluation.uncertainty.calibration_plot import write_calibration_plot

DEVIATION = np.random.default_rng(0).uniform(5, 80, 400_000)
ERROR = np.random.default_rng(1).normal(0, DEVIATION)


def test_normal_errors_are_covered_as_a_normal_distribution_says():
    found = calibration(ERROR, DEVIATION)
    assert found.coverage[1.0] == pytest.approx(0.6827, abs=0.01)
    for k in WIDTHS:
        assert found.coverage[k] == pytest.approx(normal_coverage(k), abs=0.005)
    assert normal_coverage(2) == pytest.approx(0.9545, abs=1e-4)
    assert found.factor == pytest.approx(1, abs=0.01) and found.ence < 0.02
    assert found.voxels == DEVIATION.size and len(found.deviation) == len(found.error) == BINS
    assert np.allclose(found.deviation, found.error, rtol=0.03)


@pytest.mark.parametrize("times", [0.4, 2.5])
def test_the_factor_mends_a_deviation_of_the_wrong_size(times):
    found = calibration(ERROR, DEVIATION / times)
    assert found.factor == pytest.approx(times, rel=0.01)
    assert found.ence == pytest.approx(abs(1 - times), rel=0.02)
    assert found.coverage[1.0] == pytest.approx(normal_coverage(1 / times), abs=0.005)
    mended = calibration(ERROR, DEVIATION / times, found.factor)
    assert mended.coverage[1.0] == pytest.approx(0.6827, abs=0.002) and mended.ence < 0.02


def test_a_deviation_that_knows_nothing_is_found_out():
    """The right size on average, but the same for every voxel or shuffled among them."""
    shuffled = np.random.default_rng(2).permutation(DEVIATION)
    found = calibration(ERROR, shuffled)
    assert np.ptp(found.error) < 3 and np.ptp(found.deviation) > 60
    assert found.ence > 0.3


def test_heavy_tails_make_the_factor_larger_and_not_smaller():
    """Nine of ten errors are half as large as said, one is five times as large: the SD must not shrink."""
    sizes = np.where(np.arange(DEVIATION.size) % 10, 0.5, 5)
    found = calibration(ERROR * sizes, DEVIATION)
    assert found.factor == pytest.approx(np.sqrt(0.9 * 0.25 + 0.1 * 25), rel=0.02)
    assert calibration(ERROR * sizes, DEVIATION, found.factor).coverage[1.0] > 0.85


def test_bins_by_hand():
    error, deviation = np.array([3.0, -4.0] * BINS), np.repeat(np.arange(1, BINS + 1.0), 2)
    found = calibration(error, deviation)
    assert np.allclose(found.deviation, np.arange(1, BINS + 1)) and np.allclose(found.error, math.sqrt(12.5))
    assert found.ence == pytest.approx(np.mean([abs(n - math.sqrt(12.5)) / n for n in range(1, BINS + 1)]))
    assert found.coverage[1.0] == pytest.approx(np.mean(np.abs(error) <= deviation))


def test_voxels_without_deviation():
    error, deviation = np.array([0.0, 5, 5, 5]), np.array([0.0, 0, 10, 10])
    found = calibration(error, deviation)
    assert found.coverage[1.0] == 0.75 and found.factor == pytest.approx(
        np.sqrt(75 / 200)
    )  # no error and none claimed is covered
    silent = calibration(np.ones(10), np.zeros(10))
    assert math.isinf(silent.factor) and silent.to_dict()["factor"] is None and silent.to_dict()["ence"] is None
    with pytest.raises(ValueError, match="empty"):
        calibration(np.zeros(0), np.zeros(0))


def test_the_plot_is_a_picture(tmp_path):
    found = calibration(ERROR[:5000], DEVIATION[:5000] / 1.8)
    write_calibration_plot(tmp_path / "plot.png", found, calibration(ERROR, DEVIATION), "a model: dropout, 3 volumes")
    picture = imread(tmp_path / "plot.png")
    assert picture.shape[:2] == (520, 1100)
    blue, orange = ([31 / 255, 119 / 255, 180 / 255], [1, 127 / 255, 14 / 255])
    for half in (picture[:, :550], picture[:, 550:]):  # a curve of each in either panel
        for colour in (blue, orange):
            assert (np.abs(half[..., :3] - colour).max(axis=-1) < 0.02).sum() > 100
