"""A training killed at random moments, 50 times in all, ends with the very weights of one that was left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_recipes import tiny_cohort, tiny_pairs

from synthct.data.cohort import write_cohort
from synthct.events import read_events
from synthct.synthesis.model_file import load_model

ROOT = Path(__file__).parents[1]


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize(
    ("method", "seed", "kills"),
    [
        ("regression", 7, 10),
        ("cyclegan", 1, 10),
        ("gan", 2, 10),
        ("wgan", 3, 4),
        ("conditional-gan", 4, 4),
        ("3d", 5, 4),
        ("self-regularised-gan", 5, 4),
        ("segmentation", 6, 4),
        ("dcgan", 8, 4),
        ("growing", 9, 4),
    ],
)
def test_killed_and_resumed_is_bit_for_bit_the_same(tmp_path, method, seed, kills):
    if method in ("dcgan", "growing"):
        write_cohort(tiny_pairs(tmp_path / "cohort"), tmp_path / "cohort" / "cohort.json")
    else:
        tiny_cohort(tmp_path / "cohort")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "Testing")]),
    }
    program = ROOT / "Testing" / "training_lives.py"
    cohort = tmp_path / "cohort" / "cohort.json"
    arguments = [str(cohort), str(tmp_path / "runs"), method, str(seed), str(kills)]
    done = subprocess.run([sys.executable, str(program), *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runs = [tmp_path / "runs" / name for name in ("undisturbed", "killed")]

    files = [sorted(path.name for path in (run / "checkpoints" / "last").iterdir()) for run in runs]
    assert files[0] == files[1] and "ema.safetensors" in files[0]
    for name in files[0]:
        first, second = (run / "checkpoints" / "last" / name for run in runs)
        if name.endswith(".safetensors"):
            assert same(load_file(first), load_file(second)), name
        elif name == "state.pt":
            assert same(*(torch.load(path, weights_only=True) for path in (first, second)))
    assert same(*(load_model(run).network.state_dict() for run in runs))
    pictures = [sorted(path.name for path in (run / "samples").iterdir()) for run in runs]
    assert pictures[0] == pictures[1]

    events = [read_events(run / "events.jsonl")[0] for run in runs]
    scores = [
        [(event["step"], event["values"]) for event in found if "validation/" in str(event.get("values"))]
        for found in events
    ]
    assert scores[0] and scores[0] == scores[1]
    steps = [event["step"] for event in events[1] if event["kind"] == "metrics" and "loss" in str(event["values"])]
    assert steps == sorted(set(steps)), "events after the checkpoint were not cut off"
    assert events[1][-1]["kind"] == "result"
