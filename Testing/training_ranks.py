"""Train in several processes, as torchrun would start them: a program for the tests.

``python training_ranks.py COHORT RUNS PORT`` makes ``RUNS/run1`` by one process and ``RUNS/run2`` by two that share
its batch. They are forked, so that they cost no import.
"""

from __future__ import annotations

import dataclasses
import os
import sys

from training_recipes import tiny_recipe

from synthct.data.cohort import read_cohort
from synthct.recipe import Recipe
from synthct.training.run import train

JOINT_BATCH = 4


def recipe(world: int) -> Recipe:
    """A recipe in which nothing but the gradients connects the samples of a batch."""
    found = tiny_recipe(steps=4, steps_per_epoch=2, batch=JOINT_BATCH // world, precision="64-true", ema=None)
    return dataclasses.replace(
        found,
        method={"name": "regression", "masked": False},
        networks={"generator": {"name": "unet", "width": "4-8", "norm": "instance"}},
        optimisers={"generator": {"name": "sgd", "lr": 0.05, "momentum": 0.9}},
    )


def train_in(world: int, cohort: str, run: str, port: str) -> bool:
    """Train in ``world`` processes; return whether all of them came to the end."""
    children = []
    for rank in range(world):
        pid = os.fork()
        if pid:
            children.append(pid)
            continue
        if world > 1:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "GROUP_RANK": "0",
                "WORLD_SIZE": str(world),
                "LOCAL_WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "TORCHELASTIC_RUN_ID": "test",
            }
        code = 1
        try:
            train(recipe(world), read_cohort(cohort), run, device="cpu")
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    return not any(statuses)


def main() -> int:
    cohort, runs, port = sys.argv[1:]
    return int(not all(train_in(world, cohort, f"{runs}/run{world}", port) for world in (1, 2)))


if __name__ == "__main__":
    sys.exit(main())
