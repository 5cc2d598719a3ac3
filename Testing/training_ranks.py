"""Train in several processes, as torchrun would start them: a program for the tests.

``python training_ranks.py COHORT RUNS`` makes for each of `RECIPES` ``RUNS/NAME1`` by one process and ``RUNS/NAME2``
by two that share its batch; and of a CycleGAN by two processes ``RUNS/straight`` and ``RUNS/resumed``, whose
processes end at once after the first epoch and are started again. They are forked, so that they cost no import.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
import traceback
from collections.abc import Callable

import torch
from training_recipes import tiny_recipe

from synthct.data.cohort import read_cohort
from synthct.recipe import Recipe
from synthct.training.loop import Loop
from synthct.training.run import resume, train

JOINT_BATCH = 4
UNET = {"name": "unet", "width": "4-8", "norm": "instance"}
PATCH = {"name": "patchgan", "width": 4, "layers": 2, "norm": "instance"}
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
RECIPES = {
    "plain": ({"name": "regression", "masked": False}, {"generator": UNET}),
    "masked": ({"name": "regression", "masked": True, "bone_weight": 3.0}, {"generator": UNET}),
    "squared": ({"name": "regression", "masked": True, "bone_weight": 3.0, "loss": "l2"}, {"generator": UNET}),
    "gan": (
        {"name": "gan", "mae": "paired", "mae_weight": 10, "masked": True, "label_noise": 0},
        {"generator": UNET, "discriminator": PATCH},
    ),
}


def recipe(name: str, world: int) -> Recipe:
    """A recipe in which nothing but the gradients and the masks' sums connects the samples of a batch."""
    found = tiny_recipe(steps=4, steps_per_epoch=2, batch=JOINT_BATCH // world, precision="64-true", ema=None)
    method, networks = RECIPES[name]
    return dataclasses.replace(found, method=method, networks=networks, optimisers=dict.fromkeys(networks, SGD))


def in_processes(world: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in ``world`` processes; return whether all of them came to the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
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
            work()
            code = 0
        except BaseException:
            traceback.print_exc()  # else nobody hears of it: the process ends at once
        finally:
            sys.stderr.flush()
            os._exit(code)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    return not any(statuses)


def end_after_first_epoch(work: Callable[[], object]) -> None:
    """Do ``work`` until its first epoch's checkpoint is written, then end the process as a power failure would."""
    whole = Loop._end_epoch

    def cut(*arguments: object) -> None:
        whole(*arguments)
        torch.distributed.barrier()
        os._exit(0)

    Loop._end_epoch = cut
    work()


def main() -> int:
    cohort, runs = sys.argv[1:]
    good = True
    for name in RECIPES:
        for world in (1, 2):
            good &= in_processes(
                world,
                lambda name=name, world=world: train(
                    recipe(name, world), read_cohort(cohort), f"{runs}/{name}{world}", device="cpu"
                ),
            )
    cyclegan = tiny_recipe("cyclegan", steps=6, steps_per_epoch=3)
    good &= in_processes(2, lambda: train(cyclegan, read_cohort(cohort), f"{runs}/straight", device="cpu"))
    begin = lambda: train(cyclegan, read_cohort(cohort), f"{runs}/resumed", device="cpu")  # noqa: E731
    good &= in_processes(2, lambda: end_after_first_epoch(begin))
    good &= in_processes(2, lambda: resume(f"{runs}/resumed", device="cpu"))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
