"""Hyper-parameter search: one training per trial on the same split, by Optuna (row C10 and beyond).

Any number of processes on any number of machines that share the folder may work on one search: each is started with the
same command. A trial belongs to the process that holds its `Claim`; one whose process died is gone on with.
"""

from __future__ import annotations

import json
import math
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from optuna.trial import TrialState

from synthct.data.cache import open_cache
from synthct.data.cohort import Cohort
from synthct.data.preparation import prepare_cohort
from synthct.data.split import Split, read_split, split_cohort, write_split
from synthct.errors import Cancelled, Diverged, UserError
from synthct.events import SILENT, Events, read_events
from synthct.locks import Claim, turn
from synthct.recipe import Recipe, load_recipe
from synthct.studies.search_report import Outcome, write_results
from synthct.studies.space import Choice, Range, Space, ends, grid_points
from synthct.synthesis.device import choose_device
from synthct.synthesis.rank import own_rank
from synthct.training.run import resume, train
from synthct.training.run_folder import RunFolder
from synthct.training.validation import MAE
from synthct.whole_file import write_whole

WHOLE = 1000
"""A trial's values are reported at this many-th parts of its training, so that trials of any length compare."""
STARTUP_TRIALS = 3
"""Trials that are never pruned, since there is too little to compare with."""
WARM_UP = WHOLE // 4
"""No trial is pruned before this part of its training."""


@dataclass(frozen=True)
class Settings:
    """How is searched."""

    sampler: Literal["grid", "tpe", "random"] = "grid"
    trials: int | None = None
    """Trials in all, those of other processes and earlier calls included; None: the whole grid."""
    metric: str = MAE
    """Any scalar that the runs report; a trial's value is its best one."""
    direction: Literal["minimize", "maximize"] = "minimize"
    pruner: Literal["median", "halving", "none"] = "none"
    """``median``: ends trials worse than the median of those before them at the same part of the training;
    ``halving``: keeps a quarter at a quarter of the training."""
    storage: str | None = None
    """Where Optuna keeps the trials: a database's URL; None: a journal file in the folder."""
    seed: int = 0
    """Of the sampler."""


class _Pruned(Cancelled):
    """The pruner ended the trial after an epoch's checkpoint."""


def search(
    preset: str | Path,
    overrides: Mapping[str, Any],
    space: Space,
    cohort: Cohort,
    folder: Path,
    settings: Settings,
    device: str = "auto",
    events: Events = SILENT,
) -> list[Outcome]:
    """Train trial after trial until the grid is done or there are enough, and return all there are, in order.

    ``folder`` then holds ``trial_0000`` …, each a run that could be gone on with, the ``split.json`` of them all,
    ``trials.csv``, ``table.md``, ``search.png`` and ``best.yaml``, the best recipe in full.

    Raises
    ------
    UserError
        A key or value that the recipe cannot have, a folder with another search in it, a metric that the runs do not
        report, no trial that came to an end, or as for `synthct.training.run.train`.
    Cancelled
        SIGINT or SIGTERM; the same call goes on with the trial.
    """
    base = _checked(preset, overrides, space, settings)
    choose_device(device)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    with turn(folder / "turn"):
        study = _study(base, space, settings, folder)
        prepared = prepare_cohort(cohort.for_task(base.task), base.preparation, folder / "prepared", events)
        split = _split(base, prepared, folder, events)
    trials = _Trials(study, space, settings, folder)
    while True:
        with turn(folder / "turn"):
            taken = trials.next()
        if taken is None:
            break
        trial, claim = taken
        with claim:
            events.progress(trials.finished(), trials.total, "search", f"trial {trial.number}: {_words(trial.params)}")
            recipe = load_recipe(preset, {**overrides, **trial.params})
            _run(trial, study, recipe, prepared, split, settings, trials.run(trial.number), device, events)
        with turn(folder / "turn"):
            outcomes = _outcomes(study, folder)
            write_results(outcomes, space, settings.metric, settings.direction, base.name, folder)
    outcomes = _outcomes(study, folder)
    if not any(outcome.value is not None for outcome in outcomes):
        raise UserError(
            f"No trial of the search in {folder} came to an end.",
            next((f"The first: {outcome.why}" for outcome in outcomes if outcome.why), ""),
            "Look at the runs, and vary other values.",
        )
    events.progress(trials.finished(), trials.total, "search")
    return outcomes


class _Trials:
    """The trials of a study, handed out one by one; its methods are called in one's `turn`."""

    def __init__(self, study: optuna.Study, space: Space, settings: Settings, folder: Path) -> None:
        self._study, self._space, self._settings, self._folder = study, space, settings, folder
        self._grid = settings.sampler == "grid"
        points = grid_points(space) if self._grid else []
        self.total = len(points) if self._grid else settings.trials or 0
        if self._grid:
            with turn(folder / "turn"):
                for point in points:
                    study.enqueue_trial(point, skip_if_exists=True)

    def next(self) -> tuple[optuna.Trial, Claim] | None:
        """Take up a trial whose process died, or begin a new one; None where none is left."""
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            claim = self._claim(left.number)
            if claim.take():
                return self._drawn(optuna.Trial(self._study, left._trial_id)), claim
        if not self._any_left():
            return None
        self._study.sampler = _sampler(self._settings, len(self._study.get_trials(deepcopy=False)))
        trial = self._study.ask()
        claim = self._claim(trial.number)
        claim.take()
        return self._drawn(trial), claim

    def finished(self) -> int:
        """Number of trials that have ended."""
        return sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))

    def run(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return run_of(self._folder, number)

    def _any_left(self) -> bool:
        trials = self._study.get_trials(deepcopy=False)
        if self._grid:
            return any(trial.state == TrialState.WAITING for trial in trials)
        return len(trials) < self.total

    def _claim(self, number: int) -> Claim:
        return Claim(self._folder / "claims" / f"{number:04d}")

    def _drawn(self, trial: optuna.Trial) -> optuna.Trial:
        for key, domain in self._space.items():
            if not isinstance(domain, Range):
                trial.suggest_categorical(key, domain.choices)
            elif domain.whole:
                trial.suggest_int(key, int(domain.low), int(domain.high), log=domain.log)
            else:
                trial.suggest_float(key, domain.low, domain.high, log=domain.log)
        return trial


def run_of(folder: Path, number: int) -> Path:
    """Return the run folder of trial ``number`` of the search in ``folder``."""
    return folder / f"trial_{number:04d}"


def _checked(preset: str | Path, overrides: Mapping[str, Any], space: Space, settings: Settings) -> Recipe:
    """Return the recipe without the varied keys' values, after trying every one of them."""
    if own_rank().world > 1:
        raise UserError(
            "A search is not started by torchrun, nor as one SLURM job of many tasks.",
            "Its processes work on different trials.",
            "Start the same command as often as there are devices, each with its own --device or as a job of its own.",
        )
    base = load_recipe(preset, dict(overrides))
    for key, domain in space.items():
        for value in ends(domain):
            varied = load_recipe(preset, {**overrides, key: value})
            if varied.preparation != base.preparation:
                raise UserError(
                    f"`{key}` cannot be searched.",
                    "Every trial would be scored on other volumes.",
                    "Prepare the cohort in different ways and compare.",
                )
    if settings.sampler == "grid":
        grid_points(space)
    return base


def _study(base: Recipe, space: Space, settings: Settings, folder: Path) -> optuna.Study:
    """Open the study of ``folder``, or begin one there."""
    described = {
        "recipe": base.to_dict(),
        "space": {key: asdict(domain) for key, domain in space.items()},
        "metric": settings.metric,
        "direction": settings.direction,
        "sampler": settings.sampler,
    }
    described = json.loads(json.dumps(described))
    file = folder / "search.json"
    if file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        for what, value in described.items():
            if content.get(what) != value:
                raise UserError(
                    f"{folder} holds a search with another {what}.",
                    "Its trials could not be compared with new ones.",
                    "Choose another folder, or give the same options again.",
                )
    else:
        content = {"study": f"synthct-{uuid.uuid4().hex[:12]}", **described}
        write_whole(file, json.dumps(content, indent=2))
    pruners: dict[str, optuna.pruners.BasePruner] = {
        "median": optuna.pruners.MedianPruner(STARTUP_TRIALS, WARM_UP),
        "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=WARM_UP),
        "none": optuna.pruners.NopPruner(),
    }
    return optuna.create_study(
        study_name=content["study"],
        storage=_storage(settings.storage, folder),
        direction=settings.direction,
        pruner=pruners[settings.pruner],
        load_if_exists=True,
    )


def _storage(url: str | None, folder: Path) -> optuna.storages.BaseStorage:
    if url is None:
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        journal = str(folder / "journal.log")
        return optuna.storages.JournalStorage(JournalFileBackend(journal, JournalFileOpenLock(journal)))
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:  # whatever the database's driver raises, or that there is none
        raise UserError(
            f"The storage {url} cannot be opened.",
            f"{type(error).__name__}: {error}".splitlines()[0],
            "Give a URL such as sqlite:///search.db, or leave --storage out.",
        ) from error


def _sampler(settings: Settings, drawn: int) -> optuna.samplers.BaseSampler:
    """A sampler that does not repeat what the processes before it have drawn."""
    if settings.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=settings.seed + drawn, constant_liar=True)
    return optuna.samplers.RandomSampler(seed=settings.seed + drawn)


def _split(base: Recipe, prepared: Cohort, folder: Path, events: Events) -> Split:
    """Return the split of all trials, drawn once."""
    file = folder / "split.json"
    if not file.exists():
        volumes = open_cache(prepared, folder / "cache", events)
        counts = {case: volume.shape[0] for case, volume in volumes.items()}
        write_split(split_cohort(prepared, counts, seed=base.training.seed, events=events), file)
    return read_split(file, prepared)


def _run(
    trial: optuna.Trial,
    study: optuna.Study,
    recipe: Recipe,
    cohort: Cohort,
    split: Split,
    settings: Settings,
    path: Path,
    device: str,
    events: Events,
) -> None:
    """Train a trial, or go on with it, and tell the study how it ended."""
    run = RunFolder(path)
    watch = Events(listener=_Watch(trial, study, settings, events))
    why = None
    try:
        if run.checkpoints.is_dir():
            resume(path, device=device, events=watch)
        else:
            train(recipe, cohort, path, device=device, split=split, events=watch)
    except _Pruned:
        why = "pruned"
    except Diverged as error:
        why = f"diverged: {error.what}"
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        why = "out of memory"
    except UserError as error:
        if run.cohort_file.exists():
            raise
        events.warning(f"Trial {trial.number} cannot be trained.", str(error))
        trial.set_user_attr("why", str(error))
        study.tell(trial, state=TrialState.FAIL)
        return
    if why is not None:
        trial.set_user_attr("why", why)
        study.tell(trial, state=TrialState.PRUNED)
        return
    study.tell(trial, _best_value(run, settings))


class _Watch:
    """Listens to a run: hands its values to the pruner, and ends it where that says so, after its checkpoint."""

    def __init__(self, trial: optuna.Trial, study: optuna.Study, settings: Settings, events: Events) -> None:
        self._trial, self._settings, self._events = trial, settings, events
        self._total = 0
        self._prune = False
        self._known = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "progress" and event["task"] == "training":
            if self._prune:
                raise _Pruned
            self._total = event["total"]
        elif kind == "metrics":
            self._values(event["step"], event["values"])
        if kind in ("progress", "metrics", "warning"):
            self._events.emit(**{key: value for key, value in event.items() if key != "time"})

    def _values(self, step: int, values: Mapping[str, float]) -> None:
        metric = self._settings.metric
        room = metric.rpartition("/")[0]
        if metric not in values:
            if room == "validation" and any(name.startswith("validation/") for name in values):
                raise _never_reported(metric, values)
            return
        share = round(WHOLE * step / max(self._total, step))
        if math.isfinite(values[metric]) and share not in self._known:
            self._known.add(share)
            self._trial.report(values[metric], share)
            self._prune = step < self._total and self._trial.should_prune()


def _best_value(run: RunFolder, settings: Settings) -> float:
    """Return the best value of the metric in the run's events."""
    recorded = [event["values"] for event in read_events(run.events_file)[0] if event["kind"] == "metrics"]
    found = [values[settings.metric] for values in recorded if math.isfinite(values.get(settings.metric, math.nan))]
    if not found:
        raise _never_reported(settings.metric, {name: value for values in recorded for name, value in values.items()})
    return min(found) if settings.direction == "minimize" else max(found)


def _never_reported(metric: str, values: Mapping[str, float]) -> UserError:
    return UserError(
        f"The runs do not report `{metric}`.",
        f"They report {', '.join(sorted(values)) or 'nothing'}.",
        "Give one of these by --metric, and another --output.",
    )


def _outcomes(study: optuna.Study, folder: Path) -> list[Outcome]:
    return [
        Outcome(
            number=trial.number,
            state=trial.state.name.lower(),
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            parameters=dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {})),
            seconds=trial.duration.total_seconds() if trial.duration is not None else None,
            why=str(trial.user_attrs.get("why", "")),
            run=run_of(folder, trial.number),
        )
        for trial in study.get_trials(deepcopy=False)
    ]


def _words(parameters: Mapping[str, Choice]) -> str:
    return ", ".join(f"{key} {value}" for key, value in parameters.items())
