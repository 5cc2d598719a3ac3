"""Two processes that share a batch train as one process with the whole batch does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_recipes import tiny_cohort

from synthct.training.checkpoint import load_checkpoint, read_summary

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_two_processes_equal_one_with_the_joint_batch(tmp_path):
    cohort = tiny_cohort(tmp_path / "cohort")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "Testing")]),
    }
    program = [sys.executable, str(ROOT / "Testing" / "training_ranks.py")]
    arguments = [str(cohort.root / "cohort.json"), str(tmp_path), str(port)]
    done = subprocess.run([*program, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    weights = [load_checkpoint(tmp_path / f"run{world}" / "checkpoints")[1]["networks"] for world in (1, 2)]
    assert all(torch.allclose(weights[0][name], weights[1][name], rtol=0, atol=1e-9) for name in weights[0])
    best = [read_summary(tmp_path / f"run{world}" / "checkpoints")["standing"]["best"] for world in (1, 2)]
    assert best[0] == pytest.approx(best[1], abs=0.1)
