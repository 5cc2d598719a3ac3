"""Train in child processes that are killed at random moments, and once undisturbed: a program for the tests.

``python training_lives.py COHORT RUNS METHOD SEED KILLS`` makes ``RUNS/undisturbed`` and ``RUNS/killed``. It forks
before torch has started any thread, so that each life costs no import.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import sys
import time
from pathlib import Path

import monai.networks.layers  # noqa: F401  (elastic augmentation wants it, and no life shall import it)
import numpy as np
from training_recipes import tiny_recipe

from synthct.data.cohort import read_cohort
from synthct.errors import Cancelled
from synthct.events import read_events
from synthct.recipe import NOISE_TASK, Augmentation, Elastic, Recipe, Resampling
from synthct.training import loop, reporting
from synthct.training.checkpoint import load_checkpoint, read_summary
from synthct.training.run import resume, train
from synthct.training.sample_grid import write_sample_grid

STEPS = 40
loop.CHECKPOINT_S = 0.05  # also in the middle of an epoch
reporting.SHORTEST_S = reporting.LONGEST_S = 0.0  # every step is told, so that a life can be ended at any


def live(cohort: Path, run: Path, method: str) -> int:
    """Fork a process that starts the run or goes on with it; return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if (run / "cohort.json").exists():
            resume(run, device="cpu")
        else:
            train(_recipe(method), read_cohort(cohort), run, device="cpu")
        code = 0
    except Cancelled:
        code = 130
    finally:
        sys.stderr.flush()
        os._exit(code)


def _recipe(method: str) -> Recipe:
    recipe = tiny_recipe(method, steps=STEPS, steps_per_epoch=10, patience=50)
    if recipe.task == NOISE_TASK:  # its images are mirrored at most
        return recipe
    changes = Augmentation(flip=True, rotation_degrees=5.0, elastic=Elastic(0.5), gamma=0.1, resampling=Resampling(0.5))
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, augmentation=changes))


def told(events: Path, since: float) -> list[int]:
    """The steps that a life has told of which began at ``since``."""
    found, _ = read_events(events)
    return [event["done"] for event in found if event.get("task") == "training" and event["time"] >= since - 0.01]


def wait_for_steps(pid: int, events: Path, since: float, count: int) -> int | None:
    """Return the step at which the life of ``pid`` began, once it has taken ``count``; None where it ended before."""
    while True:
        steps = told(events, since)
        if steps and steps[-1] >= steps[0] + count:
            return steps[0]
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return None
        time.sleep(0.005)


def last_step(run: Path) -> int:
    """The step of the run's checkpoint, all of which is read; 0 where it has none yet."""
    if read_summary(run / "checkpoints") is None:
        return 0
    return int(load_checkpoint(run / "checkpoints")[0]["standing"]["step"])


def main() -> int:
    cohort, runs, method, seed, kills = sys.argv[1:]
    picture = np.zeros((1, 4, 4))
    write_sample_grid(Path(runs) / "first.png", picture, picture, picture, picture, "so that no life imports it")
    _, status = os.waitpid(live(Path(cohort), Path(runs) / "undisturbed", method), 0)
    if status:
        return 1
    dice = random.Random(int(seed))
    killed = Path(runs) / "killed"
    kept = 0
    for number in range(int(kills)):
        since = time.time()
        pid = live(Path(cohort), killed, method)
        if number:  # the first is killed while it prepares volumes, the others once they train
            first = wait_for_steps(pid, killed / "events.jsonl", since, dice.randint(0, 3))
            assert first == kept, f"life {number} began at step {first}; the checkpoint is of step {kept}"
        time.sleep(dice.uniform(0.0, 0.08 if number else 0.3))
        os.kill(pid, signal.SIGTERM if number % 4 == 3 else signal.SIGKILL)
        os.waitpid(pid, 0)
        print(f"life {number} ended after", read_events(killed / "events.jsonl")[0][-1:], file=sys.stderr)
        before, kept = kept, last_step(killed)
        assert before <= kept < STEPS, f"life {number} left a checkpoint of step {kept} after one of {before}"
    _, status = os.waitpid(live(Path(cohort), killed, method), 0)
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
