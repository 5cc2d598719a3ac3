"""A data set for the training of segmentation networks: cubes of label maps, nodules planted, CTs by a model (row B9).

Volume n depends on the seed and n alone: any number of processes, in any order and after any number of interruptions,
make the same bytes of it. (On a GPU the same device and driver are part of that.) So that each case is read once,
volumes are made case by case.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from synthct.data.cohort import Case
from synthct.data.fingerprint import fingerprint
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.classes import ClassTable, read_class_table
from synthct.labels.dataset_cubes import Plan
from synthct.labels.dataset_sources import Sources
from synthct.labels.label_files import table_beside
from synthct.locks import share_lock
from synthct.recipe import LABEL_TASK
from synthct.synthesis.cohort_synthesis import own_device
from synthct.synthesis.dataset.folder import MOST_VOLUMES, RECORDS, DatasetFolder, volume_name
from synthct.synthesis.dataset.maker import Ingredients, Made, Maker, one_thread, running
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.rank import Rank
from synthct.volumes.geometry import array_of

_NAMED = 5
_MOST_WORKERS = 8
_VOLUMES_PER_WORKER = 4
"""A process is started for at least so many volumes: it takes seconds to come up."""


def make_dataset(
    model: Model | Path | str,
    sources: Sources,
    folder: Path | str,
    count: int,
    plan: Plan,
    table: ClassTable | None = None,
    planes: Sequence[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    events: Events = SILENT,
    rank: Rank | None = None,
) -> Path:
    """Make ``count`` volumes in ``folder`` (`synthct.synthesis.dataset.folder`); finished ones are left as they are.

    Where a case has no cube that satisfies the constraints (`synthct.labels.dataset_cubes.draw_cube`), a warning names
    case and constraints, once, and another case is drawn.

    Parameters
    ----------
    model
        That makes a CT of a label map.
    sources
        Cases and templates, those of the test left out.
    table, planes
        See `Ingredients`.
    device
        Of several processes of a rank each takes a GPU of its own.
    workers
        Processes on this machine; several need a model from a file. None: one on a GPU, on the CPU as many as cores,
        at most 8.
    events
        Hears progress in volumes, warnings, and last the result.
    rank
        Which of several processes this is, of which each makes every n-th volume; None: the only one.

    Returns
    -------
    Path
        The manifest; not there yet where other processes are still at work.

    Raises
    ------
    UserError
        A model for something else, no templates where nodules are wanted, a count that is none, a folder that was made
        otherwise, another process at the same share, or no case with a cube for a volume. What is finished is kept.
    """
    rank = rank or Rank()
    model = model if isinstance(model, Model) else load_model(model)
    _check(model, sources, count, plan, workers)
    given = Ingredients(sources.cases, sources.templates, plan, table, tuple(planes) if planes else None)
    classes = table or _classes(sources.cases)
    chosen = own_device(device, rank)
    place = DatasetFolder(folder)
    place.claim(_settings(model, sources, given), count)
    own = range(rank.number, count, rank.world)
    with share_lock(place.root / RECORDS, rank.number, rank.world):
        place.clear(own)
        todo = [index for index in own if not place.finished(index)]
        maker = Maker(model, given, place, chosen)
        processes = workers or _fitting(model, chosen, len(todo), rank)
        try:
            with one_thread(chosen):
                _make_all(todo, len(own), maker, min(processes, max(1, len(todo))), events)
        except BaseException:  # cancelled or failed: what is done can be used
            with suppress(UserError, OSError):
                place.join(count, classes, partly=True)
            raise
    whole = place.join(count, classes)
    manifest = str(place.manifest.absolute()) if whole else None
    events.result(output=str(place.root.absolute()), manifest=manifest, volumes=len(own))
    return place.manifest


def _check(model: Model, sources: Sources, count: int, plan: Plan, workers: int | None) -> None:
    if model.card.get("task", "mr-to-ct") != LABEL_TASK or model.input_scaling.classes is None:
        raise UserError(
            f"The model {model.card['name']} makes no CT of a label map.",
            f"Its task is {model.card.get('task', 'mr-to-ct')}.",
            f"Choose a model that was trained for {LABEL_TASK}.",
        )
    if not 1 <= count <= MOST_VOLUMES:
        raise UserError(f"{count} volumes cannot be made.", f"1 to {MOST_VOLUMES} are possible.")
    if workers is not None and workers < 1:
        raise UserError(f"{workers} processes cannot work.", "At least one is needed.")
    if plan.with_nodule > 0 and not sources.templates:
        raise UserError(
            "There is no template to plant.",
            f"{plan.with_nodule:.0%} of the volumes shall have nodules.",
            "Give a library with templates, or --with-nodule 0.",
        )


def _settings(model: Model, sources: Sources, given: Ingredients) -> dict[str, Any]:
    """What a folder's volumes have in common, as plain values; nothing in it depends on where files lie."""
    plan = dataclasses.asdict(given.plan)
    rule = plan.pop("rule")
    renamed = {
        "templates": "templates_per_volume",
        "rotation": "rotate",
        "elastic_mm": "elastic",
        "context_mm": "context",
    }
    options = {renamed.get(key, key): value for key, value in plan.items()}
    options |= {"on": rule["classes"], "share": rule["share"], "surface": rule["surface_mm"]}
    options |= {"regions": rule["region_share"], "planes": given.planes}
    labels = [case.labels for case in sources.cases]
    masks = [case.mask for case in sources.cases]
    shapes = [hashlib.sha256(array_of(template.shape).tobytes()).hexdigest() for template in sources.templates]
    spacings = [list(template.shape.GetSpacing()) for template in sources.templates]
    names = [template.name for template in sources.templates]
    ids = [case.id for case in sources.cases]
    return {
        **options,
        "table": None if given.table is None else given.table.to_dict(),
        "model": {"name": model.card["name"], "weights_sha256": model.card.get("weights_sha256")},
        "cohort": {"cases": ids, "fingerprint": fingerprint([*labels, *masks], ids)},
        "library": {"templates": names, "fingerprint": fingerprint([], [names, shapes, spacings])},
        "left_out": {"cases": sources.cases_left_out, "templates": sources.templates_left_out},
    }


def _make_all(todo: Sequence[int], total: int, maker: Maker, processes: int, events: Events) -> None:
    """Make volumes case by case; those whose case has no cube for them come again with the next case of their order."""
    plan, cases = maker.given.plan, maker.given.cases
    done = total - len(todo)
    events.progress(done, total, "volumes")
    pending = [(index, 0) for index in todo]
    failures: dict[int, list[str]] = {}
    told: set[str] = set()
    size = "×".join(map(str, plan.size))
    with running(maker, processes) as run:
        while pending:
            pending.sort(key=lambda job: (plan.case_order(job[0], len(cases))[job[1]], job[0]))
            again = []
            for outcome in run(pending):
                if isinstance(outcome, Made):
                    done += 1
                    for warning in outcome.warnings:
                        if warning["what"] not in told:
                            told.add(warning["what"])
                            events.warning(**warning)
                    events.progress(done, total, "volumes", volume_name(outcome.index))
                    continue
                none = outcome.none
                if none.case not in told:
                    told.add(none.case)
                    events.warning(
                        f"The case {none.case} has no cube of {size} voxels for {volume_name(outcome.index)}.",
                        f"{none.why[0].upper()}{none.why[1:]}.",
                        "Another case is drawn.",
                    )
                failures.setdefault(outcome.index, []).append(f"{none.case}: {none.why}")
                if outcome.attempt + 1 == len(cases):
                    raise UserError(
                        f"{volume_name(outcome.index)} cannot be made: no case has such a cube of {size} voxels.",
                        f"{'; '.join(failures[outcome.index][:_NAMED])}{'; …' if len(cases) > _NAMED else ''}.",
                        "Ask for smaller volumes, less lung or smaller nodules, or for more --draws.",
                    )
                again.append((outcome.index, outcome.attempt + 1))
            pending = again


def _fitting(model: Model, device: torch.device, volumes: int, rank: Rank) -> int:
    """How many processes are worth starting; each loads the model for itself."""
    if device.type != "cpu" or model.folder is None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // rank.local_world, _MOST_WORKERS, volumes // _VOLUMES_PER_WORKER))


def _classes(cases: Sequence[Case]) -> ClassTable:
    """Return what the classes of the label maps are, by the logs beside them; those without a log go along."""
    tables = {case.id: table for case in cases if case.labels and (table := table_beside(case.labels)) is not None}
    first = next(iter(tables), "")
    for name, table in tables.items():
        if _meaning(table) != _meaning(tables[first]):
            raise UserError(
                f"The label maps of the cases {first} and {name} have different classes.",
                f"Their tables are {tables[first].name} and {table.name}.",
                "Make all label maps with one table.",
            )
    return tables[first] if tables else read_class_table()


def _meaning(table: ClassTable) -> set[tuple[int, str, str]]:
    return {(entry.index, entry.name, entry.source) for entry in table.classes}
