"""The cases that a run did not learn from, as it saw them: prepared, with the slices that count."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthct.data.cache import Volume, open_cache
from synthct.data.cohort import Cohort
from synthct.data.preparation import prepare_cohort
from synthct.data.split import Split, read_split
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.training.run_folder import RunFolder

Slabs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class HeldOut:
    """Volumes with the axial slices [start, stop) that count (None: all), and whether their MR is bias-corrected."""

    cases: list[tuple[Volume, Slabs | None]]
    corrected: bool


def held_out_of_run(path: Path | str, part: str, events: Events = SILENT) -> HeldOut:
    """Return the cases of one part of a run's split; its prepared volumes are used, or made again.

    Parameters
    ----------
    path
        A run folder, or the model folder in it.
    part
        ``validation`` or ``test``.

    Raises
    ------
    UserError
        No run there, or a split without such cases.
    """
    folder = Path(path)
    run = next((run for run in map(RunFolder, (folder, folder.parent)) if run.recipe_file.is_file()), None)
    if run is None:
        raise UserError(
            f"{path} is not in the folder of a run.",
            "Which cases it has not learned from is not known.",
            "Give such cases by --cohort.",
        )
    recipe, cohort = run.read()
    prepared = prepare_cohort(cohort, recipe.preparation, run.prepared, events)
    return _held_out(prepared, read_split(run.split_file, prepared), part, run.cache, events)


def held_out_of_cohort(cohort: Cohort, split: Split | None, part: str, events: Events = SILENT) -> HeldOut:
    """Return the cases of a cohort whose MR and CT lie on one grid: of one part of ``split``, or all without one.

    Raises
    ------
    UserError
        MR and CT of a case on different grids, no place for the cache beside them, or a split without such cases.
    """
    return _held_out(cohort, split, part, cohort.root / ".cache", events)


def _held_out(cohort: Cohort, split: Split | None, part: str, cache: Path, events: Events) -> HeldOut:
    shared = os.access(cohort.root, os.W_OK)
    volumes = open_cache(cohort, cohort.root / ".cache" if shared else cache, events)
    names = list(volumes) if split is None else [name for name in split.part(part) if name in volumes]
    if not names:
        raise UserError(
            f"There are no {part} cases.", "The split keeps none.", "Give a cohort by --cohort, or another split."
        )
    slabs = {} if split is None else split.slabs.get(part, {})
    preparation = cohort.preparation
    corrected = preparation is not None and preparation.bias_correction
    return HeldOut([(volumes[name], slabs.get(name)) for name in names], corrected)
