"""What a department asks of a model: criteria over its cases, from an editable YAML file, and whether they hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from synthct.errors import UserError
from synthct.evaluation.images.scores import DEFINITIONS
from synthct.options import close_match, typed

WATER_EQUIVALENT = {
    "water_equivalent_me_mm": "Mean over all rays of all beam directions of the water-equivalent path, synthetic − CT.",
    "water_equivalent_mae_mm": "Mean over all rays of the absolute difference in water-equivalent path.",
    "water_equivalent_p95_mm": "95th percentile over all rays of the absolute difference in water-equivalent path.",
    "water_equivalent_max_mm": "Largest absolute difference in water-equivalent path of any ray.",
}
SCORES = {**{name: text for name, text in DEFINITIONS.items() if name != "diversity_hu"}, **WATER_EQUIVALENT}
"""Scores that a criterion may name, with their definitions."""


@dataclass(frozen=True)
class Criterion:
    """One limit on one score over the cases."""

    score: str
    statistic: Literal["mean", "median", "every", "percentile"] = "mean"
    """Over the cases; ``every``: the worst case must hold it."""
    percentile: float | None = None
    """With ``statistic: percentile``: which, 0 to 100."""
    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        if self.statistic == "every":
            text = f"{self.score} of every case"
        elif self.statistic == "percentile":
            text = f"percentile {self.percentile:g} of {self.score}"
        else:
            text = f"{self.statistic} {self.score}"
        limits = [
            f"{sign} {limit:g}" for sign, limit in (("≥", self.at_least), ("≤", self.at_most)) if limit is not None
        ]
        return f"{text} {' and '.join(limits) or 'without a limit'}"


@dataclass(frozen=True)
class WaterEquivalent:
    """How water-equivalent paths are computed."""

    quantity: Literal["stopping_power_ratio", "relative_electron_density"] = "stopping_power_ratio"
    angles: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0)
    ray_mm: float = 3.0
    """Distance of the rays."""
    table: str | None = None
    """HU to density, a CSV; a relative path counts from the tolerances' file. None: the shipped generic one."""


@dataclass(frozen=True)
class Tolerances:
    """All criteria of a commissioning."""

    criteria: tuple[Criterion, ...]
    water_equivalent: WaterEquivalent = WaterEquivalent()


@dataclass(frozen=True)
class Verdict:
    """Whether one criterion holds.

    ``passed`` is None where the score is defined in no case: it could not be judged, which is no pass.
    """

    criterion: Criterion
    value: float
    """Of the statistic; of the worst case for ``every``; NaN where it could not be judged."""
    passed: bool | None
    cases: int
    """In how many cases the score is defined."""
    worst: str
    """The case that is furthest on the wrong side."""


TEMPLATE = """\
# Tolerances of a commissioning. The limits below are examples to start from, not recommendations: every department
# sets its own, from what it accepts of its planning and of the treatments in question.
#
# score: any of those listed at the end.
# statistic: mean, median or percentile (with `percentile: 95`) over the cases, or every: each case must hold it.
# at_most, at_least: the limit, or both.
criteria:
  - {score: mae_hu, statistic: mean, at_most: 80}
  - {score: me_hu, statistic: mean, at_least: -20, at_most: 20}
  - {score: mae_hu, statistic: every, at_most: 120}
  - {score: dice_bone, statistic: mean, at_least: 0.7}
  - {score: water_equivalent_me_mm, statistic: mean, at_least: -2, at_most: 2}
  - {score: water_equivalent_p95_mm, statistic: percentile, percentile: 90, at_most: 6}

# Water-equivalent paths: synthetic CT against CT along parallel rays through the body.
water_equivalent:
  quantity: stopping_power_ratio   # protons; relative_electron_density for photons
  angles: [0, 90, 180, 270]        # IEC gantry angles of a patient head first and supine
  ray_mm: 3                        # distance of the rays
  table: null                      # your own HU to density (CSV); null: the shipped generic one
"""


def template() -> str:
    """Return a tolerances file to edit, with every score explained."""
    listed = "\n".join(f"#   {name}: {text}" for name, text in SCORES.items())
    return f"{TEMPLATE}\n# Scores:\n{listed}\n"


def read_tolerances(path: Path | str) -> Tolerances:
    """Read and check a tolerances file.

    Raises
    ------
    UserError
        Naming the file and the key: unreadable, an unknown score, a criterion without a limit, no criterion at all.
    """
    path = Path(path).expanduser()
    again = "`synthct commission --write-template FILE` writes one to edit."
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"The tolerances {path} do not exist.", todo=again) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"The tolerances {path} cannot be read.", f"{error}.", again) from error
    if not isinstance(content, Mapping):
        raise UserError(f"The tolerances {path} hold no criteria.", todo=again)
    tolerances: Tolerances = typed(Tolerances, content, str(path))
    if not tolerances.criteria:
        raise UserError(f"The tolerances {path} hold no criteria.", "Nothing would be judged.", again)
    for number, criterion in enumerate(tolerances.criteria, 1):
        _check(criterion, f"criterion {number} of {path}")
    water = tolerances.water_equivalent
    if not water.angles or not all(map(math.isfinite, water.angles)) or not 0.1 <= water.ray_mm <= 100:
        raise UserError(
            f"`water_equivalent` of {path} cannot be used.", "It needs angles, and rays 0.1 to 100 mm apart."
        )
    return tolerances


def _check(criterion: Criterion, where: str) -> None:
    if criterion.score not in SCORES:
        raise UserError(
            f"The score {criterion.score} in {where} is unknown.",
            close_match(criterion.score, SCORES),
            f"Known: {', '.join(SCORES)}.",
        )
    limits = [limit for limit in (criterion.at_least, criterion.at_most) if limit is not None]
    if not limits or not all(map(math.isfinite, limits)) or limits != sorted(limits):
        raise UserError(
            f"The limits of {where} cannot be used.", f"It asks for {criterion}.", "Give at_most, at_least or both."
        )
    if (criterion.statistic == "percentile") != (criterion.percentile is not None):
        raise UserError(f"`percentile` of {where} cannot be used.", "It belongs to `statistic: percentile`, and must.")
    if criterion.percentile is not None and not 0 <= criterion.percentile <= 100:
        raise UserError(f"`percentile` of {where} is {criterion.percentile:g}.", "It lies between 0 and 100.")


def judge(criterion: Criterion, values: Mapping[str, float]) -> Verdict:
    """Judge one criterion on its score's values by case; NaN where a score is not defined for a case."""
    defined = {case: value for case, value in values.items() if not math.isnan(value)}
    if not defined:
        return Verdict(criterion, math.nan, None, 0, "")
    worst = max(defined, key=lambda case: _excess(criterion, defined[case]))
    numbers = np.array(list(defined.values()))
    if criterion.statistic == "every":
        value = defined[worst]
    elif criterion.statistic == "percentile":
        value = float(np.percentile(numbers, criterion.percentile or 0.0))
    else:
        value = float(numbers.mean() if criterion.statistic == "mean" else np.median(numbers))
    return Verdict(criterion, value, _excess(criterion, value) <= 0, len(defined), worst)


def _excess(criterion: Criterion, value: float) -> float:
    """How far a value lies beyond the nearer limit; not above 0 where it holds."""
    beyond = [criterion.at_least - value] if criterion.at_least is not None else []
    if criterion.at_most is not None:
        beyond.append(value - criterion.at_most)
    return max(beyond)
