"""Run an experiment in child processes that are killed while they train, and once undisturbed: a program for the tests.

``python experiment_lives.py RECIPE RUNS KILLS`` makes ``RUNS/undisturbed``, by two processes, and ``RUNS/killed``. It
forks before torch has started any thread, so that each life costs no import.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import monai.losses
import monai.networks.nets  # noqa: F401  (no life shall import it)

from synthct.__main__ import main
from synthct.commands import experiment  # noqa: F401
from synthct.studies.segmentation import report  # noqa: F401
from synthct.training import reporting

reporting.SHORTEST_S = reporting.LONGEST_S = 0.0  # every iteration is told, so that a life can be ended at any


def live(recipe: str, folder: Path, rank: int | None = None) -> int:
    """Fork a process that begins the experiment or goes on with it, as torchrun starts two of them; return its id."""
    pid = os.fork()
    if pid:
        return pid
    if rank is not None:
        os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2")
    code = 1
    try:
        code = main(["experiment", "--recipe", recipe, "--run", str(folder), "--device", "cpu", "--debug"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a life's end; return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def told(folder: Path) -> int:
    """How many metrics all trainings of an experiment have told so far."""
    return sum(path.read_text().count('"metrics"') for path in folder.glob("arms/**/events.jsonl"))


recipe, runs, kills = sys.argv[1], Path(sys.argv[2]), [int(number) for number in sys.argv[3].split(",")]
shared = [live(recipe, runs / "undisturbed", rank) for rank in range(2)]
assert [ended(pid) for pid in shared] == [0, 0]
for number, enough in enumerate(kills):
    pid = live(recipe, runs / "killed")
    while told(runs / "killed") < enough:
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), f"it ended before {enough} metrics were told"
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL if number % 2 == 0 else signal.SIGTERM)
    code = ended(pid)
    assert code == (-signal.SIGKILL if number % 2 == 0 else 130), code
assert ended(live(recipe, runs / "killed")) == 0
