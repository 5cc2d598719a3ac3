"""Does a standard deviation say how large the errors are? Coverage, reliability curve, and the factor that mends it.

An error is synthetic minus reference in HU, its standard deviation what several predictions differed by. For errors
drawn from a normal distribution of that deviation, ± k of it cover erf(k / √2) of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTHS = (0.5, 1.0, 1.5, 2.0, 3.0)
BINS = 20

DEFINITIONS = {
    "coverage": "Share of voxels whose absolute error is at most k standard deviations; a normal distribution: "
    "erf(k / √2).",
    "bins": f"Voxels in {BINS} bins of equal number by standard deviation: RMS of it and of the error, in HU.",
    "ence": "Expected normalised calibration error: mean over the bins of |RMS deviation − RMS error| / RMS deviation "
    "(Levi et al. 2022); bins without any deviation are left out.",
    "factor": "What the standard deviation must be multiplied by so that its RMS is that of the errors: RMSE / RMS "
    "deviation over all voxels. Errors with heavy tails, as at bones, then lie within one of it more often than 68 %.",
}


@dataclass(frozen=True)
class Calibration:
    """What deviations were worth on known errors; see `DEFINITIONS`."""

    voxels: int
    coverage: dict[float, float]
    """k → share."""
    deviation: tuple[float, ...]
    """RMS of each bin, HU, rising."""
    error: tuple[float, ...]
    """RMSE of each bin, HU."""
    ence: float
    """NaN where no bin has any deviation."""
    factor: float
    """Infinite where no voxel has any deviation."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what is not finite as None."""
        return {
            "voxels": self.voxels,
            "coverage": {f"{k:g}": share for k, share in self.coverage.items()},
            "normal_coverage": {f"{k:g}": normal_coverage(k) for k in self.coverage},
            "bins": [{"sd_hu": sd, "rmse_hu": error} for sd, error in zip(self.deviation, self.error, strict=True)],
            "ence": self.ence if math.isfinite(self.ence) else None,
            "factor": self.factor if math.isfinite(self.factor) else None,
        }


def normal_coverage(k: float) -> float:
    """Share of a normal distribution within ± k standard deviations."""
    return math.erf(k / math.sqrt(2))


def calibration(error: NDArray[Any], deviation: NDArray[Any], factor: float = 1.0) -> Calibration:
    """Compare errors with their standard deviations, multiplied by ``factor`` first.

    Parameters
    ----------
    error, deviation
        HU, one entry per voxel, of one shape.

    Raises
    ------
    ValueError
        No voxel, or different shapes.
    """
    if error.shape != deviation.shape or error.size == 0:
        raise ValueError(f"errors {error.shape} and deviations {deviation.shape} must be of one shape and not empty")
    size, spread = np.abs(error.astype(np.float32)).ravel(), deviation.astype(np.float32).ravel() * np.float32(factor)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = size / spread
    ratio[np.isnan(ratio)] = 0  # no error and no deviation: it said so
    order = np.argsort(spread, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if part.size]
    deviations, errors = (np.array([_rms(values[part]) for part in parts]) for values in (spread, size))
    known = deviations > 0
    return Calibration(
        int(size.size),
        {k: float((ratio <= k).mean()) for k in WIDTHS},
        tuple(deviations.tolist()),
        tuple(errors.tolist()),
        float(np.mean(np.abs(deviations - errors)[known] / deviations[known])) if known.any() else math.nan,
        _rms(size) / _rms(spread) if spread.any() else math.inf,
    )


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))
