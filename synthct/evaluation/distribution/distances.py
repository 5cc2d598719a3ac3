"""How far two sets of samples lie apart as distributions, from arrays of features (row C12).

Everything here takes (samples, features), computes in 64 bit and knows nothing of where the features come from. A
value means something only beside its feature network and its number of samples: the published values of row C12 rest
on weights that are not named and must never be compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial.distance import cdist, pdist

Features = NDArray[np.floating]
Doubles = NDArray[np.float64]

_ROWS = 512
"""Rows of a distance matrix that are held at once."""
_PAIRS = 2000
"""At most so many samples, evenly chosen, for the median distance."""


class FeatureStatistics:
    """Mean and covariance of features that arrive batch by batch; none of them is kept.

    Batches are merged by the sums of squares about their means (Chan, Golub and LeVeque 1983), so that the result
    does not depend on how large the mean is beside the spread.

    Attributes
    ----------
    count
        Samples so far.
    mean
        (features,), 64 bit; empty before the first sample.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Doubles = np.empty(0)
        self._scatter: Doubles = np.empty((0, 0))

    def add(self, features: Features) -> FeatureStatistics:
        """Take in (samples, features) and return itself."""
        batch = _checked(features)
        if not len(batch):
            return self
        mean = batch.mean(axis=0)
        apart = batch - mean
        if not self.count:
            self.count, self.mean, self._scatter = len(batch), mean, apart.T @ apart
            return self
        if len(mean) != len(self.mean):
            raise ValueError(f"{len(mean)} features after {len(self.mean)}")
        total = self.count + len(batch)
        step = mean - self.mean
        self._scatter += apart.T @ apart + np.outer(step, step) * (self.count * len(batch) / total)
        self.mean = self.mean + step * (len(batch) / total)
        self.count = total
        return self

    @property
    def covariance(self) -> Doubles:
        """(features, features), divided by the number of samples less one.

        Raises
        ------
        ValueError
            Fewer than two samples.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs two samples, got {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(a: Features | FeatureStatistics, b: Features | FeatureStatistics) -> float:
    """Return |µ_a − µ_b|² + Tr(C_a + C_b − 2·(C_a·C_b)^½): FID (Heusel et al. 2017), not its square root.

    The trace of the root is the sum of the roots of the eigenvalues of C_a^½·C_b·C_a^½, which is symmetric: nothing
    complex comes up, and covariances of fewer samples than features are no exception. `small_sample_note` says when
    the value is mostly bias.

    Parameters
    ----------
    a, b
        (samples, features) of either set, two samples or more each; or what was gathered of them.
    """
    first, second = (
        given if isinstance(given, FeatureStatistics) else FeatureStatistics().add(given) for given in (a, b)
    )
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"{len(first.mean)} and {len(second.mean)} features cannot be compared")
    one, other = first.covariance, second.covariance
    root = _root(one)
    values = linalg.eigvalsh(root @ other @ root)
    shared = float(np.sqrt(np.clip(values, 0, None)).sum())
    apart = float(np.square(first.mean - second.mean).sum())
    return max(0.0, apart + float(np.trace(one)) + float(np.trace(other)) - 2 * shared)


def small_sample_note(samples_a: int, samples_b: int, features: int) -> str | None:
    """Return in words why a Fréchet distance of so few samples cannot be trusted; None where there are enough.

    Two sets of one distribution have a distance above 0, about Tr(C)·features / (4·samples) for each while samples
    are many, more where they are fewer than features: a covariance of N samples has rank N − 1 and misses the rest.
    So distances of different numbers of samples must not be compared (Chong and Forsyth 2020). The limit is
    ten times the number of features in the smaller set; our own.
    """
    fewer = min(samples_a, samples_b)
    if fewer >= 10 * features:
        return None
    rank = (
        f" The covariance of {fewer} samples has rank {fewer - 1} of {features} at most." if fewer <= features else ""
    )
    return (
        f"The Fréchet distance of {samples_a} and {samples_b} samples with {features} features is biased upwards: two "
        f"sets of one distribution would not give 0.{rank} Compare it only with values of the same numbers of samples, "
        "and trust the kernel distance, which has no such bias."
    )


def inception_score(probabilities: Features, parts: int = 1) -> float:
    """Return exp of the mean of KL(p(class | sample) ‖ p(class)): 1 to the number of classes (Salimans et al. 2016).

    It is that of the classifier: name its classes beside the value, and with real samples give its own IS.

    Parameters
    ----------
    probabilities
        (samples, classes), each row adding up to 1.
    parts
        The samples are cut into so many parts in their order, of which the scores are averaged: 10 in the paper.
    """
    rows = _checked(probabilities)
    if not len(rows) or (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1, atol=1e-4):
        raise ValueError("every row must hold probabilities that add up to 1")
    if not 1 <= parts <= len(rows):
        raise ValueError(f"{len(rows)} samples cannot be cut into {parts} parts")
    return float(np.mean([_score(part) for part in np.array_split(rows, parts)]))


def kernel_distance(a: Features, b: Features, subsets: int = 1, size: int | None = None, seed: int = 0) -> float:
    """Return KID: the squared MMD with the kernel (x·y / features + 1)³, unbiased (Bińkowski et al. 2018).

    It may be a little below 0 for sets of one distribution: its expectation there is 0 at any number of samples.

    Parameters
    ----------
    a, b
        (samples, features), two samples or more each.
    subsets, size
        Mean over so many random subsets of ``size`` samples of either (100 of 1000 in the paper); None: all samples.
    seed
        Of the draws.
    """
    first, second = _pair(a, b)
    if size is None:
        return _unbiased(_cubic, first, second)
    if not 2 <= size <= min(len(first), len(second)) or subsets < 1:
        raise ValueError(f"{subsets} subsets of {size} of {len(first)} and {len(second)} samples cannot be drawn")
    draws = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        one = first[draws.choice(len(first), size, replace=False)]
        other = second[draws.choice(len(second), size, replace=False)]
        values.append(kernel_distance(one, other))
    return float(np.mean(values))


def maximum_mean_discrepancy(a: Features, b: Features, bandwidth: float | None = None) -> float:
    """Return the squared MMD with a Gaussian kernel exp(−|x − y|² / 2σ²), unbiased (Gretton et al. 2012).

    Parameters
    ----------
    a, b
        (samples, features), two samples or more each.
    bandwidth
        σ; None: the median distance between samples of both sets together, of those that are not equal.
    """
    first, second = _pair(a, b)
    bandwidth = median_distance(first, second) if bandwidth is None else bandwidth
    if not bandwidth:
        return 0.0
    scale = -0.5 / bandwidth**2

    def kernel(x: Doubles, y: Doubles) -> Doubles:
        return np.exp(scale * cdist(x, y, "sqeuclidean"))

    return _unbiased(kernel, first, second)


def median_distance(a: Features, b: Features) -> float:
    """Return the median distance between samples of both sets together, of those that are not equal; 0: all are.

    Of many samples an even choice is looked at.
    """
    both = np.concatenate(_pair(a, b))
    chosen = both[np.linspace(0, len(both) - 1, min(len(both), _PAIRS)).round().astype(int)]
    distances = pdist(chosen)
    return float(np.median(distances[distances > 0])) if distances.any() else 0.0


def precision_recall(real: Features, generated: Features, neighbours: int = 3) -> tuple[float, float]:
    """Return improved precision and recall (Kynkäänniemi et al. 2019), 0 to 1 each.

    Precision is the share of generated samples that lie within the distance of some real sample to its k-th nearest
    real neighbour; recall the share of real ones that lie so near to a generated one.

    Parameters
    ----------
    real, generated
        (samples, features); more samples than ``neighbours`` in both, and best as many in one as in the other.
    neighbours
        k: 3 in the paper.
    """
    first, second = _pair(real, generated)
    if neighbours < 1 or min(len(first), len(second)) <= neighbours:
        raise ValueError(f"{neighbours} neighbours need more samples than {min(len(first), len(second))}")
    return _covered(second, first, neighbours), _covered(first, second, neighbours)


def _covered(samples: Doubles, manifold: Doubles, neighbours: int) -> float:
    radii = np.concatenate(
        [np.partition(rows, neighbours, axis=1)[:, neighbours] for rows in _distances(manifold, manifold)]
    )
    inside = [(rows <= radii).any(axis=1) for rows in _distances(samples, manifold)]
    return float(np.concatenate(inside).mean())


def _distances(samples: Doubles, others: Doubles) -> Iterator[Doubles]:
    """Blocks of rows of the distance matrix."""
    for start in range(0, len(samples), _ROWS):
        yield cdist(samples[start : start + _ROWS], others)


def _root(covariance: Doubles) -> Doubles:
    values, vectors = linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _score(rows: Doubles) -> float:
    overall = rows.mean(axis=0)
    share = np.divide(rows, overall, out=np.ones_like(rows), where=(rows > 0) & (overall > 0))
    return float(np.exp((rows * np.log(share)).sum(axis=1).mean()))


def _cubic(x: Doubles, y: Doubles) -> Doubles:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _unbiased(kernel: Callable[[Doubles, Doubles], Doubles], first: Doubles, second: Doubles) -> float:
    """Return the squared MMD; of the matrices between samples a few rows are held at a time."""

    def sums(x: Doubles, y: Doubles) -> tuple[float, float]:
        total = diagonal = 0.0
        for start in range(0, len(x), _ROWS):
            rows = kernel(x[start : start + _ROWS], y)
            total, diagonal = total + float(rows.sum()), diagonal + float(np.trace(rows, offset=start))
        return total, diagonal

    def within(x: Doubles) -> float:
        total, diagonal = sums(x, x)
        return (total - diagonal) / (len(x) * (len(x) - 1))

    return within(first) + within(second) - 2 * sums(first, second)[0] / (len(first) * len(second))


def _pair(a: Features, b: Features) -> tuple[Doubles, Doubles]:
    first, second = _checked(a), _checked(b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} and {second.shape[1]} features cannot be compared")
    if min(len(first), len(second)) < 2:
        raise ValueError("either set needs two samples or more")
    return first, second


def _checked(features: Features) -> Doubles:
    array = np.asarray(features, np.float64)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"features must be (samples, features), got the shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("features must be finite numbers")
    return array
