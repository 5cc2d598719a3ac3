"""An input compared with what a model's card says of its training data, and the one sentence that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthct.synthesis.likeness.training_statistics import (
    BINS,
    LEAST_CASES,
    feature_distance,
    histogram_distance,
    is_description,
    limit,
)

SPACING_FACTOR = 1.5
"""Beyond the smallest and largest training voxels by this factor, structures look too coarse or fine to a network."""
EXTENT_FACTORS = (1.5, 1.5, 2.0)
"""Left-right and front-back a field of view this much smaller or larger shows another part, or cuts the body; along
the body the covered length varies more."""
INTENSITY_FACTOR = 3.0
"""For a fixed scaling: brightness beyond the training range by this factor saturates or darkens the network's input."""
LABEL_SCALINGS = ("one-hot", "lidc-label")
_AXES = ("left-right", "front-back", "head-foot")


@dataclass(frozen=True)
class Likeness:
    """What was found.

    Attributes
    ----------
    reasons
        Clauses that say why the input is unlike the training data; none: it is like it in all that was compared.
    checked
        What was compared: spacing, field of view, intensities, features.
    skipped
        What could not be compared, and why.
    """

    reasons: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ("nothing was compared",)

    @property
    def unlike(self) -> bool:
        """Whether there is any reason to doubt the result."""
        return bool(self.reasons)

    @property
    def sentence(self) -> str:
        """One plain sentence with the reasons, and another one with what was not compared."""
        if self.reasons:
            text = f"This input is unlike the training data: {'; '.join(self.reasons)}."
        elif self.checked:
            text = f"This input is like the training data in {_listed(self.checked)}."
        else:
            return f"Whether this input is like the training data is not known: {'; '.join(self.skipped)}."
        return text + (f" Not compared: {'; '.join(self.skipped)}." if self.skipped else "")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for events and reports."""
        return {
            "unlike": self.unlike,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "checked": list(self.checked),
            "skipped": list(self.skipped),
        }


def compare(
    card: Mapping[str, Any],
    spacing: Sequence[float],
    extent: Sequence[float],
    brightest: float,
    histogram: NDArray[np.float64],
    features: NDArray[np.float64] | None,
) -> Likeness:
    """Compare an input with the ``statistics`` of a model's card; what the card does not tell is skipped with a reason.

    Parameters
    ----------
    spacing, extent
        Voxel size and field of view, left-right, front-back and head-foot, in mm; spacing as the network sees it.
    brightest
        99th percentile of the intensities.
    histogram
        `synthct.synthesis.likeness.training_statistics.intensity_histogram` of the input. Of a label map neither it nor
        ``brightest`` nor ``features`` is looked at.
    features
        `synthct.synthesis.likeness.features` of the input; None where the network shows none.
    """
    statistics = card.get("statistics")
    if not isinstance(statistics, Mapping) or not statistics:
        return Likeness(skipped=("the model's card holds no statistics of it",))
    reasons: list[str] = []
    checked: list[str] = []
    skipped: list[str] = []
    for key, values, what in (("spacing_mm", spacing, "spacing"), ("extent_mm", extent, "field of view")):
        seen = _ranges(statistics, key)
        if seen is None:
            skipped.append(f"{what}, which the card does not tell")
            continue
        checked.append(what)
        for axis, label in enumerate(_AXES):
            factor = SPACING_FACTOR if key == "spacing_mm" else EXTENT_FACTORS[axis]
            if _beyond(values[axis], seen[axis], factor):
                reasons.append(_size_reason(key, label, values[axis], seen[axis]))
    if card["input_scaling"].get("name") in LABEL_SCALINGS:
        return Likeness(tuple(reasons), tuple(checked), tuple(skipped))
    _compare_intensities(card, statistics, brightest, histogram, reasons, checked, skipped)
    _compare_features(statistics, features, reasons, checked, skipped)
    return Likeness(tuple(reasons), tuple(checked), tuple(skipped))


def _compare_intensities(
    card: Mapping[str, Any],
    statistics: Mapping[str, Any],
    brightest: float,
    histogram: NDArray[np.float64],
    reasons: list[str],
    checked: list[str],
    skipped: list[str],
) -> None:
    fixed = card["input_scaling"].get("name") != "mr-percentile"
    bright = statistics.get("intensity_p99")
    known = statistics.get("histogram")
    compared = False
    if fixed and _is_range(bright) and isinstance(bright, list):
        compared = True
        if _beyond(brightest, bright, INTENSITY_FACTOR):
            reasons.append(
                f"its intensities have another scale (99 % of the voxels lie below {brightest:.4g}, in training below "
                f"{_span(bright)}, and this model's scaling is fixed)"
            )
    if is_description(known, ["mean"], BINS):
        compared = True
        distance = histogram_distance(histogram, np.asarray(known["mean"]))
        if distance > limit(known):
            reasons.append(
                f"its intensities are distributed otherwise inside the body ({distance:.1%} of the range away from the "
                f"mean, training cases up to {known['distance_p95']:.1%})"
            )
    else:
        skipped.append(f"the intensities' histogram, which the card tells from {LEAST_CASES} training cases on")
    if compared:
        checked.append("intensities")


def _compare_features(
    statistics: Mapping[str, Any],
    features: NDArray[np.float64] | None,
    reasons: list[str],
    checked: list[str],
    skipped: list[str],
) -> None:
    known = statistics.get("features")
    if not is_description(known, ["mean", "sd"]):
        skipped.append(f"features, which the card tells from {LEAST_CASES} training cases on")
    elif features is None or len(features) != len(known["mean"]):
        skipped.append("features, which this network does not show")
    else:
        checked.append("features")
        distance = feature_distance(features, known)
        if not distance <= limit(known):
            reasons.append(
                f"the network sees something else in it (feature distance {distance:.3g}, training cases up to "
                f"{known['distance_p95']:.3g})"
            )


def _size_reason(key: str, label: str, value: float, seen: Sequence[float]) -> str:
    if key == "extent_mm":
        return f"it covers {value:.0f} mm {label}, the training images {_span(seen)} mm"
    what = "slice distance" if label == "head-foot" else f"voxel size {label}"
    place = f"{seen[0]:.3g}–{seen[1]:.3g}" if seen[1] > seen[0] else f"the {seen[0]:.3g}"
    return f"its {what} of {value:.3g} mm is outside {place} mm"


def _beyond(value: float, seen: Sequence[float], factor: float) -> bool:
    return value < seen[0] / factor or value > seen[1] * factor


def _span(seen: Sequence[float]) -> str:
    return f"{seen[0]:.4g}" if f"{seen[0]:.4g}" == f"{seen[1]:.4g}" else f"{seen[0]:.4g} to {seen[1]:.4g}"


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(limit, int | float) for limit in value)


def _ranges(statistics: Mapping[str, Any], key: str) -> list[list[float]] | None:
    value = statistics.get(key)
    return value if isinstance(value, list) and len(value) == 3 and all(map(_is_range, value)) else None


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
