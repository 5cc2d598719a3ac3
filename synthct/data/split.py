"""Which cases train, which choose the model, which are scored once (row A2): by patient, or by slab where too few.

A split is drawn once, stored as ``split.json`` in the run, and holds for everything that is trained after it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from synthct.data.cohort import Case, Cohort
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.recipe import typed
from synthct.whole_file import write_whole

FORMAT = 1
PARTS = ("training", "validation", "test")
MIN_PATIENTS = 3
Slabs = dict[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Split:
    """Case ids of each part.

    ``slabs`` limits cases to axial slices [start, stop) of the prepared volume, per part and case id; it is empty
    when the split is by patient.
    """

    training: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    slabs: dict[str, Slabs] = field(default_factory=dict)
    seed: int | None = None
    """None: not drawn at random."""
    left_out: tuple[str, ...] = ()
    """Cases that could not be used and stand in no part."""

    def part(self, name: str) -> tuple[str, ...]:
        """Case ids of ``training``, ``validation`` or ``test``."""
        ids: tuple[str, ...] = getattr(self, name)
        return ids

    def without(self, cases: Collection[str]) -> Split:
        """Return the split with ``cases`` left out of every part."""
        training, validation, test = (tuple(case for case in self.part(name) if case not in cases) for name in PARTS)
        slabs = {
            part: {case: found for case, found in by_case.items() if case not in cases}
            for part, by_case in self.slabs.items()
        }
        return Split(training, validation, test, slabs, self.seed, tuple(sorted({*self.left_out, *cases})))


def split_cohort(
    cohort: Cohort,
    slices: Mapping[str, int],
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    gap: int = 2,
    events: Events = SILENT,
    stratify: Sequence[str] = ("sex", "diagnosis"),
) -> Split:
    """Split by patient; with fewer than three patients by slabs of slices, and a warning that says what that means.

    Where the manifest says the part of every case, that is the split. ``slices`` is the number of axial slices of
    every prepared case, ``stratify`` as for `split_by_patient`.

    Raises
    ------
    UserError
        Some cases have a part and others have none, a patient stands in two parts, or no case trains.
    """
    if any(case.part is not None for case in cohort.used):
        return _given_split(cohort)
    if len({case.patient_id for case in cohort.used}) >= MIN_PATIENTS:
        return split_by_patient(cohort, fractions, seed, stratify)
    events.warning(
        f"The cohort has fewer than {MIN_PATIENTS} patients, so it is split by slabs of slices.",
        "Scores on unseen slices of the same patients show that the training works, not that the model generalises.",
        "Add patients to learn how well it does on others.",
    )
    return split_by_slab({case.id: slices[case.id] for case in cohort.used}, fractions, gap)


def split_by_patient(
    cohort: Cohort,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    stratify: Sequence[str] = ("sex", "diagnosis"),
) -> Split:
    """Draw training, validation and test patients so that every stratum is spread over the parts.

    Patients are put in a row, shuffled within their stratum, and those held out are taken at even distances from it.
    A part with a fraction above 0 gets at least one patient.

    Parameters
    ----------
    fractions
        Of patients, for training, validation and test; they must add up to 1.
    stratify
        Fields of ``Case`` that define a stratum.

    Raises
    ------
    UserError
        Fractions that do not add up to 1, or fewer patients than parts.
    """
    _check_fractions(fractions)
    patients = _row_of_patients(cohort, seed, stratify)
    needed = sum(fraction > 0 for fraction in fractions)
    if len(patients) < needed:
        raise UserError(
            f"The cohort has {len(patients)} patients, too few for {needed} parts.",
            "Cases of one patient must not stand in two parts.",
            "Add patients, or split by slabs of slices.",
        )
    counts = [max(1, round(fraction * len(patients))) if fraction > 0 else 0 for fraction in fractions[1:]]
    while sum(counts) > len(patients) - (fractions[0] > 0):
        counts[int(np.argmax(counts))] -= 1
    held_out = _evenly(len(patients), sum(counts))
    order = _evenly(len(held_out), counts[0]) if len(held_out) else []
    parts = dict.fromkeys(held_out, "test") | {held_out[place]: "validation" for place in order}
    return _by_parts(cohort, {name: parts.get(place, "training") for place, name in enumerate(patients)}, seed)


def folds(
    cohort: Cohort, count: int, seed: int = 0, validation: float = 0.1, stratify: Sequence[str] = ("sex", "diagnosis")
) -> list[Split]:
    """Return ``count`` splits in which every patient is tested exactly once.

    ``validation`` is the fraction of all patients that choose the model in each fold, taken from those not tested.

    Raises
    ------
    UserError
        Fewer than two folds, too few patients for them, or cases that the manifest keeps for a part.
    """
    kept = next((case for case in cohort.used if case.part in PARTS[1:]), None)
    if kept is not None:
        raise UserError(
            f"Folds cannot be made of the cohort {cohort.root}.",
            f"It keeps the case {kept.id} for {kept.part}, and in folds every case trains.",
            "Take `part` out of the manifest, or make no folds.",
        )
    patients = _row_of_patients(cohort, seed, stratify)
    if not 2 <= count <= len(patients) or len(patients) < MIN_PATIENTS:
        raise UserError(
            f"{count} folds cannot be made of {len(patients)} patients.",
            "Each fold tests other patients than it trains on.",
            f"Ask for 2 to {len(patients)} folds of at least {MIN_PATIENTS} patients.",
        )
    splits = []
    for fold in range(count):
        rest = [place for place in range(len(patients)) if place % count != fold]
        chosen = max(1, round(validation * len(patients))) if validation > 0 else 0
        chosen = min(chosen, len(rest) - 1)
        validating = {rest[(place + fold) % len(rest)] for place in _evenly(len(rest), chosen)}
        parts = {
            name: "test" if place % count == fold else "validation" if place in validating else "training"
            for place, name in enumerate(patients)
        }
        splits.append(_by_parts(cohort, parts, seed))
    return splits


def split_by_slab(slices: Mapping[str, int], fractions: Sequence[float] = (0.8, 0.1, 0.1), gap: int = 2) -> Split:
    """Keep a slab of neighbouring axial slices of every case for validation and one for the test.

    Training slices keep a distance: ``gap`` slices on either side of a slab belong to no part. (No part sees slices of
    another as 2.5D neighbours in any case.)

    Parameters
    ----------
    slices
        Case id → number of axial slices.

    Raises
    ------
    UserError
        A case has too few slices.
    """
    _check_fractions(fractions)
    slabs: dict[str, Slabs] = {part: {} for part in PARTS}
    for name, count in slices.items():
        lengths = [max(1, round(fraction * count)) if fraction > 0 else 0 for fraction in fractions[1:]]
        starts = [round(0.3 * count) - lengths[0] // 2, round(0.6 * count) - lengths[1] // 2]
        held_out = [(start, start + length) for start, length in zip(starts, lengths, strict=True) if length]
        edges = [0, *(edge for start, stop in held_out for edge in (start - gap, stop + gap)), count]
        training = [(edges[n], edges[n + 1]) for n in range(0, len(edges), 2) if edges[n + 1] > edges[n]]
        if not training or edges[1] < 1 or any(a > b for a, b in zip(edges[1:-1:2], edges[2:-1:2], strict=True)):
            raise UserError(
                f"The case {name} has {count} slices, too few to keep slabs for validation and test.",
                todo="Add cases, or ask for smaller parts.",
            )
        slabs["training"][name] = tuple(training)
        for part, length in zip(PARTS[1:], lengths, strict=True):
            if length:
                slabs[part][name] = (held_out.pop(0),)
    parts = [tuple(slabs[part]) for part in PARTS]
    return Split(parts[0], parts[1], parts[2], {part: found for part, found in slabs.items() if found})


def write_split(split: Split, path: Path | str) -> None:
    """Write the split as JSON, whole or not at all; an older file is replaced."""
    path = Path(path)
    try:
        write_whole(path, json.dumps({"format": FORMAT, **dataclasses.asdict(split)}, indent=1, ensure_ascii=False))
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error


def read_split(path: Path | str, cohort: Cohort | None = None) -> Split:
    """Read a split and, with ``cohort``, check that it fits.

    Raises
    ------
    UserError
        Unreadable file, a case that the cohort lacks, a case or patient that stands in two parts.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        stored_format = content.pop("format", FORMAT)
        slabs = content.pop("slabs", {})
        split: Split = typed(Split, content, str(path))
        slabs = {
            part: {name: tuple((int(start), int(stop)) for start, stop in found) for name, found in cases.items()}
            for part, cases in slabs.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"The split {path} cannot be read.", f"{error}.", "It must be the split.json of a run."
        ) from error
    if stored_format > FORMAT:
        raise UserError(f"The split {path} is of format {stored_format}.", f"This version reads up to {FORMAT}.")
    split = dataclasses.replace(split, slabs=slabs)
    if cohort is not None:
        _check_against(split, cohort, Path(path))
    return split


def _check_against(split: Split, cohort: Cohort, path: Path) -> None:
    known = {case.id: case for case in cohort}
    where: dict[str, str] = {}
    for part in PARTS:
        for name in split.part(part):
            if name not in known:
                raise UserError(f"The split {path} names the case {name}.", "The cohort does not hold it.")
            patient = known[name].patient_id
            if where.setdefault(patient, part) != part and name not in split.slabs.get(part, {}):
                raise UserError(
                    f"The split {path} puts the patient {patient} into {where[patient]} and {part}.",
                    "Scores would then be too good.",
                    "Keep all cases of a patient in one part.",
                )


def _given_split(cohort: Cohort) -> Split:
    """Return the split that the manifest says."""
    part_of: dict[str, str] = {}
    for case in cohort.used:
        if case.part is None:
            raise UserError(
                f"The case {case.id} of the cohort {cohort.root} has no part.",
                "Others are kept for training, validation or test.",
                "Give every case its `part`, or none.",
            )
        if part_of.setdefault(case.patient_id, case.part) != case.part:
            raise UserError(
                f"The cohort {cohort.root} puts the patient {case.patient_id} into {part_of[case.patient_id]} and "
                f"{case.part}.",
                "Scores would then be too good.",
                "Keep all cases of a patient in one part.",
            )
    if "training" not in part_of.values():
        raise UserError(f"No case of the cohort {cohort.root} is kept for training.", todo="Change their `part`.")
    ids = {part: tuple(case.id for case in cohort.used if case.part == part) for part in PARTS}
    return Split(ids["training"], ids["validation"], ids["test"])


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != len(PARTS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] <= 0:
        raise UserError(
            f"The fractions {tuple(fractions)} do not divide a cohort.",
            "Three numbers for training, validation and test that add up to 1 are needed.",
        )


def _row_of_patients(cohort: Cohort, seed: int, stratify: Sequence[str]) -> list[str]:
    """Return the patients ordered by stratum, in a random order within it and of the strata."""
    strata: dict[tuple[str, ...], set[str]] = {}
    placed: set[str] = set()
    for case in cohort.used:
        if case.patient_id not in placed:
            strata.setdefault(_stratum(case, stratify), set()).add(case.patient_id)
            placed.add(case.patient_id)
    random = np.random.default_rng(seed)
    keys = sorted(strata)
    return [
        name
        for number in random.permutation(len(keys))
        for name in random.permutation(np.array(sorted(strata[keys[number]]), dtype=object))
    ]


def _stratum(case: Case, stratify: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(getattr(case, name) or "").strip().casefold() for name in stratify)


def _evenly(length: int, count: int) -> list[int]:
    """Return ``count`` places spread evenly over a row of ``length``."""
    return [int((number + 0.5) * length / count) for number in range(count)]


def _by_parts(cohort: Cohort, part_of: Mapping[str, str], seed: int) -> Split:
    ids = {part: tuple(c.id for c in cohort.used if part_of[c.patient_id] == part) for part in PARTS}
    return Split(ids["training"], ids["validation"], ids["test"], seed=seed)
