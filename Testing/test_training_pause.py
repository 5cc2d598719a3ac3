"""A pause is a polite kill: quick, at any moment, and the run that goes on ends with the very same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from training_recipes import tiny_cohort, tiny_recipe

from synthct.events import read_events
from synthct.locks import lock_holder
from synthct.training.run import resume, train

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """Cohort, recipe file and the run of a training that nobody paused."""
    folder = tmp_path_factory.mktemp("left alone")
    recipe = tiny_recipe(steps=4, steps_per_epoch=2)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    cohort = tiny_cohort(folder / "cohort")
    return cohort, folder / "recipe.yaml", train(recipe, cohort, folder / "run", device="cpu")


def is_preparing(event):
    return event.get("task") in ("prepare", "cache")


def is_validating(event):
    return "validation" in event.get("message", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no polite kill")
@pytest.mark.parametrize("moment", [is_preparing, is_validating])
def test_a_pause_at_any_moment_changes_nothing(left_alone, tmp_path, moment):
    cohort, recipe, whole = left_alone
    run = tmp_path / "run"
    words = ["train", "--preset", str(recipe), "--cohort", str(cohort.root / "cohort.json"), "--run", str(run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-m", "synthct", *words, "--device", "cpu"], env=environment)
    while not any(moment(event) for event in read_events(run / "events.jsonl")[0]):
        assert child.poll() is None, "it ended before it could be paused"
        time.sleep(0.01)
    assert lock_holder(run)[0] == child.pid
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 130
    assert lock_holder(run) is None and read_events(run / "events.jsonl")[0][-1]["kind"] == "cancelled"
    resume(run, device="cpu")
    assert read_events(run / "events.jsonl")[0][-1]["kind"] == "result"
    weights = [load_file(path / "checkpoints" / "last" / "networks.safetensors") for path in (whole, run)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
