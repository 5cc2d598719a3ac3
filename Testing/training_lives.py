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
from synthct.recipe import Augmentation, Elastic, Recipe, Resampling
from synthct.training import loop
from synthct.training.run import resume, train
from synthct.training.sample_grid import write_sample_grid

STEPS = 40
loop.CHECKPOINT_S = 0.15  # also in the middle of an epoch


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
    changes = Augmentation(flip=True, rotation_degrees=5.0, elastic=Elastic(0.5), gamma=0.1, resampling=Resampling(0.5))
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, augmentation=changes))


def wait_until_training(events: Path) -> None:
    """Return when the process just started has reported the training's first progress, or after half a minute."""
    began = time.time()
    while time.time() < began + 30:
        found, _ = read_events(events)
        if any(event.get("task") == "training" and event["time"] >= began - 0.01 for event in found):
            return
        time.sleep(0.02)


def main() -> int:
    cohort, runs, method, seed, kills = sys.argv[1:]
    picture = np.zeros((1, 4, 4))
    write_sample_grid(Path(runs) / "first.png", picture, picture, picture, picture, "so that no life imports it")
    _, status = os.waitpid(live(Path(cohort), Path(runs) / "undisturbed", method), 0)
    if status:
        return 1
    dice = random.Random(int(seed))
    killed = Path(runs) / "killed"
    for number in range(int(kills)):
        pid = live(Path(cohort), killed, method)
        if number:  # the first is killed while it prepares volumes, the others once they train
            wait_until_training(killed / "events.jsonl")
        time.sleep(dice.uniform(0.0, 0.8))
        os.kill(pid, signal.SIGTERM if number % 4 == 3 else signal.SIGKILL)
        os.waitpid(pid, 0)
        print(f"life {number} ended after", read_events(killed / "events.jsonl")[0][-1:], file=sys.stderr)
    _, status = os.waitpid(live(Path(cohort), killed, method), 0)
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
