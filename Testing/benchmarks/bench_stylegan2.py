"""StyleGAN2 at 256×256: seconds per 1000 images of training and of generation; what its lazy regularisation adds.

Steps are timed by kind, in turn, on one resident batch: without regularisation, with R1, with path lengths. A
training's mean step is the first plus a 16th of what R1 adds and an 8th of what path lengths add. What the
data cost is in ``bench_training``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from record import write_result
from torch import Tensor

from synthct.methods.method import Method
from synthct.methods.noise import draw_latents
from synthct.methods.registry import build_method
from synthct.recipe import Recipe, load_recipe, recipe_from_dict
from synthct.training.launch import launch

PRESET = "synthct-stylegan2"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"r1_weight": 0, "path_weight": 0},
    "r1": {"r1_every": 1, "path_weight": 0},
    "path": {"path_every": 1, "r1_weight": 0},
}
ON_CPU = {"training.batch": 2}


def main() -> None:
    """Time the package's own preset: its batch on a GPU, a batch of 2 on the CPU."""
    gpu = torch.cuda.is_available()
    recipe = load_recipe(PRESET, {} if gpu else ON_CPU)
    figures = measure(recipe, rounds=20 if gpu else 3)
    print(figures, flush=True)
    write_result("stylegan2", figures, {})


def measure(recipe: Recipe, rounds: int) -> dict[str, Any]:
    """Return the figures of ``recipe`` over so many rounds after one to warm up.

    Returns
    -------
    dict
        ``training_s_per_1000``, ``generation_s_per_1000``, ``lazy_ratio`` (a training's mean step by one without
        regularisation) and the seconds of a step by kind.
    """
    fabric = launch("auto", recipe.training.precision)
    methods = {
        kind: build_method(_with(recipe, {f"method.{key}": value for key, value in options.items()}))
        for kind, options in KINDS.items()
    }
    for method in methods.values():
        method.networks.to(fabric.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    channels = 1 if recipe.data.masks == "none" else 2
    images = 2 * torch.rand(recipe.training.batch, channels, *recipe.data.size, device=fabric.device) - 1
    seconds: dict[str, list[float]] = {kind: [] for kind in methods}
    for number in range(rounds + 1):
        for kind, method in methods.items():
            with fabric.autocast():
                took = _timed(lambda method=method: _step(method, {"target": images}))  # type: ignore[misc]
            if number:
                seconds[kind].append(took)
    plain, r1, path = (statistics.median(seconds[kind]) for kind in ("plain", "r1", "path"))
    mean = plain + (r1 - plain) / recipe.method["r1_every"] + (path - plain) / recipe.method["path_every"]
    generator = methods["plain"].networks["generator"].eval()
    latents = draw_latents(generator.latent_shape, recipe.training.batch, 0, fabric.device)  # type: ignore[arg-type]
    with torch.no_grad(), fabric.autocast():
        made = statistics.median(_timed(lambda: generator(latents)) for _ in range(rounds + 1))
    per_thousand = 1000 / recipe.training.batch
    return {
        "training_s_per_1000": round(mean * per_thousand, 2),
        "generation_s_per_1000": round(made * per_thousand, 3),
        "lazy_ratio": round(mean / plain, 4),
        **{f"{kind}_step_s": round(value, 4) for kind, value in (("plain", plain), ("r1", r1), ("path", path))},
        "batch": recipe.training.batch,
        "size": "×".join(map(str, recipe.data.size)),
        "precision": recipe.training.precision,
    }


def _with(recipe: Recipe, changed: dict[str, Any]) -> Recipe:
    content = recipe.to_dict()
    for key, value in changed.items():
        section, name = key.split(".")
        content[section][name] = value
    return recipe_from_dict(content)


def _step(method: Method, batch: dict[str, Tensor]) -> None:
    def update(role: str, loss: Tensor) -> None:
        method.optimisers[role].zero_grad(set_to_none=True)
        loss.backward()
        method.optimisers[role].step()
        torch.clear_autocast_cache()

    method.training_step(batch, update, 0.0)


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
