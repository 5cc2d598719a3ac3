"""The commands of Docs/cluster.md run as they stand there, with two processes on the CPU."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from training_recipes import tiny_cohort, tiny_recipe

from synthct.events import read_events
from synthct.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Docs" / "cluster.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe and a cohort; nothing of it is known to the program but their paths."""
    folder = tmp_path_factory.mktemp("cluster")
    tiny_cohort(folder / "cohort")
    recipe = tiny_recipe(steps=4, steps_per_epoch=2, ema=None)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    return folder


def environment():
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RANK", "WORLD_SIZE"))}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def documented(start, **replaced):
    """Return the words of the line in the page that begins so, with its names replaced."""
    line = next(line.strip() for line in TEXT.splitlines() if line.strip().startswith(start))
    for name, value in replaced.items():
        line = re.sub(rf"(--{name.replace('_', '-')}) \S+", rf"\1 {value}", line)
    return line.split()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="gloo between processes is tried on Linux")
def test_torchrun_trains(place):
    words = documented(
        "torchrun --nproc-per-node 4 -m -- synthct train --preset",
        nproc_per_node=2,
        preset="tiny.yaml",
        cohort="cohort/cohort.json",
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--master-port", free_port()]
    done = subprocess.run(
        [*launcher, *words[1:], "--device", "cpu"], cwd=place, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    events = read_events(place / "runs" / "unet" / "events.jsonl")[0]
    assert events[-1]["kind"] == "result" and events[-1]["steps"] == 4
    assert load_checkpoint(place / "runs" / "unet" / "checkpoints")[0]["standing"]["step"] == 4


@pytest.mark.skipif(sys.platform != "linux", reason="gloo between processes is tried on Linux")
def test_srun_trains(place):
    port = free_port()
    words = ["--preset", "tiny.yaml", "--cohort", "cohort/cohort.json", "--run", "runs/slurm", "--device", "cpu"]
    slurm = {
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_ID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    tasks = [
        subprocess.Popen(
            [sys.executable, "-m", "synthct", "train", *words],
            cwd=place,
            env={**environment(), **slurm, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in range(2)
    ]
    assert [task.wait(120) for task in tasks] == [0, 0]
    assert read_events(place / "runs" / "slurm" / "events.jsonl")[0][-1]["kind"] == "result"
    lone = {**environment(), **slurm, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    lone.pop("SLURM_NTASKS_PER_NODE")
    words = [*words[:4], "--run", "runs/other", "--device", "cpu", "--events"]
    done = subprocess.run(
        [sys.executable, "-m", "synthct", "train", *words], cwd=place, env=lone, capture_output=True, text=True
    )
    assert done.returncode == 2 and "--ntasks-per-node" in json.loads(done.stdout.splitlines()[-1])["todo"]
