"""Train in child processes that are killed at random moments, and once undisturbed: a program for the tests.

``python training_lives.py COHORT RUNS METHOD SEED KILLS`` makes ``RUNS/undisturbed`` and ``RUNS/killed``. It forks
before torch has started any thread, so that each life costs no import.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from training_recipes import tiny_recipe

from synthct.data.cohort import read_cohort
from synthct.errors import Cancelled
from synthct.training.run import resume, train

STEPS = 30


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
            train(tiny_recipe(method, steps=STEPS, patience=50), read_cohort(cohort), run, device="cpu")
        code = 0
    except Cancelled:
        code = 130
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    cohort, runs, method, seed, kills = sys.argv[1:]
    _, status = os.waitpid(live(Path(cohort), Path(runs) / "undisturbed", method), 0)
    if status:
        return 1
    dice = random.Random(int(seed))
    killed = Path(runs) / "killed"
    for number in range(int(kills)):
        pid = live(Path(cohort), killed, method)
        time.sleep(dice.uniform(0.02, 1.0))
        os.kill(pid, signal.SIGTERM if number % 4 == 3 else signal.SIGKILL)
        os.waitpid(pid, 0)
        print(number, [line for line in (killed / "events.jsonl").read_text().splitlines()][-1][:90], file=sys.stderr)
    _, status = os.waitpid(live(Path(cohort), killed, method), 0)
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
