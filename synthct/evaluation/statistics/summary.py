"""What a list of scores says: centre, spread and confidence; and whether two paired lists differ.

Every number is a float64, NaN where it is not defined; the reason stands in ``notes``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FEWEST_FOR_WILCOXON = 6
"""Below this many pairs the signed-rank test cannot reach 5 % (two-sided)."""
BOOTSTRAP_RESAMPLES = 9999

DEFINITIONS: dict[str, str] = {
    "n": "Number of values; what is not a number is left out and counted in `left_out`.",
    "mean": "Arithmetic mean.",
    "median": "Median.",
    "sd_population": "Standard deviation, divided by n.",
    "sd_sample": "Standard deviation, divided by n − 1.",
    "ci95_normal": "Mean ± 1.96 · sd_sample / √n.",
    "ci95_bootstrap": f"95 % interval of the mean by the BCa bootstrap, {BOOTSTRAP_RESAMPLES} resamples.",
    "difference": "Mean of group minus baseline over the pairs.",
    "p_t": "Paired t-test, two-sided.",
    "p_wilcoxon": "Wilcoxon's signed-rank test, two-sided; pairs without a difference are left out.",
    "p_shapiro": "Shapiro and Wilk's test of the differences: a small p speaks against a normal distribution, on which "
    "the t-test rests.",
    "effect_dz": "Cohen's d of paired values: mean difference / sample SD of the differences.",
    "effect_rank": "Matched-pairs rank-biserial correlation, −1 to 1: the share of signed ranks above 0 minus below.",
    "p_tost": "Two one-sided paired t-tests: a small p says that the mean difference lies within ± the margin.",
    "holm": "p multiplied by Holm's step-down factor over all comparisons of the same test.",
}

_UNDEFINED = (math.nan, math.nan)


@dataclass(frozen=True)
class Summary:
    """One list of scores; see ``DEFINITIONS``."""

    n: int
    left_out: int
    mean: float = math.nan
    median: float = math.nan
    sd_population: float = math.nan
    sd_sample: float = math.nan
    ci95_normal: tuple[float, float] = _UNDEFINED
    ci95_bootstrap: tuple[float, float] = _UNDEFINED
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PairedTest:
    """One group against its baseline on the same units; see ``DEFINITIONS``."""

    n: int
    left_out: int
    difference: float
    ci95_difference: tuple[float, float] = _UNDEFINED
    """Of the mean difference, by Student's t."""
    p_t: float = math.nan
    p_wilcoxon: float = math.nan
    p_shapiro: float = math.nan
    effect_dz: float = math.nan
    effect_rank: float = math.nan
    p_tost: float = math.nan
    notes: list[str] = field(default_factory=list)


def summarise(values: ArrayLike, seed: int = 0) -> Summary:
    """Describe one list of scores.

    Parameters
    ----------
    values
        (n,). NaN is left out; an infinite value (a Hausdorff distance to nothing, the PSNR of equal images) makes
        mean and spread undefined and is said so: leaving it out would flatter.
    seed
        Of the bootstrap.
    """
    every = np.asarray(values, dtype=np.float64).ravel()
    known = every[~np.isnan(every)]
    left_out = int(every.size - known.size)
    if known.size == 0:
        return Summary(0, left_out, notes=["There are no values."])
    median = float(np.median(known))
    infinite = int(np.count_nonzero(np.isinf(known)))
    if infinite:
        notes = [f"{infinite} of {known.size} values are infinite: only the median is defined."]
        return Summary(known.size, left_out, median=median, notes=notes)
    mean, population = float(known.mean()), float(known.std())
    if known.size == 1:
        return Summary(1, left_out, mean, median, population, notes=["One value has no spread."])
    sample = float(known.std(ddof=1))
    half = 1.96 * sample / math.sqrt(known.size)
    return Summary(
        known.size, left_out, mean, median, population, sample, (mean - half, mean + half), _bootstrap(known, seed)
    )


def compare_paired(group: ArrayLike, baseline: ArrayLike, margin: float | None = None) -> PairedTest:
    """Test whether ``group`` differs from ``baseline``, and with ``margin`` whether they are equivalent.

    Parameters
    ----------
    group, baseline
        (n,), the same units in the same order. Pairs with NaN or infinite values are left out and counted.
    margin
        Largest mean difference that still counts as equal, in the score's unit; None: equivalence is not tested.

    Notes
    -----
    One pair, or pairs that all differ by the same amount, have no p-value; ``notes`` says why.
    """
    first, second = (np.asarray(values, dtype=np.float64).ravel() for values in (group, baseline))
    if first.size != second.size:
        raise ValueError(f"{first.size} values cannot be paired with {second.size}")
    with np.errstate(invalid="ignore"):
        every = first - second
    differences = every[np.isfinite(every)]
    n, left_out = int(differences.size), int(every.size - differences.size)
    if n < 2:
        note = "One pair has no p-value." if n else "There are no pairs, hence no p-value."
        return PairedTest(n, left_out, float(differences[0]) if n else math.nan, notes=[note])
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread <= 1e-12 * max(abs(mean), float(np.abs(first[np.isfinite(every)]).max()), 1e-300):
        why = "The two are identical" if mean == 0 else "All pairs differ by the same amount"
        return PairedTest(n, left_out, mean, notes=[f"{why}: there is no p-value."])
    error = spread / math.sqrt(n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    notes = []
    wilcoxon = math.nan
    if n >= FEWEST_FOR_WILCOXON:
        wilcoxon = float(stats.wilcoxon(differences).pvalue)
    else:
        notes.append(f"Wilcoxon's test is left out: with {n} pairs it cannot reach 5 %.")
    return PairedTest(
        n,
        left_out,
        mean,
        (mean - half, mean + half),
        p_t=float(stats.ttest_1samp(differences, 0).pvalue),
        p_wilcoxon=wilcoxon,
        p_shapiro=float(stats.shapiro(differences).pvalue) if n >= 3 else math.nan,
        effect_dz=mean / spread,
        effect_rank=_rank_biserial(differences),
        p_tost=math.nan if margin is None else _tost(mean, error, n, margin),
        notes=notes,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many there are (Holm 1979); NaN stays NaN and does not count.

    Examples
    --------
    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[place] = largest
    return corrected


def _bootstrap(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """BCa interval of the mean; a list of equal values has that one value for both ends."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate resamples of very short lists; the interval is then NaN
        interval = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=BOOTSTRAP_RESAMPLES,
            vectorized=True,
            batch=max(1, 2**22 // values.size),
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def _rank_biserial(differences: NDArray[np.float64]) -> float:
    moved = differences[differences != 0]
    ranks = stats.rankdata(np.abs(moved))
    return float((ranks[moved > 0].sum() - ranks[moved < 0].sum()) / ranks.sum())


def _tost(mean: float, error: float, n: int, margin: float) -> float:
    above = float(stats.t.sf((mean + margin) / error, n - 1))
    below = float(stats.t.cdf((mean - margin) / error, n - 1))
    return max(above, below)
