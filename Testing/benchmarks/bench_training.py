"""Training step ÷ the bare forward–backward–update of the same networks on a resident batch; limit 1.08.

The loop's own steps (batches from the cache, method, reports) and bare ones alternate on two copies of the networks,
so that other work on the machine weighs on both alike; the ratio is the median over pairs. With augmentation and the
running mean of the weights the ratio is reported, not limited.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from record import write_result
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from phantoms import write_phantom_cohort

from synthct.data.cache import open_cache
from synthct.data.cohort import read_cohort
from synthct.data.split import split_by_patient
from synthct.events import Events
from synthct.methods.method import Method
from synthct.methods.registry import build_method
from synthct.recipe import Augmentation, Recipe, load_recipe
from synthct.training.launch import launch
from synthct.training.loop import Loop
from synthct.training.run_folder import RunFolder

PRESETS = {"synthct-unet": 4, "synthct-gan-paired": 4, "synthct-cyclegan": 1, "synthct-resenc-3d": 1}
"""Preset → batch."""
CHANGES = {"synthct-resenc-3d": {"data.size": "32,96,96", "training.workers": "0"}}
"""So that two cores can do it, and so that cutting a patch counts as it does for the others."""
STEPS, WARM_UP = 9, 1
SHAPE = (20, 180, 200)


def main() -> None:
    """Time the presets of the paired baselines in 2D and 3D, the GAN and the CycleGAN of the package."""
    figures: dict[str, Any] = {}
    limits = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = read_cohort(write_phantom_cohort(folder / "cohort", 4, SHAPE, masks=True))
        volumes = open_cache(cohort, folder / "cache")
        for preset, batch in PRESETS.items():
            recipe = load_recipe(preset, {"training.batch": str(batch), **CHANGES.get(preset, {})})
            plain = dataclasses.replace(
                recipe,
                data=dataclasses.replace(recipe.data, augmentation=Augmentation()),
                training=dataclasses.replace(recipe.training, ema=None),
            )
            for what, chosen in (("", plain), ("_augmentation_ema", recipe)):
                loop = _loop(chosen, volumes, split_by_patient(cohort, (0.5, 0.25, 0.25)), folder / f"{preset}{what}")
                ratio, bare_s = _compare(loop, chosen)
                figures[f"{preset}{what}_ratio"] = round(ratio, 4)
                figures[f"{preset}{what}_bare_step_s"] = round(bare_s, 3)
                print(f"{preset}{what}: {ratio:.4f} of {bare_s:.3f} s", flush=True)
                if not what and bare_s >= 0.3:
                    limits[f"{preset}_ratio"] = 1.08
    figures["batch"] = ", ".join(f"{preset}: {batch}" for preset, batch in PRESETS.items())
    figures["pairs"] = STEPS
    write_result("training", figures, limits)


def _loop(recipe: Recipe, volumes: Any, split: Any, folder: Path) -> Loop:
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=STEPS + WARM_UP))
    run = RunFolder(folder)
    fabric = launch("auto", recipe.training.precision)
    return Loop(run, recipe, build_method(recipe), fabric, volumes, split, {}, Events(run.events_file))


def _compare(loop: Loop, recipe: Recipe) -> tuple[float, float]:
    """Return the median ratio and the median seconds of a bare step."""
    method = build_method(recipe)
    device = loop.fabric.device
    method.networks.to(device).train()
    weights = dict(loop.method.networks.named_parameters())
    for name, weight in method.networks.named_parameters():  # the memory format decides the speed
        weight.data = torch.empty_like(weights[name]).copy_(weight.data)
    batch: dict[str, Tensor] = {name: value.to(device) for name, value in loop.batches[0].items()}
    steps = loop.steps()
    ratios, bare = [], []
    for number in range(STEPS + WARM_UP):
        before = _bare_step(method, batch, loop)
        began = time.perf_counter()
        next(steps)
        if device.type == "cuda":
            torch.cuda.synchronize()
        whole = time.perf_counter() - began
        if number >= WARM_UP:
            ratios.append(whole / before)
            bare.append(before)
    return statistics.median(ratios), statistics.median(bare)


def _bare_step(method: Method, batch: dict[str, Tensor], loop: Loop) -> float:
    def update(role: str, loss: Tensor) -> None:
        method.optimisers[role].zero_grad(set_to_none=True)
        loss.backward()
        method.optimisers[role].step()
        torch.clear_autocast_cache()

    began = time.perf_counter()
    with loop.fabric.autocast():
        method.training_step(batch, update, 0.5)
    if loop.fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
