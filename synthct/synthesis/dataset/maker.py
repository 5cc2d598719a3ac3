"""The volumes of a data set made one after the other, in this process or in several (row B9).

On the CPU every process computes with one thread, since sums over threads would depend on their number.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from synthct.data.cohort import Case
from synthct.errors import UserError
from synthct.events import Events
from synthct.labels.classes import ClassTable
from synthct.labels.dataset_cubes import Cube, NoCube, Plan, Source, draw_cube
from synthct.labels.templates import Template
from synthct.synthesis.dataset.folder import MOST_VOLUMES, DatasetFolder, volume_name
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.translate import translate
from synthct.volumes.geometry import image_from_array


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


Job = tuple[int, int]
"""Number of a volume, and which case of its order is tried."""


@dataclass(frozen=True)
class Failed:
    """A case gave no cube for a volume."""

    index: int
    attempt: int
    none: NoCube


@dataclass(frozen=True)
class Made:
    """A volume is written; ``warnings`` are what was to be told of it (``what``, ``why``, ``todo``)."""

    index: int
    warnings: tuple[Mapping[str, str], ...]


class Maker:
    """Makes one volume after the other with one loaded model, and keeps the last case that was read."""

    def __init__(self, model: Model, given: Ingredients, place: DatasetFolder, device: torch.device) -> None:
        self.model = model
        self.given = given
        self.place = place
        self.device = device
        self.source: Source | None = None

    def make(self, index: int, attempt: int) -> Made | Failed:
        """Make volume ``index`` from the case that is the ``attempt``-th in its order."""
        plan = self.given.plan
        order = plan.case_order(index, len(self.given.cases))
        case = self.given.cases[order[attempt]]
        if self.source is None or self.source.case.id != case.id:
            self.source = None  # never two of them in memory
            self.source = Source(case, plan.rule, self.given.table)
        cube = draw_cube(self.source, plan, self.given.templates, index, attempt)
        if isinstance(cube, NoCube):
            return Failed(index, attempt, cube)
        return Made(index, self._write(cube, index, [self.given.cases[place].id for place in order[:attempt]]))

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
        body = cube.around_body if self.source.has_outside or card.get("body_only") else None
        name = f"{volume_name(index)} of case {cube.facts['case']}"
        box = tuple(slice(a, a + n) for a, n in zip(cube.corner[::-1], cube.labels.GetSize()[::-1], strict=True))
        wanted = np.zeros(cube.around.GetSize()[::-1], np.uint8)
        wanted[box] = 1
        region = image_from_array(wanted, cube.around)
        heard_by = Events(listener=hear)
        made = translate(cube.around, self.model, planes, body, self.device, events=heard_by, name=name, region=region)
        ct = image_from_array(np.ascontiguousarray(sitk.GetArrayViewFromImage(made)[box]), cube.labels)
        by = {"name": card["name"], "weights_sha256": card.get("weights_sha256")}
        facts = {**cube.facts, "seed": seed, "given_up": given_up, "model": by}
        sources = {template.name: template.facts.get("source") for template in self.given.templates}
        facts["nodules"] = [{**entry, "source": sources[entry["template"]]} for entry in facts["nodules"]]
        self.place.write(index, {"image": ct, "labels": cube.labels, "mask": cube.mask}, facts)
        return tuple(heard)


@contextmanager
def running(maker: Maker, processes: int) -> Iterator[Callable[[Sequence[Job]], Iterator[Made | Failed]]]:
    """Give what runs jobs (index, attempt) and yields their outcomes: in this process, or in several."""
    if processes == 1:

        def here(jobs: Sequence[Job]) -> Iterator[Made | Failed]:
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

    def there(jobs: Sequence[Job]) -> Iterator[Made | Failed]:
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


_maker: Maker | None = None
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
    _maker = Maker(load_model(model), given, DatasetFolder(root), torch.device(device))


def _work(index: int, attempt: int) -> Made | Failed:
    assert _maker is not None
    return _maker.make(index, attempt)


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute with one thread on the CPU while inside."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
