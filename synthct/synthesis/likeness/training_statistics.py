"""What a model remembers of the inputs it was trained on, and how far an input is from them.

A case is summed up by two vectors: the histogram of its scaled intensities inside the body, and the network's features
(`synthct.synthesis.likeness.features`). Of each the card keeps the mean over the training cases, the spread and the
95th percentile of the distances that the training cases have from each other's mean, each left out in turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from synthct.volumes.scaling import Scaling

LEAST_CASES = 3
"""Of fewer cases no spread can be told: leaving one out, a single one would be left."""
BINS = 32
_SAMPLE = 200_000
_MARGIN = 1.5
"""A new case may lie this much further off than 95 of 100 training cases: the same scanner on another day."""
_SMALL_SAMPLE = 4.0
"""Of n cases the largest distance is itself uncertain; the margin grows by this over n (a factor 2 more at n = 3)."""
_DIGITS = 4
Vector = NDArray[np.float64]


def intensity_histogram(voxels: np.ndarray, body: np.ndarray | None, scaling: Scaling) -> Vector:
    """Return the shares of voxels inside the body in `BINS` equal steps of scaled intensity from −1 to 1.

    Parameters
    ----------
    voxels
        Source intensities, any three axes; at most about 200 000 are looked at, on a lattice.
    body
        Mask of the same shape; None, or empty on the lattice: every voxel counts.
    scaling
        Fitted to the volume.
    """
    step = max(1, round((voxels.size / _SAMPLE) ** (1 / 3)))
    lattice = (slice(None, None, step),) * 3
    values = voxels[lattice].ravel()
    if body is not None:
        inside = values[body[lattice].ravel() != 0]
        values = inside if inside.size else values
    scaled = np.clip(scaling.apply(values), -1, 1)
    counts, _ = np.histogram(scaled, BINS, (-1, 1))
    return counts / counts.sum()


def histogram_distance(a: Vector, b: Vector) -> float:
    """Return Wasserstein's distance of two histograms, as a share of the whole range: 0 equal, 1 opposite ends."""
    return float(np.abs(np.cumsum(a) - np.cumsum(b))[:-1].sum() / (BINS - 1))


def describe_histograms(histograms: Sequence[Vector]) -> dict[str, Any] | None:
    """Return ``{"mean", "distance_p95", "cases"}`` of the training cases' histograms; None for too few of them."""
    if len(histograms) < LEAST_CASES:
        return None
    cases = np.asarray(histograms)
    distances = [histogram_distance(case, np.delete(cases, n, 0).mean(0)) for n, case in enumerate(cases)]
    return {"mean": _rounded(cases.mean(0)), "distance_p95": _p95(distances), "cases": len(cases)}


def describe_features(features: Sequence[Vector]) -> dict[str, Any] | None:
    """Return ``{"mean", "sd", "distance_p95", "cases"}`` of the training cases' features; None for too few of them."""
    if len(features) < LEAST_CASES or not np.isfinite(features).all():
        return None
    cases = np.asarray(features)
    distances = []
    for number, case in enumerate(cases):
        rest = np.delete(cases, number, 0)
        distances.append(_standardised(case, rest.mean(0), _shrunk_sd(rest)))
    mean, sd = cases.mean(0), _shrunk_sd(cases)
    return {"mean": _rounded(mean), "sd": _rounded(sd), "distance_p95": _p95(distances), "cases": len(cases)}


def feature_distance(features: Vector, known: Mapping[str, Any]) -> float:
    """Return the root mean square of the features' deviations, each in training standard deviations."""
    return _standardised(features, np.asarray(known["mean"]), np.asarray(known["sd"]))


def limit(known: Mapping[str, Any]) -> float:
    """Return the distance from which on a case is unlike the training cases that ``known`` describes."""
    return float(known["distance_p95"]) * _MARGIN * (1 + _SMALL_SAMPLE / known["cases"])


def is_description(known: Any, keys: Sequence[str], length: int | None = None) -> TypeGuard[Mapping[str, Any]]:
    """Whether ``known`` is what `describe_histograms` or `describe_features` gave, for vectors of ``length``."""
    if not isinstance(known, Mapping) or not isinstance(known.get("cases"), int) or known["cases"] < 1:
        return False
    if not isinstance(known.get("distance_p95"), int | float):
        return False
    lists = [known.get(key) for key in keys]
    return all(isinstance(values, list) and (length is None or len(values) == length) for values in lists)


def _shrunk_sd(cases: NDArray[np.float64]) -> Vector:
    """Standard deviation of each feature, its variance drawn halfway to the mean of all.

    Of few cases some features happen to vary next to nothing; without shrinking those alone would decide.
    """
    variance = cases.var(0, ddof=1)
    scale = np.abs(cases).mean() or 1.0
    return np.sqrt((variance + variance.mean()) / 2 + (1e-4 * scale) ** 2)


def _standardised(features: Vector, mean: Vector, sd: Vector) -> float:
    return float(np.sqrt(np.mean(((features - mean) / sd) ** 2)))


def _p95(distances: Sequence[float]) -> float:
    return float(f"{np.percentile(distances, 95):.{_DIGITS}g}")


def _rounded(values: Vector) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else 0.0 for value in values.tolist()]
