"""Distances of distributions against what can be worked out by hand, and their behaviour where samples are few."""

import numpy as np
import pytest
from scipy import linalg

from synthct.evaluation.distribution.distances import (
    FeatureStatistics,
    frechet_distance,
    inception_score,
    kernel_distance,
    maximum_mean_discrepancy,
    precision_recall,
    small_sample_note,
)


def exact(mean, covariance, samples=400, seed=0):
    """Samples whose mean and covariance are exactly those given."""
    drawn = np.random.default_rng(seed).standard_normal((samples, len(mean)))
    drawn -= drawn.mean(axis=0)
    drawn @= np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T))).T
    return drawn @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def test_frechet_distance_of_gaussians_by_hand():
    """Diagonal covariances: |Δµ|² + Σ (σ_a − σ_b)² = 9 + 16 + (1 − 2)² + (3 − 5)² = 30."""
    a, b = exact([1, 2], np.diag([1.0, 9.0])), exact([4, 6], np.diag([4.0, 25.0]), seed=1)
    assert frechet_distance(a, b) == pytest.approx(30, rel=1e-10)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(b, a) == pytest.approx(30, rel=1e-10)


def test_frechet_distance_of_correlated_gaussians():
    one, other = np.array([[2.0, 0.8], [0.8, 1.0]]), np.array([[1.0, -0.5], [-0.5, 3.0]])
    expected = np.trace(one + other) - 2 * np.trace(linalg.sqrtm(one @ other)).real
    assert frechet_distance(exact([0, 0], one), exact([0, 0], other, seed=2)) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_fewer_samples_than_features():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((6, 40)), rng.standard_normal((9, 40))
    # Tr (C_a·C_b)^½ is the nuclear norm of X_a·X_bᵀ / √((n_a − 1)(n_b − 1)).
    x, y = a - a.mean(axis=0), b - b.mean(axis=0)
    shared = np.linalg.norm(x @ y.T, "nuc") / np.sqrt(5 * 8)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + (x**2).sum() / 5 + (y**2).sum() / 8 - 2 * shared
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_statistics_in_batches_equal_those_of_all():
    features = np.random.default_rng(4).standard_normal((100, 5)).astype(np.float32) + 1e4
    gathered = FeatureStatistics()
    for start, stop in ((0, 1), (1, 1), (1, 40), (40, 100)):
        gathered.add(features[start:stop])
    whole = features.astype(np.float64)
    assert gathered.count == 100
    np.testing.assert_allclose(gathered.mean, whole.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(gathered.covariance, np.cov(whole.T), rtol=1e-8, atol=1e-10)
    other = np.random.default_rng(5).standard_normal((60, 5)) + 1e4
    assert frechet_distance(gathered, other) == pytest.approx(frechet_distance(whole, other), rel=1e-9)


def test_few_samples_are_biased_and_said_to_be():
    rng = np.random.default_rng(6)
    few, many = (frechet_distance(*rng.standard_normal((2, n, 30))) for n in (40, 4000))
    assert few > 20 * many
    assert small_sample_note(4000, 300, 30) is None
    assert "biased upwards" in small_sample_note(4000, 299, 30)
    assert "rank 19 of 30" in small_sample_note(20, 4000, 30)
    kernel = [kernel_distance(*rng.standard_normal((2, 40, 30))) for _ in range(40)]
    assert abs(np.mean(kernel)) < 3 * np.std(kernel) / np.sqrt(40)


def test_inception_score_by_hand():
    certain = np.eye(4)[[0, 1, 2, 3] * 3]
    assert inception_score(certain) == pytest.approx(4)
    assert inception_score(np.full((7, 4), 0.25)) == pytest.approx(1)
    assert inception_score(np.tile([1.0, 0.0], (5, 1))) == pytest.approx(1)
    rows = np.array([[0.8, 0.2], [0.4, 0.6]])
    kl = [0.8 * np.log(0.8 / 0.6) + 0.2 * np.log(0.2 / 0.4), 0.4 * np.log(0.4 / 0.6) + 0.6 * np.log(0.6 / 0.4)]
    assert inception_score(rows) == pytest.approx(np.exp(np.mean(kl)))
    # Sorted by class, every part knows one class alone.
    assert inception_score(np.eye(4)[[0, 0, 1, 1, 2, 2, 3, 3]], parts=4) == pytest.approx(1)


def test_kernel_distance_by_hand():
    a, b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    # Kernels: a with a 1 (product 0), b with b (2/2 + 1)³ = 8; between (1/2 + 1)³, (2/2 + 1)³, (1/2 + 1)³, 1.
    expected = 1 + 8 - 2 * np.mean([1.5**3, 8, 1.5**3, 1])
    assert kernel_distance(a, b) == pytest.approx(expected)
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((80, 3)), rng.standard_normal((90, 3)) + 1
    whole = kernel_distance(x, y)
    drawn = kernel_distance(x, y, subsets=60, size=30, seed=1)
    assert drawn == pytest.approx(whole, rel=0.3)
    assert drawn == kernel_distance(x, y, subsets=60, size=30, seed=1)


def test_mmd_by_hand_and_in_sense():
    a, b = np.array([[0.0], [1.0]]), np.array([[0.0], [3.0]])
    expected = np.exp(-0.5) + np.exp(-4.5) - 2 * np.mean([1, np.exp(-4.5), np.exp(-0.5), np.exp(-2.0)])
    assert maximum_mean_discrepancy(a, b, bandwidth=1.0) == pytest.approx(expected)
    rng = np.random.default_rng(8)
    same = maximum_mean_discrepancy(*rng.standard_normal((2, 200, 4)))
    apart = maximum_mean_discrepancy(rng.standard_normal((200, 4)), rng.standard_normal((200, 4)) + 1)
    assert abs(same) < 0.01
    assert apart > 0.1
    constant = np.ones((3, 2))
    assert maximum_mean_discrepancy(constant, constant) == 0


def test_kernels_of_many_samples_in_parts_are_those_of_all(monkeypatch):
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((31, 3)), rng.standard_normal((20, 3))
    whole = kernel_distance(x, y), maximum_mean_discrepancy(x, y)
    monkeypatch.setattr("synthct.evaluation.distribution.distances._ROWS", 7)
    assert (kernel_distance(x, y), maximum_mean_discrepancy(x, y)) == pytest.approx(whole, abs=1e-12)


def test_precision_and_recall():
    rng = np.random.default_rng(9)
    real = rng.standard_normal((300, 3))
    assert precision_recall(real, real) == (1.0, 1.0)
    precision, recall = precision_recall(real, 0.05 * rng.standard_normal((300, 3)))  # collapsed into the middle
    assert precision > 0.95
    assert recall < 0.1
    precision, recall = precision_recall(real, 4 * rng.standard_normal((300, 3)))  # far too wide
    assert precision < 0.4
    assert recall > 0.9
    assert precision_recall(real, real + 100) == (0.0, 0.0)
    line, at = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[-0.5], [-1.5], [3.5], [9.0]])
    # k = 1: every real radius is 1, so −0.5 and 3.5 lie within; radii of the others are 1, 1, 4, 5.5.
    assert precision_recall(line, at, neighbours=1) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: frechet_distance(np.ones((1, 2)), np.ones((3, 2))), "two samples"),
        (lambda: frechet_distance(np.ones((3, 2)), np.ones((3, 4))), "cannot be compared"),
        (lambda: frechet_distance(np.full((3, 2), np.nan), np.ones((3, 2))), "finite"),
        (lambda: inception_score(np.full((3, 2), 0.7)), "add up to 1"),
        (lambda: inception_score(np.full((3, 2), 0.5), parts=4), "4 parts"),
        (lambda: kernel_distance(np.ones((3, 2)), np.ones((3, 3))), "cannot be compared"),
        (lambda: kernel_distance(np.ones((3, 2)), np.ones((3, 2)), size=4), "cannot be drawn"),
        (lambda: precision_recall(np.ones((3, 2)), np.ones((3, 2))), "3 neighbours"),
        (lambda: FeatureStatistics().add(np.ones(3)), "samples, features"),
    ],
)
def test_nonsense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
