"""Two sets of images compared by their features: every number with its definition and what it is for real images alone.

A value by itself says nothing: it depends on the features and on how many images there are. So the real images are cut
in two halves at random, again and again, and the halves compared as the two sets are, at the same numbers: what two
sets of one distribution would give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthct.evaluation.distribution.distances import (
    Doubles,
    frechet_distance,
    inception_score,
    kernel_distance,
    maximum_mean_discrepancy,
    median_distance,
    precision_recall,
    small_sample_note,
)

NEIGHBOURS = 3
SUBSETS, SUBSET_SIZE = 100, 1000
"""Of the kernel distance's spread (Bińkowski et al. 2018); smaller where there are fewer samples."""
_NOTABLE = 0.1
"""A precision or recall that is so much lower is not called equal, however much it varies."""
DRAWS = 10
"""Times that the real images are halved."""
NOT_COMPARED = (
    "Published values (the FIDs of the Oslo thesis, say) must not be compared with these: they rest on other "
    "features, whose weights are not named, and on other numbers of images."
)

DEFINITIONS: dict[str, str] = {
    "fid": "Fréchet distance |µ_a − µ_b|² + Tr(C_a + C_b − 2·(C_a·C_b)^½) of the features, not its square root (Heusel "
    "et al. 2017); 0: same means and covariances. Biased upwards with few images.",
    "kid": "Kernel distance: squared MMD with the kernel (x·y / features + 1)³, unbiased, all samples (Bińkowski et "
    "al. 2018); about 0, or a little below, for sets of one distribution.",
    "kid_subsets": "The same over random subsets: mean and sample standard deviation.",
    "mmd": "Squared MMD with a Gaussian kernel exp(−|x − y|² / 2σ²), unbiased (Gretton et al. 2012); σ: the median "
    "distance between samples of both sets.",
    "precision": f"Share of synthetic samples that lie within a real one's distance to its {NEIGHBOURS}rd nearest real "
    "neighbour (Kynkäänniemi et al. 2019): do they look real? 1 also where they are copies.",
    "recall": f"Share of real samples that lie so near to a synthetic one (k = {NEIGHBOURS}): is all of the variety "
    "there? Falls with mode collapse.",
    "inception_score": "exp of the mean KL(p(class | image) ‖ p(class)) of the feature network's own classes: 1 to "
    "their number (Salimans et al. 2016). Of the synthetic set; the real set's beside it.",
}


@dataclass(frozen=True)
class Rows:
    """Features of one set.

    Parameters
    ----------
    features
        (samples, features).
    groups
        For each sample who it belongs to: slices of one volume and volumes of one patient stay together when a set is
        divided.
    probabilities
        (samples, classes) of the feature network; None: it has no classes.
    """

    features: NDArray[np.floating[Any]]
    groups: tuple[str, ...]
    probabilities: NDArray[np.floating[Any]] | None = None

    def __len__(self) -> int:
        return len(self.features)


def compare_sets(real: Rows, synthetic: Rows, classes: Sequence[str] = (), seed: int = 0) -> dict[str, Any]:
    """Return ``scores``, ``at_equal_numbers`` and ``notes``; a score that cannot be had is None and noted.

    ``at_equal_numbers`` has ``samples`` and, for ``real_against_real`` and ``synthetic_against_real``, mean and sample
    standard deviation over `DRAWS` divisions of ``fid``, ``kid``, ``precision`` and ``recall``, all of sets of so many
    samples; None where the real set has fewer than four groups.

    Parameters
    ----------
    classes
        Names of the feature network's classes.
    """
    notes = []
    fewer = min(len(real), len(synthetic))
    note = small_sample_note(len(real), len(synthetic), real.features.shape[1])
    if note:
        notes.append(note)
    a, b = np.asarray(real.features, np.float64), np.asarray(synthetic.features, np.float64)
    size = min(SUBSET_SIZE, fewer // 2)
    scores: dict[str, Any] = {
        "fid": frechet_distance(*in_their_span(a, b)),
        "kid": kernel_distance(a, b),
        "kid_subsets": None if size < 2 else {**_kernel_spread(a, b, size, seed), "subsets": SUBSETS, "size": size},
        "mmd": maximum_mean_discrepancy(a, b),
        "mmd_bandwidth": median_distance(a, b),
        **_precision_recall(a, b),
    }
    if scores["precision"] is None:
        notes.append(f"Precision and recall need more than {NEIGHBOURS} samples of either set.")
    if real.probabilities is not None and synthetic.probabilities is not None:
        scores["inception_score"] = inception_score(synthetic.probabilities)
        scores["inception_score_real"] = inception_score(real.probabilities)
        scores["inception_score_classes"] = list(classes)
    equal = _at_equal_numbers(real, synthetic, seed)
    if equal is None:
        notes.append(
            "The real set is too small to be halved (four patients or more are needed): what real images give "
            "against real images is not known, and a distance alone says little."
        )
    return {"scores": scores, "at_equal_numbers": equal, "notes": notes}


def in_their_span(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """Return both sets turned into the space that they span, where samples are fewer than features.

    Distances, means and covariances in it are the same; a Fréchet distance of 2048 features is then a matter of as
    many dimensions as there are samples.
    """
    both = np.concatenate([a, b])
    if len(both) >= both.shape[1]:
        return a, b
    basis, _ = np.linalg.qr(both.T)
    return a @ basis, b @ basis


def _kernel_spread(a: Doubles, b: Doubles, size: int, seed: int) -> dict[str, float]:
    draws = np.random.default_rng(seed)
    values = [
        kernel_distance(a[draws.choice(len(a), size, replace=False)], b[draws.choice(len(b), size, replace=False)])
        for _ in range(SUBSETS)
    ]
    return _mean_sd(values)


def _precision_recall(a: Doubles, b: Doubles) -> dict[str, float | None]:
    if min(len(a), len(b)) <= NEIGHBOURS:
        return {"precision": None, "recall": None}
    precision, recall = precision_recall(a, b, NEIGHBOURS)
    return {"precision": precision, "recall": recall}


def _at_equal_numbers(real: Rows, synthetic: Rows, seed: int) -> dict[str, Any] | None:
    names = sorted(set(real.groups))
    if len(names) < 4:
        return None
    random = np.random.default_rng(seed)
    a, b = np.asarray(real.features, np.float64), np.asarray(synthetic.features, np.float64)
    halves = [_halves(real.groups, names, random) for _ in range(DRAWS)]
    size = min(len(b), *(min(map(len, pair)) for pair in halves))
    if size < 2:
        return None
    found: dict[str, list[dict[str, float | None]]] = {"real_against_real": [], "synthetic_against_real": []}
    for first, second in halves:
        reference = a[random.permutation(first)[:size]]
        found["real_against_real"].append(_short(reference, a[random.permutation(second)[:size]]))
        found["synthetic_against_real"].append(_short(reference, b[random.choice(len(b), size, replace=False)]))
    summed = {
        which: {name: _mean_sd([each[name] for each in drawn]) for name in drawn[0] if drawn[0][name] is not None}
        for which, drawn in found.items()
    }
    return {"samples": size, "draws": DRAWS, **summed}


def _short(reference: Doubles, other: Doubles) -> dict[str, float | None]:
    return {
        "fid": frechet_distance(*in_their_span(reference, other)),
        "kid": kernel_distance(reference, other),
        **_precision_recall(reference, other),
    }


def _halves(
    groups: Sequence[str], names: Sequence[str], random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the samples of two halves of the groups."""
    chosen = set(random.permutation(np.array(names, dtype=object))[: len(names) // 2])
    inside = np.array([group in chosen for group in groups])
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def _mean_sd(values: Sequence[Any]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}


def in_words(found: dict[str, Any], what: str = "images") -> list[str]:
    """Return what `compare_sets` found as plain sentences.

    Parameters
    ----------
    what
        What the samples are: images, masks, pairs.
    """
    equal, scores = found["at_equal_numbers"], found["scores"]
    lines = []
    if equal is not None:
        same, other = equal["real_against_real"], equal["synthetic_against_real"]
        for name, title in (("fid", "Fréchet distance"), ("kid", "Kernel distance")):
            lines.append(
                f"{title} at {equal['samples']} {what} each: real against real {_plain(same[name])}, synthetic against "
                f"real {_plain(other[name])}. {_apart(same[name], other[name])}"
            )
        lines += [_share(name, same, other) for name in ("precision", "recall") if name in same]
    if scores.get("inception_score") is not None:
        lines.append(
            f"Inception score {scores['inception_score']:.2f}, of the real {what} {scores['inception_score_real']:.2f}"
            f", of {len(scores['inception_score_classes'])} at most; classes: "
            f"{', '.join(scores['inception_score_classes'])}. {_told(scores)}"
        )
    return lines


def _plain(value: dict[str, float]) -> str:
    digits: Callable[[float], str] = lambda number: f"{number:.3g}"  # noqa: E731
    return f"{digits(value['mean'])} (SD {digits(value['sd'])})"


def _apart(same: dict[str, float], other: dict[str, float]) -> str:
    limit = same["mean"] + 2 * math.hypot(same["sd"], other["sd"])
    if other["mean"] > limit:
        return "The synthetic set lies farther from the real one than halves of the real one from each other."
    return "No farther than halves of the real set lie from each other: with these features no difference is seen."


def _share(name: str, same: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> str:
    fallen = same[name]["mean"] - other[name]["mean"]
    lower = fallen > 2 * math.hypot(same[name]["sd"], other[name]["sd"])
    values = f"{name.capitalize()} {_plain(other[name])}, real against real {_plain(same[name])}."
    if not lower and fallen > _NOTABLE:
        return f"{values} It is lower, but differs too much between the divisions to say more."
    meaning = {
        ("precision", True): "Some synthetic samples look like no real one.",
        ("precision", False): "Synthetic samples lie where real ones lie.",
        ("recall", True): "Some of the real variety is missing, as with mode collapse.",
        ("recall", False): "The variety of the real samples is there.",
    }[name, lower]
    return f"{values} {meaning}"


def _told(scores: dict[str, Any]) -> str:
    if scores["inception_score_real"] < 1 + 0.2 * (len(scores["inception_score_classes"]) - 1):
        return "The network hardly tells the classes of the real ones: this score says little here."
    return "Its classes are those of the training cohort: a set of one class alone scores 1 however good it is."
