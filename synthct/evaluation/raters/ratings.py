"""What raters' scores of real and generated items say: can they tell, and do they agree (row C13)?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

DEFINITIONS: dict[str, str] = {
    "mean_real": "Mean rating of the real items (0: surely real, 10: surely generated).",
    "mean_generated": "Mean rating of the generated items.",
    "auc": "Probability that a generated item is rated above a real one, ties counted half: 0.5 cannot tell, 1 always "
    "tells.",
    "auc_ci95": "95 % interval of the AUC by DeLong's variance, cut at 0 and 1.",
    "p_mann_whitney": "Mann and Whitney's U test of the two sets of ratings, two-sided.",
    "icc": "Intraclass correlation ICC(2,1) of Shrout and Fleiss: two-way random effects, absolute agreement, one "
    "rater; 1: the raters agree wholly, 0 or less: not at all.",
    "icc_ci95": "95 % interval of that by McGraw and Wong.",
}


@dataclass(frozen=True)
class Discrimination:
    """How well one rater, or the raters' mean, tells generated from real; see ``DEFINITIONS``."""

    real: int
    generated: int
    mean_real: float
    mean_generated: float
    auc: float
    auc_ci95: tuple[float, float]
    p_mann_whitney: float


@dataclass(frozen=True)
class Agreement:
    """Of several raters on the same items; see ``DEFINITIONS``."""

    raters: int
    items: int
    icc: float
    icc_ci95: tuple[float, float]


def discrimination(real: ArrayLike, generated: ArrayLike) -> Discrimination:
    """Return means and AUC of ratings.

    Parameters
    ----------
    real, generated
        (n,) and (m,): ratings of the real and of the generated items. Where either is empty nothing but its mean is
        defined; with one item of a kind the interval is not.
    """
    first, second = (np.asarray(values, dtype=np.float64).ravel() for values in (real, generated))
    real_mean, generated_mean = (float(values.mean()) if values.size else math.nan for values in (first, second))
    if not first.size or not second.size:
        return Discrimination(
            first.size, second.size, real_mean, generated_mean, math.nan, (math.nan, math.nan), math.nan
        )
    above = (second[:, None] > first[None, :]) + 0.5 * (second[:, None] == first[None, :])
    auc = float(above.mean())
    interval = (math.nan, math.nan)
    if min(first.size, second.size) > 1:
        # DeLong 1988: the variance of the share that each item wins against all of the other kind
        error = math.sqrt(above.mean(1).var(ddof=1) / second.size + above.mean(0).var(ddof=1) / first.size)
        interval = (max(0.0, auc - 1.96 * error), min(1.0, auc + 1.96 * error))
    same = np.ptp(np.concatenate([first, second])) == 0
    p = 1.0 if same else float(stats.mannwhitneyu(second, first, alternative="two-sided").pvalue)
    return Discrimination(first.size, second.size, real_mean, generated_mean, auc, interval, p)


def agreement(ratings: NDArray[np.float64]) -> Agreement:
    """Return ICC(2,1) of a table of ratings, (items, raters), without gaps.

    Not defined (NaN) for fewer than two raters or items, or where every rating is the same.
    """
    items, raters = ratings.shape
    undefined = Agreement(raters, items, math.nan, (math.nan, math.nan))
    if min(items, raters) < 2 or np.ptp(ratings) == 0:
        return undefined
    grand = ratings.mean()
    between_items = raters * np.square(ratings.mean(1) - grand).sum() / (items - 1)
    between_raters = items * np.square(ratings.mean(0) - grand).sum() / (raters - 1)
    rest = ratings - ratings.mean(1, keepdims=True) - ratings.mean(0, keepdims=True) + grand
    error = np.square(rest).sum() / ((items - 1) * (raters - 1))
    icc = (between_items - error) / (between_items + (raters - 1) * error + raters * (between_raters - error) / items)
    return Agreement(raters, items, float(icc), _interval(icc, between_items, between_raters, error, items, raters))


def _interval(
    icc: float, between_items: float, between_raters: float, error: float, items: int, raters: int
) -> tuple[float, float]:
    """McGraw and Wong 1996, table 7, case 2A, ICC(A,1)."""
    if error == 0 or icc == 1:
        return (math.nan, math.nan)
    a = raters * icc / (items * (1 - icc))
    b = 1 + raters * icc * (items - 1) / (items * (1 - icc))
    freedom = (a * between_raters + b * error) ** 2 / (
        (a * between_raters) ** 2 / (raters - 1) + (b * error) ** 2 / ((items - 1) * (raters - 1))
    )
    mixed = raters * between_raters + (raters * items - raters - items) * error
    high = stats.f.ppf(0.975, items - 1, freedom)
    low = stats.f.ppf(0.975, freedom, items - 1)
    return (
        float(items * (between_items - high * error) / (high * mixed + items * between_items)),
        float(items * (low * between_items - error) / (mixed + items * low * between_items)),
    )
