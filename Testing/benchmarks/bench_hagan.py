"""HA-GAN: a step ÷ the sum of its bare network passes (limit 1.10), memory of a step, its FLOPs, volumes a second.

The step is the loop's own (pairs from the cache, method, report, without the running mean), at 64³ on the CPU and at
128³ with its published width on a GPU. Bare are the same passes one by one on resident tensors: forward, backward and
Adam, with the encoders. Both alternate, so that other work on the machine weighs on both alike; the ratio is the median
over pairs.

Memory is what two steps at 64³, 128³ and 256³ take above the process before them, each size in a process of its own,
beside the same trunk and high-resolution head on the whole volume against a discriminator that halves all of it; all
without encoders. On the CPU with narrow networks and a batch of 1, on a GPU as published and with the weights counted.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from record import write_result
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.flop_counter import FlopCounterMode

from synthct.data.cache import open_cache
from synthct.data.cohort import read_cohort
from synthct.data.fitting import fitted
from synthct.data.sample_sets import fetch
from synthct.data.split import Split
from synthct.events import Events
from synthct.methods.method import Method
from synthct.methods.registry import build_method
from synthct.networks.ha_gan import PARTS
from synthct.networks.spectral_norm import spectral_norm
from synthct.recipe import Recipe, load_recipe
from synthct.training.launch import launch
from synthct.training.loop import Loop
from synthct.training.run_folder import RunFolder

SIDES = (64, 128, 256)
GPU = torch.cuda.is_available()
STEP_SIDE = 128 if GPU else 64
STEP = {"networks.generator.width": "512" if GPU else "64", "networks.discriminator.width": "512" if GPU else "64"}
STEPS, WARM_UP = 12, 2
NARROW = {"networks.generator.width": "32", "networks.discriminator.width": "64", "method.latent": "64"}
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40": 181, "4090": 165}
"""Dense 16-bit peak of a device whose name holds this, as its maker prints it."""


def main() -> None:
    """Measure everything; the GPU's figures where there is one."""
    figures: dict[str, Any] = {}
    ratio, bare_s, step_s = _step_against_bare()
    figures[f"step_{STEP_SIDE}_ratio"] = round(ratio, 4)
    figures[f"step_{STEP_SIDE}_bare_s"], figures[f"step_{STEP_SIDE}_s"] = round(bare_s, 4), round(step_s, 4)
    print(f"step at {STEP_SIDE}³: {ratio:.3f} of {bare_s:.3f} s", flush=True)
    for side in SIDES:
        figures[f"step_{side}_TFLOP"] = round(flops_of_step(_recipe(side)) / 1e12, 3)
        for form in ("parts", "whole"):
            figures[f"memory_{side}_{form}_MiB"] = _child(side, form)
        print(side, {key: value for key, value in figures.items() if f"_{side}_" in key}, flush=True)
        parts, whole = (figures[f"memory_{side}_{form}_MiB"] for form in ("parts", "whole"))
        if parts is not None and whole is not None:
            figures[f"memory_{side}_parts_of_whole"] = round(parts / whole, 3)
    for small, large in itertools.pairwise(SIDES):
        for form in ("parts", "whole"):
            before, after = figures[f"memory_{small}_{form}_MiB"], figures[f"memory_{large}_{form}_MiB"]
            if before is not None and after is not None:
                figures[f"memory_{form}_growth_{small}_{large}"] = round(after / before, 2)
    if GPU:
        name = torch.cuda.get_device_name()
        figures["device"] = name
        peak = next((value for part, value in PEAK_TFLOPS.items() if part in name), None)
        if peak is not None:
            share = flops_of_step(_recipe(STEP_SIDE)) / 1e12 / step_s / peak
            figures[f"step_{STEP_SIDE}_share_of_16_bit_peak"] = round(share, 4)
    for side in SIDES[1:]:
        figures[f"generated_{side}_per_s"] = round(_generated_per_second(side), 4)
        print(f"generated at {side}³: {figures[f'generated_{side}_per_s']} a second", flush=True)
    figures["networks"] = f"step: {STEP}; FLOPs and generation: published; memory: {'published' if GPU else NARROW}"
    write_result("hagan", figures, {f"step_{STEP_SIDE}_ratio": 1.10})


def _recipe(side: int, changes: dict[str, str] | None = None) -> Recipe:
    """The published recipe of 128³ at ``side``, with the mask as a channel."""
    options = {"data.size": f"{side},{side},{side}", "data.masks": "channel", "data.mask_scaling.name": "hagan-mask"}
    return load_recipe("oslo-hagan-128", {**options, **(changes or {})})


# --- the step against its passes ---


def _step_against_bare() -> tuple[float, float, float]:
    """Return the median ratio, and the median seconds of the bare passes and of a step."""
    ratios, bare, whole = [], [], []
    with tempfile.TemporaryDirectory() as name:
        loop = _loop(Path(name))
        passes = _bare_passes(build_method(loop.recipe), loop)
        steps = loop.steps()
        for number in range(STEPS + WARM_UP):
            before = _seconds(lambda: [work() for work in passes()])
            after = _seconds(lambda: next(steps))
            if number >= WARM_UP:
                ratios.append(after / before)
                bare.append(before)
                whole.append(after)
    return statistics.median(ratios), statistics.median(bare), statistics.median(whole)


def _loop(folder: Path) -> Loop:
    recipe = _recipe(STEP_SIDE, STEP)
    recipe = dataclasses.replace(
        recipe, training=dataclasses.replace(recipe.training, steps=STEPS + WARM_UP, steps_per_epoch=10**6)
    )
    cohort = read_cohort(fetch("phantom-pairs", folder / "pairs", count=8) / "cohort.json").for_task(recipe.task)
    opened = open_cache(cohort, folder / "cache")
    volumes = {case: fitted(volume, recipe.data) for case, volume in opened.items()}
    run = RunFolder(folder / "run")
    fabric = launch("auto", recipe.training.precision)
    return Loop(run, recipe, build_method(recipe), fabric, volumes, Split(tuple(volumes)), {}, Events(run.events_file))


def _bare_passes(method: Method, loop: Loop) -> Callable[[], Iterator[Callable[[], None]]]:
    """Return what yields the passes of one step, to be called in turn, each on tensors that are there already."""
    device = loop.fabric.device
    networks = method.networks.to(device).train()
    generator, judge, encoder, whole_encoder = (networks[role] for role in method.optimisers)
    count, sides = loop.recipe.training.batch, generator.measures
    real = torch.rand(count, 2, *3 * [sides.side], device=device)
    part, low = sides.crop(real, 3).contiguous(), sides.low_resolution(real)
    place = torch.rand(count, device=device)
    z = torch.randn(count, *generator.latent_shape, device=device)
    parts = [sides.crop(real, number * sides.latent_slices).contiguous() for number in range(PARTS)]

    def stepped(role: str, outputs: list[Tensor], slopes: list[Tensor]) -> None:
        method.optimisers[role].zero_grad(set_to_none=True)
        torch.autograd.backward(outputs, slopes)
        method.optimisers[role].step()
        torch.clear_autocast_cache()

    def generated(latent: Tensor) -> list[Tensor]:
        a = generator.trunk(latent)
        return [generator.high(sides.crop_latent(a, 3)), generator.low(a)]

    def passes() -> Iterator[Callable[[], None]]:
        made: list[Tensor] = []
        with loop.fabric.autocast():
            yield lambda: made.extend(generated(z))

            def judged() -> None:
                outputs = [judge(part, low, place) for _ in ("real", "synthetic")]
                stepped("discriminator", outputs, [torch.ones_like(out) for out in outputs])

            yield judged

            def descend() -> None:
                judge.requires_grad_(False).eval()
                seen = [image.detach().requires_grad_() for image in made]
                out = judge(*seen, place)
                slopes = torch.autograd.grad(out, seen, torch.ones_like(out))
                stepped("generator", made, list(slopes))
                judge.requires_grad_(True).train()

            yield descend
            generator.requires_grad_(False)
            yield lambda: stepped("encoder", [out := generator.high(encoder(part))], [torch.ones_like(out)])

            def encode() -> None:
                with torch.no_grad():
                    encoded = torch.cat([encoder(piece) for piece in parts], dim=2)
                outputs = generated(whole_encoder(encoded))
                stepped("global_encoder", outputs, [torch.ones_like(out) for out in outputs])

            yield encode
            generator.requires_grad_(True)

    return passes


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - began


# --- FLOPs, memory, generation ---


def flops_of_step(recipe: Recipe) -> int:
    """Return the floating-point operations of the networks' passes in one step, forward and backward, by counting."""
    with torch.device("meta"):
        method = build_method(recipe)
        target = torch.empty(recipe.training.batch, 2, *recipe.data.size)
    with FlopCounterMode(display=False) as counter:
        method.training_step({"target": target}, lambda _, loss: loss.backward(), 0.0)
    return int(counter.get_total_flops())


def _child(side: int, form: str) -> float | None:
    """Return the MiB that a child process measured; None where memory ran out."""
    words = [sys.executable, __file__, str(side), form]
    answer = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(answer.stdout.splitlines()[-1])
    return None if found is None else float(found)


def _measure(side: int, form: str) -> None:
    """In the child: two steps, and by how much they raised the process at most."""
    device = torch.device("cuda" if GPU else "cpu")
    recipe = _recipe(side, {"method.encoders": "false", **({} if GPU else {**NARROW, "training.batch": "1"})})
    method = build_method(recipe)
    method.networks.to(device).train()
    target = torch.rand(recipe.training.batch, 2, side, side, side, device=device)
    if form == "whole":
        method.networks["discriminator"] = WholeDiscriminator(side, int(recipe.networks["discriminator"]["width"]))
        method.networks["discriminator"].to(device)
        entry = recipe.optimisers["discriminator"]
        parameters = method.networks["discriminator"].parameters()
        method.optimisers["discriminator"] = torch.optim.Adam(parameters, entry["lr"])
    nn.Conv3d(2, 8, 4, device=device)(
        target[..., :16]
    ).sum().backward()  # libraries are loaded by the first convolution
    before = 0 if GPU else psutil.Process().memory_info().rss

    def update(role: str, loss: Tensor) -> None:
        method.optimisers[role].zero_grad(set_to_none=True)
        loss.backward()
        method.optimisers[role].step()
        torch.clear_autocast_cache()

    try:
        for _ in range(2):
            with torch.autocast(device.type, torch.bfloat16, enabled=GPU):
                if form == "whole":
                    _whole_step(method, target, update)
                else:
                    method.training_step({"target": target}, update, 0.0)
    except torch.cuda.OutOfMemoryError:
        print("null")
        return
    peak = torch.cuda.max_memory_allocated() if GPU else _highest() - before
    print(round(peak / 2**20, 1))


class WholeDiscriminator(nn.Module):
    """HA-GAN's D^H with all of the volume in place of a sub-volume, halved along all sides."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        halvings = side.bit_length() - 3
        widths = [2, *(width // 2 ** (halvings - 1 - level) for level in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [spectral_norm(nn.Conv3d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv3d(widths[-1], 1, 4)))

    def forward(self, volume: Tensor) -> Tensor:
        logits: Tensor = self.layers(volume)
        return logits.flatten(1)


def _whole_step(method: Method, target: Tensor, update: Callable[[str, Tensor], None]) -> None:
    """HA-GAN's step without sub-volumes: trunk and high-resolution head on everything."""
    generator, judge = method.networks["generator"], method.networks["discriminator"]
    made = generator(torch.randn(len(target), *generator.latent_shape, device=target.device))
    logits = judge(torch.cat([target, made.detach()])).float()
    labels = torch.cat([torch.ones_like(logits[: len(target)]), torch.zeros_like(logits[: len(target)])])
    update("discriminator", 2 * binary_cross_entropy_with_logits(logits, labels))
    judge.requires_grad_(False)
    logits = judge(made).float()
    update("generator", binary_cross_entropy_with_logits(logits, torch.ones_like(logits)))
    judge.requires_grad_(True)


def _highest() -> int:
    """Highest resident memory of this process in bytes. (On Linux, getrusage would also count the parent's.)"""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _generated_per_second(side: int) -> float:
    """Volumes that the published network makes in a second, one at a time."""
    device = torch.device("cuda" if GPU else "cpu")
    method = build_method(_recipe(side))
    generator = method.networks["generator"].to(device).eval()
    z = torch.randn(1, *generator.latent_shape, device=device)

    def make() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=GPU):
            generator(z)

    first = _seconds(make)
    return 1 / statistics.median([_seconds(make) for _ in range(3 if first < 10 else 1)])


if __name__ == "__main__":
    _measure(int(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 1 else main()
