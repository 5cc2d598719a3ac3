"""Which cases train each arm of an experiment, in which order, and which are tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthct.data.cohort import Case, read_cohort
from synthct.data.split import read_split
from synthct.errors import UserError
from synthct.events import Events
from synthct.studies.segmentation.recipe import Count, DataSet, ExperimentRecipe


@dataclass(frozen=True)
class LesionCase:
    """One CT with the mask of its lesions."""

    set: str
    id: str
    patient: str
    ct: Path
    mask: Path
    series: str | None = None

    @property
    def key(self) -> str:
        """Unique in the experiment."""
        return f"{self.set}/{self.id}"


@dataclass(frozen=True)
class Cases:
    """Test cases, and what may train, by set and in the set's order."""

    test: tuple[LesionCase, ...]
    pools: Mapping[str, tuple[LesionCase, ...]]


@dataclass(frozen=True)
class FoldCases:
    """What one network of an arm learns from and is chosen by."""

    training: tuple[LesionCase, ...]
    validation: tuple[LesionCase, ...] = ()


def find_cases(recipe: ExperimentRecipe, root: Path, events: Events) -> Cases:
    """Read every set of the recipe and set the test cases apart.

    The test's own set gives up all cases of the test's patients; whether other sets know them is another question
    (`synthct.studies.segmentation.leaks`).

    Raises
    ------
    UserError
        A set that cannot be read, a case without a mask of lesions, or no test case.
    """
    every = {name: _read(name, entry, root) for name, entry in recipe.sets.items()}
    test = _test_cases(recipe, root, every[recipe.test.set])
    if not test:
        raise UserError(
            f"The set {recipe.test.set} has no test cases.", "Nothing could be scored.", "Correct the recipe's `test`."
        )
    held_out = {case.patient for case in test}
    pools = {}
    for name, cases in every.items():
        kept = [case for case in cases if name != recipe.test.set or case.patient not in held_out]
        pools[name] = tuple(sorted(kept, key=lambda case: _place(recipe.seed, case)))
        left_out = len(cases) - len(kept) - (len(test) if name == recipe.test.set else 0)
        if left_out:
            events.warning(
                f"{left_out} cases of {name} train nothing, although they are not tested on.",
                "They show patients of the test.",
            )
    return Cases(tuple(sorted(test, key=lambda case: case.id)), pools)


def chosen(arm: str, sources: Mapping[str, Count], cases: Cases) -> tuple[LesionCase, ...]:
    """Return the first cases of each set's order.

    Raises
    ------
    UserError
        A set has too few.
    """
    found: list[LesionCase] = []
    for name, count in sources.items():
        pool = cases.pools[name]
        if count != "all" and count > len(pool):
            raise UserError(
                f"The arm {arm} wants {count} cases of {name}, which has {len(pool)} to train on.",
                todo="Give fewer, or add cases.",
            )
        found += pool if count == "all" else pool[:count]
    return tuple(found)


def in_folds(cases: Sequence[LesionCase], folds: int) -> list[FoldCases]:
    """Part cases into training and validation, ``folds`` times; a patient's cases stay together.

    Every set is spread evenly over the folds, in its order: what an arm with more cases adds changes nothing for the
    others.

    Raises
    ------
    UserError
        Fewer patients than folds.
    """
    if folds == 1:
        return [FoldCases(tuple(cases))]
    fold_of: dict[str, int] = {}
    next_fold: dict[str, int] = {}
    for case in cases:
        if case.patient not in fold_of:
            fold_of[case.patient] = next_fold.get(case.set, 0) % folds
            next_fold[case.set] = next_fold.get(case.set, 0) + 1
    if len(set(fold_of.values())) < folds:
        raise UserError(
            f"{len(fold_of)} patients cannot be parted into {folds} folds.", todo="Give fewer folds or more cases."
        )
    parts = [[case for case in cases if fold_of[case.patient] == fold] for fold in range(folds)]
    return [
        FoldCases(tuple(case for case in cases if fold_of[case.patient] != fold), tuple(part))
        for fold, part in enumerate(parts)
    ]


def _read(name: str, entry: DataSet, root: Path) -> list[LesionCase]:
    cohort = read_cohort(root / Path(entry.path).expanduser())
    return [_case(name, case) for case in cohort.used]


def _case(name: str, case: Case) -> LesionCase:
    if case.mask is None or case.kind != "image":
        why = "It has none." if case.mask is None else f"It has a {case.kind}, and its mask is that of the body."
        raise UserError(
            f"The case {case.id} of the set {name} has no mask of its lesions.",
            why,
            "Give a cohort of CTs, each with `ct` and `mask` alone; an empty mask where there is no lesion.",
        )
    return LesionCase(name, case.id, case.patient_id, case.ct, case.mask, case.ct_series)


def _test_cases(recipe: ExperimentRecipe, root: Path, cases: Sequence[LesionCase]) -> list[LesionCase]:
    test = recipe.test
    if test.share is not None:
        patients = sorted({case.patient for case in cases}, key=lambda name: _digest(recipe.seed, f"test {name}"))
        drawn = set(patients[: max(1, round(test.share * len(patients)))])
        return [case for case in cases if case.patient in drawn]
    ids = {case.id for case in cases}
    if test.part is not None:
        cohort = read_cohort(root / Path(recipe.sets[test.set].path).expanduser())
        ids = {case.id for case in cohort if case.part == test.part}
    elif test.split is not None:
        path = root / Path(test.split).expanduser()
        ids = set(read_split(path / "split.json" if path.is_dir() else path).test)
    elif test.cases:
        ids = set(test.cases)
    unknown = sorted(ids - {case.id for case in cases})
    if unknown and test.part is None:
        raise UserError(
            f"The test case {unknown[0]} is not in the set {test.set}.",
            f"{len(unknown)} of {len(ids)} are missing.",
            "Correct the recipe's `test`.",
        )
    return [case for case in cases if case.id in ids]


def _place(seed: int, case: LesionCase) -> str:
    """Return what a set is sorted by: it depends on the case and the seed, and not on the other cases."""
    return _digest(seed, case.id)


def _digest(seed: int, text: str) -> str:
    return hashlib.blake2b(f"{seed} {text}".encode(), digest_size=16).hexdigest()


def with_counts(cases: Sequence[LesionCase]) -> dict[str, int]:
    """Return how many cases come from each set."""
    names = dict.fromkeys(case.set for case in cases)
    return {name: sum(case.set == name for case in cases) for name in names}
