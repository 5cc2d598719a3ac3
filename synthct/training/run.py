"""Start a training in a run folder, or go on with one."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from synthct.data.cache import Volume, open_cache
from synthct.data.class_names import with_classes
from synthct.data.cohort import Cohort, write_cohort
from synthct.data.fitting import fitted
from synthct.data.left_out import LeftOut
from synthct.data.noise_batches import require_pairs
from synthct.data.preparation import prepare_cohort
from synthct.data.slices import AXES
from synthct.data.split import MIN_PATIENTS, Split, read_split, split_cohort, write_split
from synthct.errors import Cancelled, UserError
from synthct.events import SILENT, Events
from synthct.locks import FolderLock
from synthct.methods.method import Method
from synthct.methods.registry import build_method
from synthct.recipe import CLASS_TASK, IMAGE_TASKS, Data, Recipe
from synthct.synthesis.model_file import load_model
from synthct.synthesis.predictor import is_out_of_memory
from synthct.training.checkpoint import read_summary
from synthct.training.interrupt import Interrupt
from synthct.training.launch import launch
from synthct.training.loop import Loop
from synthct.training.memory import too_large
from synthct.training.pretrained import put_pretrained
from synthct.training.run_folder import RunFolder, recipe_hash
from synthct.training.snapshot import Standing
from synthct.volumes.label_numbers import require_labels
from synthct.volumes.scaling import make_scaling


def train(
    recipe: Recipe,
    cohort: Cohort,
    run_folder: Path | str,
    device: str = "auto",
    events: Events = SILENT,
    steps: int | None = None,
    split: Split | None = None,
    initial_model: Path | str | None = None,
    skip_corrupt: bool = False,
) -> Path:
    """Train ``recipe`` on ``cohort`` and return the run folder; ``RUN/model`` is the best model.

    Parameters
    ----------
    run_folder
        New or empty; see `RunFolder` for what comes into it.
    device
        ``auto``, ``cpu``, ``cuda:N``. Several processes come from torchrun or SLURM.
    events
        Hears what ``RUN/events.jsonl`` keeps.
    steps
        In place of the recipe's.
    split
        None: drawn by patient with the recipe's seed.
    initial_model
        Model or run whose generator is the start (a refinement); a copy is kept in the run.
    skip_corrupt
        Leave out cases that cannot be used, with a warning; the run's ``cohort.json`` says why, ``split.json`` which.

    Raises
    ------
    UserError
        Device missing, folder in use or taken, cohort too small or not readable, start that does not fit the
        recipe, loss not a number any more, disk full, too little memory.
    Cancelled
        SIGINT or SIGTERM; the run can be resumed.
    """
    if steps is not None:
        recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=steps))
    _check(recipe)
    recipe = with_classes(recipe, cohort)
    cohort = cohort.for_task(recipe.task)
    method = build_method(recipe)  # before anything is written
    if initial_model is not None:
        _start_from(method, recipe, initial_model, SILENT)
    put_pretrained(method, recipe, method.pretrained)
    fabric = launch(device, recipe.training.precision)
    run = RunFolder(run_folder)
    with _held(run, fabric):
        if fabric.is_global_zero:
            run.require_free(recipe, cohort)
            run.write(recipe, cohort, split, initial_model, method.pretrained)
        fabric.barrier()
        return _go_on(run, recipe, cohort, method, fabric, events, skip_corrupt)


def resume(run_folder: Path | str, device: str = "auto", events: Events = SILENT, skip_corrupt: bool = False) -> Path:
    """Go on with a run from its last checkpoint and return its folder.

    On the CPU, with as many threads, the weights become bit for bit those of a run that was never ended.

    Raises
    ------
    UserError
        No run there, recipe, split or images changed since it began, or as for `train`.
    Cancelled
        SIGINT or SIGTERM; the run can be resumed.
    """
    run = RunFolder(run_folder)
    recipe, cohort = run.read()
    _check(recipe)
    method = build_method(recipe)
    fabric = launch(device, recipe.training.precision)
    with _held(run, fabric):
        return _go_on(run, recipe, cohort, method, fabric, events, skip_corrupt)


def _go_on(
    run: RunFolder,
    recipe: Recipe,
    cohort: Cohort,
    method: Method,
    fabric: Fabric,
    caller_events: Events,
    skip_corrupt: bool,
) -> Path:
    """Prepare, then train from the checkpoint if there is one, and report how it ended."""
    events = run.events(caller_events) if fabric.is_global_zero else SILENT
    try:
        prepared, volumes, split = _prepared(run, recipe, cohort, fabric, events, skip_corrupt)
        _warn_of_few(method, recipe.data, [volumes[case] for case in split.training], events)
        facts = _facts(run, recipe, volumes)
        summary = read_summary(run.checkpoints)
        put_pretrained(method, recipe, {role: run.pretrained / role for role in method.pretrained})
        if summary is not None:
            _require_unchanged(run, summary["facts"], facts)
        elif run.initial.exists():
            _start_from(method, recipe, run.initial, events)
        # A cohort that came prepared may have been prepared otherwise than the recipe asks.
        recipe = dataclasses.replace(recipe, preparation=prepared.preparation or recipe.preparation)
        loop = Loop(run, recipe, method, fabric, volumes, split, facts, events)
        if summary is not None:
            loop.restore()
        with Interrupt() as interrupt:
            standing = _trained(loop, interrupt)
    except (UserError, Cancelled, KeyboardInterrupt) as error:
        if events is not caller_events and fabric.is_global_zero:  # the caller reports to its own
            own = Events(run.events_file)
            own.error(error) if isinstance(error, UserError) else own.emit("cancelled")
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = UserError(
            f"The run {run.path} cannot be written.",
            "The disk is full. The last checkpoint is kept.",
            "Free some space and go on with --resume.",
        )
        raise full from error
    events.result(
        model=str(run.model),
        run=str(run.path),
        steps=standing.step,
        best_step=standing.best_step,
        **{f"best_{loop.judge.criterion.short}": standing.best},
    )
    return run.path


def _trained(loop: Loop, interrupt: Interrupt) -> Standing:
    """Train; say in words when the device's memory is too small."""
    try:
        return loop.train(interrupt)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_large(loop.recipe, loop.fabric.device, error) from error


@contextmanager
def _held(run: RunFolder, fabric: Fabric) -> Iterator[None]:
    """Keep other processes out of the folder."""
    if fabric.is_global_zero:
        with FolderLock(run.path):
            yield
    else:
        yield


def _prepared(
    run: RunFolder, recipe: Recipe, cohort: Cohort, fabric: Fabric, events: Events, skip_corrupt: bool
) -> tuple[Cohort, dict[str, Volume], Split]:
    """Prepared cohort, volumes by case id and the run's split; made by the first process, then read by all."""
    for turn in (True, False):
        if fabric.is_global_zero == turn:
            cohort = cohort if turn else run.read()[1]  # the first process may have left out cases
            left_out = LeftOut(skip_corrupt, events)
            prepared = prepare_cohort(cohort, recipe.preparation, run.prepared, events, left_out=left_out)
            # Beside the prepared volumes, so that all runs on a cohort prepared beforehand share it.
            shared = os.access(prepared.root, os.W_OK)
            volumes = open_cache(prepared, prepared.root / ".cache" if shared else run.cache, events, left_out)
            prepared = left_out.of(prepared)
            if recipe.task in IMAGE_TASKS:
                volumes = {case: fitted(volume, recipe.data) for case, volume in volumes.items()}
                require_pairs(volumes, recipe.data)
            if not run.split_file.exists():
                counts = {case: volume.shape[0] for case, volume in volumes.items()}
                write_split(_drawn_split(recipe, prepared, counts, events), run.split_file)
            if left_out.reasons:
                write_split(read_split(run.split_file).without(left_out.reasons), run.split_file)
                write_cohort(left_out.of(cohort), run.cohort_file, overwrite=True)
        fabric.barrier()
    classes = make_scaling(recipe.data.input_scaling).classes
    for volume in volumes.values():
        if classes is not None:
            require_labels(volume.input, classes, f"The label map of case {volume.id}")
    split = read_split(run.split_file, prepared)
    if not split.training:
        raise UserError(
            f"No case of the cohort {cohort.root} is left for training.",
            f"It has {len(cohort.used)} cases that can be used.",
            "Add cases, or look at the check table of `synthct cohort`.",
        )
    if not split.validation:
        events.warning(
            "There are no validation cases.", "The last weights are kept as the model in place of the best.", ""
        )
    return prepared, volumes, split


def _drawn_split(recipe: Recipe, prepared: Cohort, slices: dict[str, int], events: Events) -> Split:
    """Draw the run's split; where whole images count and not slabs, too few patients are all learned."""
    if recipe.task in IMAGE_TASKS and len({case.patient_id for case in prepared.used}) < MIN_PATIENTS:
        return Split(tuple(case.id for case in prepared.used), seed=recipe.training.seed)
    stratify = (recipe.data.class_of,) if recipe.task == CLASS_TASK else ("sex", "diagnosis")
    return split_cohort(prepared, slices, seed=recipe.training.seed, events=events, stratify=stratify)


def _warn_of_few(method: Method, data: Data, training: Sequence[Volume], events: Events) -> None:
    """Warn where a method that makes images from noise was published with many more than there are."""
    published = getattr(method, "published_images", None)
    images, kind = len(training), "cases"
    if len(data.size) == 2 and data.fit != "montage":
        images, kind = sum(volume.shape[AXES[plane]] for volume in training for plane in data.planes), "slices"
    if published is not None and images < published / 4:
        events.warning(
            f"{images} training {kind} are few for this method.",
            f"It was published with {published}; with few it learns them by heart, or its images become alike.",
            "Add cases, or compare the generated images with the training cases.",
        )


def _facts(run: RunFolder, recipe: Recipe, volumes: dict[str, Volume]) -> dict[str, Any]:
    """What must not change while a run is interrupted."""
    facts: dict[str, Any] = {
        "recipe": recipe_hash(recipe),
        "split": hashlib.sha256(run.split_file.read_bytes()).hexdigest(),
        "images": {case: volume.folder.name for case, volume in volumes.items()},
    }
    if run.initial.exists():
        facts["initial_model"] = load_model(run.initial).card["name"]
    return facts


def _require_unchanged(run: RunFolder, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before == now:
        return
    changed = next(name for name in (*now, *before) if before.get(name) != now.get(name))
    what = f"The {changed.replace('_', ' ')} of the run {run.path}"
    if changed == "images":
        cases = sorted(
            case
            for case in {*now["images"], *before["images"]}
            if now["images"].get(case) != before["images"].get(case)
        )
        what = f"The images of {', '.join(cases)} in the run {run.path}"
    raise UserError(
        f"{what} changed since it began.",
        "Going on would give weights that no recipe describes.",
        f"Undo the change, or start a new run with --initial-model {run.model}.",
    )


def _start_from(method: Method, recipe: Recipe, path: Path | str, events: Events) -> None:
    """Load the weights of the model at ``path`` into the method's generator."""
    model = load_model(path)
    generator: nn.Module = method.networks[method.generator_role]
    try:
        generator.load_state_dict(model.network.state_dict())
    except RuntimeError as error:
        before, now = model.card["network"], recipe.networks[method.generator_role]
        why, todo = f"Its network {before} differs from the recipe's {now}.", "the generator of the recipe"
        if {key: before.get(key) for key in now} == dict(now):  # but what comes from the data: classes, sizes
            size = f"{model.card['in_channels']} channels in, {model.card['out_channels']} out, {model.card['size']}"
            why, todo = (
                f"Its network was made for other classes, channels or another latent or size: {size}.",
                "the recipe",
            )
        raise UserError(
            f"The model {path} cannot be the start of this training.", why, f"Give {todo} the same options."
        ) from error
    for key in ("target_scaling",) if recipe.task in IMAGE_TASKS else ("input_scaling", "target_scaling"):
        if model.card[key] != make_scaling(getattr(recipe.data, key)).to_dict():
            events.warning(
                f"The model {path} was trained with another {key.replace('_', ' ')}.",
                f"It had {model.card[key]}.",
                "The training has to unlearn it first; set the same one in the recipe.",
            )


def _check(recipe: Recipe) -> None:
    """Refuse numbers of ``training`` that cannot work."""
    training = recipe.training
    for name in ("batch", "epochs", "steps", "steps_per_epoch", "validate_every", "patience", "validation_volumes"):
        value = getattr(training, name)
        if value is not None and value < 1:
            raise UserError(f"`training.{name}` is {value}.", "It must be at least 1.")
    for name in ("seed", "workers"):
        if getattr(training, name) < 0:
            raise UserError(f"`training.{name}` is {getattr(training, name)}.", "It must not be negative.")
    if training.ema is not None and not 0 <= training.ema < 1:
        raise UserError(f"`training.ema` is {training.ema:g}.", "It must be at least 0 and less than 1.")
