"""Make a data set in child processes that are killed at random moments: a program for the tests.

``python dataset_lives.py SEED KILLS OPTION...`` takes the options of ``synthct dataset``. It forks before torch has
started any thread, so that each life costs no import.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import synthct.commands.dataset
import synthct.synthesis.dataset.making  # noqa: F401  (no life shall import it)
from synthct.__main__ import main as command


def live(words: list[str]) -> int:
    """Fork a process that makes the data set or goes on with it; return its id."""
    pid = os.fork()
    if pid:
        return pid
    os._exit(command(["dataset", *words]))


def main() -> int:
    seed, kills, *words = sys.argv[1:]
    records = Path(words[words.index("--output") + 1]) / "records"
    dice = random.Random(int(seed))
    for number in range(int(kills)):
        before = set(records.glob("volume_*.json"))
        pid = live(words)
        while number and len(set(records.glob("volume_*.json")) - before) < 2:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.08))
        os.kill(pid, signal.SIGTERM if number % 3 == 2 else signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print(f"LIFE {status} {len(list(records.glob('volume_*.json')))}", flush=True)
    _, status = os.waitpid(live(words), 0)
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
