"""A few steps of a recipe on made-up images: how long a step takes on this device, and how much memory."""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from synthct.data.cache import Volume, write_arrays
from synthct.data.fitting import fitted, image_size
from synthct.data.split import Split
from synthct.events import SILENT, Events
from synthct.methods.classification import UNKNOWN
from synthct.methods.registry import build_method
from synthct.recipe import CLASS_TASK, IMAGE_TASKS, Recipe
from synthct.synthesis.predictor import is_out_of_memory
from synthct.terminal import duration
from synthct.training.launch import launch
from synthct.training.loop import Loop
from synthct.training.memory import MemoryGrowth, too_large
from synthct.training.run_folder import RunFolder
from synthct.volumes.scaling import make_scaling

LONG_S = 20.0
"""No further step is begun after this many seconds: a person waits for the answer."""
_SLICES = 8
_SPACING = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class DryRun:
    """What a recipe needs on ``device``."""

    seconds_per_step: float
    """Median; where networks take turns (WGAN), of the mean over one round."""
    peak_memory_mb: float
    """MB (10⁶ bytes): tensors on a GPU; on the CPU the growth of the process by networks, batches and steps."""
    parameters: int
    """Of all networks."""
    device: str
    steps: int | None
    """Steps of the whole training; None: it depends on the cohort."""

    def words(self) -> str:
        """Return one line for a person."""
        text = f"about {self.seconds_per_step:.2g} s a step, {self._memory()}, {self.parameters / 1e6:.3g} M parameters"
        if self.steps is None:
            return f"{text}, on {self.device}; the number of steps depends on the cohort"
        return f"{text}, {self.steps} steps: {duration(self.steps * self.seconds_per_step)} on {self.device}"

    def _memory(self) -> str:
        mb = self.peak_memory_mb
        return f"{mb / 1000:.1f} GB" if mb >= 1000 else f"{mb:.0f} MB"


def measure(recipe: Recipe, device: str = "auto", steps: int = 3, events: Events = SILENT) -> DryRun:
    """Take some steps of ``recipe``, as a training takes them, on one made-up case.

    Batches are drawn, changed and moved as in a training, and the losses are those of the method; what a training
    does between its steps (validation, pictures, checkpoints) is not measured. Nothing is kept.

    Parameters
    ----------
    device
        ``auto``, ``cpu``, ``cuda:N``.
    steps
        Timed steps after one to warm up, which also starts the data processes and is never the one measured; fewer
        where they take long, one where these two take 20 s.

    Raises
    ------
    UserError
        A recipe that cannot be built, a device that is not there, or too little memory.
    """
    if recipe.task == CLASS_TASK and not recipe.data.classes:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, classes=UNKNOWN))
    fabric = launch(device, recipe.training.precision)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="synthct-dry-run-") as folder, MemoryGrowth(fabric.device) as growth:
        try:
            method = build_method(recipe)
            volume = _made_up(recipe, Path(folder))
            run = RunFolder(Path(folder) / "run")
            loop = Loop(run, recipe, method, fabric, {volume.id: volume}, Split((volume.id,)), {}, SILENT)
            planned = 1 + -(-steps // method.cycle) * method.cycle
            with closing(loop.steps()) as taken:
                for number in range(planned):
                    events.progress(number, planned, "dry run", recipe.name)
                    seconds += _timed(taken, fabric.device)
                    if len(seconds) > 1 and sum(seconds) > LONG_S:  # the first starts the data processes
                        break
            events.progress(planned, planned, "dry run", recipe.name)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large(recipe, fabric.device, error) from error
    return DryRun(
        seconds_per_step=_typical(seconds, method.cycle),
        peak_memory_mb=round(growth.mb, 1),
        parameters=_parameters(method.networks),
        device=str(fabric.device),
        steps=_planned_steps(recipe),
    )


def _timed(steps: Iterator[int], device: torch.device) -> list[float]:
    """Take one step and return its seconds; nothing where the training has come to its end."""
    began = time.perf_counter()
    if next(steps, None) is None:
        return []
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return [time.perf_counter() - began]


def _typical(seconds: list[float], cycle: int) -> float:
    """Return the median over whole rounds after the first step, or over what there is."""
    timed = seconds[1:] or seconds
    rounds = [statistics.fmean(timed[n : n + cycle]) for n in range(0, len(timed) - cycle + 1, cycle)]
    return round(statistics.median(rounds or timed), 4)


def _made_up(recipe: Recipe, folder: Path) -> Volume:
    """Write a case of noise that is large enough for every sample of the recipe; the body is everywhere."""
    size = recipe.data.size
    if len(size) == 3:
        shape = tuple(size)
    else:
        slices = _SLICES if set(recipe.data.planes) == {"axial"} else max(size)
        shape = (slices, max(size), max(size))
    random = np.random.default_rng(0)
    if recipe.task in IMAGE_TASKS:
        return _made_up_pair(recipe, folder, random)
    classes = make_scaling(recipe.data.input_scaling).classes
    kind = "mr" if classes is None else "labels"
    made_up = random.integers(0, 2000, shape, np.int16) if classes is None else random.integers(0, classes, shape)
    np.save(folder / f"{kind}.npy", made_up if classes is None else made_up.astype(np.uint8))
    np.save(folder / "ct.npy", random.integers(-1000, 2000, shape, np.int16))
    np.save(folder / "mask.npy", np.ones(shape, np.uint8))
    (folder / "case.json").write_text(json.dumps({"shape": shape, "spacing": _SPACING}), encoding="utf-8")
    return Volume("noise", folder, (shape[0], shape[1], shape[2]), recipe.preparation.spacing or _SPACING, kind)


def _made_up_pair(recipe: Recipe, folder: Path, random: np.random.Generator) -> Volume:
    """Write an image of noise, and a mask of it, of the size that the recipe's generator makes."""
    image = recipe.data.montage_slice if recipe.data.fit == "montage" else image_size(recipe.data)
    shape = (image[0], image[1], image[2]) if len(image) == 3 else (_SLICES, image[0], image[1])
    if len(image) == 2 and set(recipe.data.planes) != {"axial"}:
        shape = (max(image),) * 3
    entry = folder / "pair"
    entry.mkdir()
    mask = random.integers(0, 2, shape, np.uint8)
    write_arrays(entry, random.integers(-1000, 600, shape, np.int16), mask, _SPACING)
    known = recipe.data.classes[0] if recipe.data.classes else None
    return fitted(Volume("noise", entry, shape, _SPACING, "image", diagnosis=known, centre=known), recipe.data)


def _parameters(networks: nn.Module) -> int:
    return sum(parameter.numel() for parameter in networks.parameters())


def _planned_steps(recipe: Recipe) -> int | None:
    training = recipe.training
    if training.steps is not None:
        return training.steps
    return None if training.steps_per_epoch is None else training.epochs * training.steps_per_epoch
