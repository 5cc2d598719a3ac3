"""Train a HA-GAN by one process and by two that share its batch: a program for the tests.

``python hagan_ranks.py COHORT RUNS`` makes ``RUNS/1`` and ``RUNS/2``. Every process draws what one would draw for the
whole batch and takes its share of the latents, so that the two trainings see the same.
"""

from __future__ import annotations

import dataclasses
import sys

import torch
from torch import Tensor
from training_ranks import in_processes

from synthct.data.cohort import read_cohort
from synthct.methods import ha_gan
from synthct.methods.noise import draw_latents
from synthct.recipe import load_recipe
from synthct.training import loop
from synthct.training.run import train

BATCH = 2
SMALL = {
    "data.size": "32,32,32",
    "data.masks": "channel",
    "method.latent": "8",
    "networks.generator.width": "32",
    "networks.discriminator.width": "64",
    "networks.global_encoder.width": "16",
    "training.steps": "2",
    "training.steps_per_epoch": "2",
    "training.precision": "64-true",
}


def same_draws(world: int) -> None:
    """Let all processes draw alike, and each take its latents of the joint batch."""

    def share(shape: tuple[int, ...], count: int, device: torch.device) -> Tensor:
        rank = torch.distributed.get_rank() if world > 1 else 0
        return draw_latents(shape, count * world, device=device)[rank * count : (rank + 1) * count]

    ha_gan.draw_latents = share
    alike = loop.step_seed
    loop.step_seed = lambda seed, step, rank: alike(seed, step, 0)


def main() -> int:
    cohort, runs = sys.argv[1:]
    good = True
    for world in (1, 2):
        recipe = load_recipe("oslo-hagan-128", SMALL)
        recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch=BATCH // world))

        def work(world: int = world, recipe: object = recipe) -> None:
            same_draws(world)
            train(recipe, read_cohort(cohort), f"{runs}/{world}", device="cpu")

        good &= in_processes(world, work)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
