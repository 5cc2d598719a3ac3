"""A data set for the training of segmentation networks: cubes of label maps, nodules planted, CTs by a model (row B9).

Volume n depends on the seed and n alone: any number of processes, in any order and after any number of interruptions,
make the same bytes of it. (On a GPU the same device and driver are part of that.) So that each case is read once,
volumes are made case by case. On the CPU every process computes with one thread, since sums over threads would depend
on their number; several processes (``workers``) use the cores.
"""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from synthct.data.cohort import Case
from synthct.data.fingerprint import fingerprint
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.classes import ClassTable, read_class_table
from synthct.labels.dataset_cubes import Cube, NoCube, Plan, Source, draw_cube
from synthct.labels.dataset_sources import Sources
from synthct.labels.label_files import table_beside
from synthct.labels.templates import Template
from synthct.locks import FolderLock
from synthct.recipe import LABEL_TASK
from synthct.synthesis.cohort_synthesis import own_device
from synthct.synthesis.dataset_folder import RECORDS, DatasetFolder, volume_name
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.rank import Rank
from synthct.synthesis.translate import translate
from synthct.volumes.geometry import array_of

MOST_VOLUMES = 100_000
_MOST_WORKERS = 8
_VOLUMES_PER_WORKER = 4
"""A process is started for at least so many volumes: it takes seconds to come up."""


@dataclass(frozen=True)
class Ingredients:
    """What a volume is made with beside its plan.

    Attributes
    ----------
    cases, templates
        That may be used.
    plan
        What each volume shall be.
    table
        Classes of the label maps; None: see `synthct.labels.dataset_cubes.Source`.
    planes
        None: the first plane that the model was trained on.
    """

    cases: tuple[Case, ...]
    templates: tuple[Template, ...]
    plan: Plan
    table: ClassTable | None = None
    planes: tuple[str, ...] | None = None


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
    """Make ``count`` volumes in ``folder`` (`synthct.synthesis.dataset_folder`); finished ones are left as they are.

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
        Processes on this machine. None: one on a GPU, on the CPU as many as cores, at most 8.
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
    with FolderLock(place.root / RECORDS / f"process{rank.number}of{rank.world}"):
        place.clear(own)
        todo = [index for index in own if not place.finished(index)]
        maker = _Maker(model, given, place, chosen)
        processes = workers or _fitting(chosen, len(todo), rank)
        try:
            with _one_thread(chosen):
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
    renamed = {"templates": "templates_per_volume", "rotation": "rotate", "elastic_mm": "elastic"}
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


@dataclass(frozen=True)
class _Failed:
    """A case gave no cube; what a network said is in the warnings of `_Made`."""

    index: int
    attempt: int
    why: NoCube


@dataclass(frozen=True)
class _Made:
    index: int
    warnings: tuple[Mapping[str, str], ...]


class _Maker:
    """Makes one volume after the other with one loaded model, and keeps the last case that was read."""

    def __init__(self, model: Model, given: Ingredients, place: DatasetFolder, device: torch.device) -> None:
        self.model = model
        self.given = given
        self.place = place
        self.device = device
        self.source: Source | None = None

    def make(self, index: int, attempt: int) -> _Made | _Failed:
        """Make volume ``index`` from the case that is the ``attempt``-th in its order."""
        plan = self.given.plan
        order = plan.case_order(index, len(self.given.cases))
        case = self.given.cases[order[attempt]]
        if self.source is None or self.source.case.id != case.id:
            self.source = None  # never two of them in memory
            self.source = Source(case, plan.rule, self.given.table)
        cube = draw_cube(self.source, plan, self.given.templates, index, attempt)
        if isinstance(cube, NoCube):
            return _Failed(index, attempt, cube)
        return _Made(index, self._write(cube, index, [self.given.cases[place].id for place in order[:attempt]]))

    def _write(self, cube: Cube, index: int, given_up: list[str]) -> tuple[Mapping[str, str], ...]:
        heard: list[Mapping[str, str]] = []

        def hear(event: dict[str, Any]) -> None:
            if event["kind"] == "warning":
                heard.append({key: event[key] for key in ("what", "why", "todo")})

        assert self.source is not None
        card = self.model.card
        seed = [self.given.plan.seed, index]
        torch.manual_seed(seed[0] * MOST_VOLUMES + index)
        planes = self.given.planes or tuple([*card.get("planes", []), "axial"][:1])
        mask = cube.body if self.source.has_outside or card.get("body_only") else None
        name = f"{volume_name(index)} of case {cube.facts['case']}"
        ct = translate(cube.labels, self.model, planes, mask, self.device, events=Events(listener=hear), name=name)
        made = {"name": card["name"], "weights_sha256": card.get("weights_sha256")}
        facts = {**cube.facts, "seed": seed, "given_up": given_up, "model": made}
        sources = {template.name: template.facts.get("source") for template in self.given.templates}
        facts["nodules"] = [{**entry, "source": sources[entry["template"]]} for entry in facts["nodules"]]
        self.place.write(index, {"image": ct, "labels": cube.labels, "mask": cube.mask}, facts)
        return tuple(heard)


def _make_all(todo: Sequence[int], total: int, maker: _Maker, processes: int, events: Events) -> None:
    """Make volumes case by case; those whose case has no cube for them come again with the next case of their order."""
    plan, cases = maker.given.plan, maker.given.cases
    done = total - len(todo)
    events.progress(done, total, "volumes")
    pending = [(index, 0) for index in todo]
    failures: dict[int, list[str]] = {}
    told: set[str] = set()
    with _workers(maker, processes) as run:
        while pending:
            pending.sort(key=lambda job: (plan.case_order(job[0], len(cases))[job[1]], job[0]))
            again = []
            for outcome in run(pending):
                if isinstance(outcome, _Made):
                    done += 1
                    for warning in outcome.warnings:
                        if warning["what"] not in told:
                            told.add(warning["what"])
                            events.warning(**warning)
                    events.progress(done, total, "volumes", volume_name(outcome.index))
                    continue
                why = outcome.why
                if why.case not in told:
                    told.add(why.case)
                    events.warning(
                        f"No cube of the case {why.case} was found for {volume_name(outcome.index)}.",
                        f"Of {sum(why.broken.values())} drawn none met every constraint: {_counts(why)}.",
                        "Another case is drawn.",
                    )
                failures.setdefault(outcome.index, []).append(f"{why.case}: {_counts(why)}")
                if outcome.attempt + 1 == len(cases):
                    raise UserError(
                        f"{volume_name(outcome.index)} cannot be made: no case has a cube that meets every constraint.",
                        f"How often each was broken: {'; '.join(failures[outcome.index][:5])}.",
                        "Ask for smaller volumes, less lung or smaller nodules, or for more --draws.",
                    )
                again.append((outcome.index, outcome.attempt + 1))
            pending = again


def _counts(why: NoCube) -> str:
    return ", ".join(f"{name} {count}" for name, count in why.broken.items())


@contextmanager
def _workers(maker: _Maker, processes: int) -> Iterator[Any]:
    """Give what runs jobs (index, attempt) and yields their outcomes: in this process, or in several."""
    if processes == 1:

        def here(jobs: Sequence[tuple[int, int]]) -> Iterator[_Made | _Failed]:
            for job in jobs:
                yield maker.make(*job)

        yield here
        return
    if maker.model.folder is None:
        raise ValueError("several processes need a model from a file")
    context = multiprocessing.get_context("spawn")
    receiving, kept = context.Pipe(duplex=False)  # closed when this process ends, however it does
    arguments = (maker.model.folder, maker.given, maker.place.root, str(maker.device), receiving)
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=arguments)

    def there(jobs: Sequence[tuple[int, int]]) -> Iterator[_Made | _Failed]:
        for future in as_completed([pool.submit(_work, *job) for job in jobs]):
            yield future.result()

    try:
        yield there
        pool.shutdown()
    except BrokenProcessPool as error:
        raise UserError(
            "One of the processes that make volumes was ended.",
            "Most often memory had run out.",
            "Give the same command again with fewer --workers: what is finished is kept.",
        ) from error
    finally:
        kept.close()  # ends processes that are still at work
        pool.shutdown(wait=False, cancel_futures=True)


_maker: _Maker | None = None
"""Of a worker process."""


def _begin(model: Path, given: Ingredients, root: Path, device: str, end: Connection) -> None:
    """Make a worker process ready; it ends at once when the process that started it does."""
    global _maker
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a task; the parent decides
        signal.signal(number, signal.SIG_IGN)

    def wait_for_end() -> None:
        with suppress(EOFError, OSError):
            end.recv()
        os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()
    if device == "cpu":
        torch.set_num_threads(1)
    _maker = _Maker(load_model(model), given, DatasetFolder(root), torch.device(device))


def _work(index: int, attempt: int) -> _Made | _Failed:
    assert _maker is not None
    return _maker.make(index, attempt)


def _fitting(device: torch.device, volumes: int, rank: Rank) -> int:
    """How many processes are worth starting."""
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // rank.local_world, _MOST_WORKERS, volumes // _VOLUMES_PER_WORKER))


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    return tables[first] if tables else read_class_table("seven")


def _meaning(table: ClassTable) -> set[tuple[int, str, str]]:
    return {(entry.index, entry.name, entry.source) for entry in table.classes}
