"""The recipe of a segmentation experiment: which data sets, which arms, how each network is trained and tested.

A recipe names cohorts and folders of made-up volumes, and the *arms* that are compared: each a choice of training cases
(rows B10, C14). How networks are trained is the same for all of them.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from synthct.errors import UserError
from synthct.options import close_match, typed
from synthct.overrides import override
from synthct.recipe import plain_yaml
from synthct.training.segmentation.settings import SegmentationTraining

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
UNKNOWN = "unknown"
"""In place of a run: it is not known what the model that made a set was trained on."""
CASES, ROOT = "cases.json", "root"
"""What an experiment writes of its cases, and its key of the folder that the recipe's relative paths start from."""
Count = int | Literal["all"]


@dataclass(frozen=True)
class DataSet:
    """CTs with masks of their lesions."""

    path: str
    """``cohort.json``, or a folder with one, as `synthct cohort`, `dataset` and `generate` write it; from the recipe's
    own folder."""
    gan: str | None = None
    """Of a synthetic set: the run folder of the model that made it, whose training cases must not be tested on; or
    ``unknown``, which the report then says. None: the images are real."""


@dataclass(frozen=True)
class Test:
    """What every arm is tested on; these cases, and all others of their patients, train nothing."""

    __test__ = False  # not a class of tests

    set: str
    """Name of a data set."""
    part: str | None = None
    """The cases that the manifest keeps for this part (``test``)."""
    split: str | None = None
    """A run's ``split.json`` (or run folder): its test cases, so that one split holds for the GAN and all arms."""
    cases: tuple[str, ...] = ()
    """Ids."""
    share: float | None = None
    """So many of the set's patients, drawn by the recipe's seed. Nothing of all these: the whole set."""

    def __post_init__(self) -> None:
        given = [name for name in ("part", "split", "cases", "share") if getattr(self, name) not in (None, ())]
        if len(given) > 1:
            raise UserError(f"The recipe's `test` has {' and '.join(given)}.", todo="Give one of them.")
        if self.share is not None and not 0 < self.share < 1:
            raise UserError(f"The recipe's `test.share` cannot be {self.share:g}.", todo="Give a number below 1.")


@dataclass(frozen=True)
class Then:
    """A second training that starts from the first one's weights: fine-tuning."""

    sources: dict[str, Count]
    iterations: int | None = None
    """None: as in the first."""
    lr: float | None = None
    """Learning rate; None: as in the first."""


@dataclass(frozen=True)
class Adapt:
    """Adversarial domain adaptation (row D4): features that do not tell the sources from the target."""

    target: dict[str, Count]
    """Sets of which the images alone are used, without their masks."""
    weight: float = 0.1
    """Of the reversed gradient at the end of the training."""

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise UserError(f"`weight` of domain adaptation cannot be {self.weight:g}.", todo="Give a number above 0.")


@dataclass(frozen=True)
class Arm:
    """One way to choose training cases.

    Each set has one order that follows from the seed; an arm takes its first cases, so that a smaller number is a
    subset of every larger one.
    """

    name: str
    sources: dict[str, Count]
    """Set → how many cases, or ``all``."""
    then: Then | None = None
    adapt: Adapt | None = None
    ensemble: int | None = None
    """Train so many of the folds; None: all."""

    def __post_init__(self) -> None:
        if not self.name or any(character in '/\\:*?"<>|,' for character in self.name) or self.name.startswith("."):
            raise UserError(f"The arm {self.name!r} cannot be a folder's name.", todo="Use letters, digits, - and _.")
        every = [
            self.sources,
            *([self.then.sources] if self.then else []),
            *([self.adapt.target] if self.adapt else []),
        ]
        for sources in every:
            wrong = {name: count for name, count in sources.items() if count != "all" and typing.cast(int, count) < 1}
            if wrong or not sources:
                raise UserError(f"The arm {self.name} cannot take {sources}.", todo="Give sets with 1 or more, or all.")


@dataclass(frozen=True)
class Shares:
    """Arms with the same number of cases, of which a rising share is synthetic (row B10)."""

    name: str
    """The arms are called NAME_0, NAME_25, ... by percent."""
    real: str
    synthetic: str
    total: int
    steps: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)

    def arms(self) -> tuple[Arm, ...]:
        """Return one arm for each step."""
        made = []
        for step in self.steps:
            if not 0 <= step <= 1:
                raise UserError(f"The share {step:g} of {self.name} is none.", todo="Give numbers between 0 and 1.")
            synthetic = round(step * self.total)
            counts: dict[str, Count] = {self.real: self.total - synthetic, self.synthetic: synthetic}
            sources = {name: count for name, count in counts.items() if count}
            made.append(Arm(f"{self.name}_{round(100 * step)}", sources))
        return tuple(made)


@dataclass(frozen=True)
class ExperimentRecipe:
    """One experiment in full."""

    name: str
    source: str
    """Where the numbers come from."""
    sets: dict[str, DataSet]
    test: Test
    training: SegmentationTraining
    baseline: str
    """The arm that all others are compared with."""
    arms: tuple[Arm, ...] = ()
    shares: tuple[Shares, ...] = ()
    folds: int = 1
    """1: every case trains, and the last weights are kept. More: each network is validated on one part of the patients
    and trained on the others, and the test cases get the mean of all."""
    seed: int = 0

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.all_arms]
        if len({name.casefold() for name in names}) < len(names):
            raise UserError("Two arms of the recipe have one name.", f"They are {', '.join(names)}.")
        if self.baseline not in names:
            raise UserError(
                f"The recipe's baseline {self.baseline} is no arm.", close_match(self.baseline, names),
                f"There are {', '.join(names) or 'none'}.",
            )  # fmt: skip
        if self.folds < 1 or self.seed < 0:
            raise UserError("The recipe's `folds` must be 1 or more and its `seed` 0 or more.", todo="Correct it.")
        for arm in self.all_arms:
            used = {*arm.sources, *(arm.then.sources if arm.then else ()), *(arm.adapt.target if arm.adapt else ())}
            for name in [*used, self.test.set]:
                if name not in self.sets:
                    raise UserError(
                        f"There is no set {name}, which the arm {arm.name} or the test wants.",
                        close_match(name, self.sets),
                        f"The recipe has {', '.join(self.sets)}.",
                    )
            if arm.ensemble is not None and not 1 <= arm.ensemble <= self.folds:
                raise UserError(
                    f"The arm {arm.name} has an ensemble of {arm.ensemble}.", f"There are {self.folds} folds."
                )

    @property
    def all_arms(self) -> tuple[Arm, ...]:
        """Those that are written out, then those of the shares."""
        return (*self.arms, *(arm for shares in self.shares for arm in shares.arms()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON/YAML values, every default written out."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def experiment_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def load_experiment(name_or_path: str, overrides: Mapping[str, str] | None = None) -> tuple[ExperimentRecipe, Path]:
    """Read a recipe, and return it with the folder that its relative paths start from.

    For one that comes with the package that is the working folder; for the one that an experiment keeps in its own
    folder, where the recipe lay that it was begun with.

    Parameters
    ----------
    overrides
        Dotted key → YAML text, as for `synthct.recipe.load_recipe`.

    Raises
    ------
    UserError
        Unknown name, unreadable file, unknown key or a value of the wrong type; the message names it.
    """
    path = Path(name_or_path).expanduser()
    packaged = path.suffix not in (".yaml", ".yml")
    if packaged:
        path = EXPERIMENTS / f"{name_or_path}.yaml"
    if not path.is_file():
        known = experiment_names()
        raise UserError(
            f"There is no recipe {name_or_path}.",
            close_match(name_or_path, known),
            f"Give a YAML file, or one of {', '.join(known)}.",
        )
    try:
        content = plain_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"The recipe {path} cannot be read.", f"{error}.", "Correct the file.") from error
    if not isinstance(content, dict):
        raise UserError(f"The recipe {path} is not a list of keys and values.", todo="Copy one that comes along.")
    for key, text in (overrides or {}).items():
        override(content, ExperimentRecipe, key, plain_yaml(text))
    recipe: ExperimentRecipe = typed(ExperimentRecipe, content, str(path))
    return recipe, Path.cwd() if packaged else _root(path.resolve().parent)


def _root(folder: Path) -> Path:
    """Where the relative paths of a recipe in ``folder`` start."""
    try:
        return Path(json.loads((folder / CASES).read_text(encoding="utf-8"))[ROOT])
    except (OSError, ValueError, KeyError, TypeError):  # it lies in no experiment's folder
        return folder
