"""Two processes that share a batch train as one process with the whole batch does, and resume as if never ended."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch
from training_ranks import JOINT_BATCH, RECIPES, recipe
from training_recipes import tiny_cohort

from synthct.data.cache import open_cache
from synthct.data.cohort import read_cohort
from synthct.data.slices import SliceBatches
from synthct.data.split import read_split
from synthct.events import Events, read_events
from synthct.training.checkpoint import load_checkpoint, read_summary
from synthct.training.run import resume

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    cohort = tiny_cohort(folder / "cohort")
    for case in cohort.cases[::2]:  # so that the processes have masks of very different size
        mask = sitk.ReadImage(str(case.mask))
        mask[: mask.GetWidth() // 2] = 0
        sitk.WriteImage(mask, str(case.mask))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "Testing")]),
    }
    program = [sys.executable, str(ROOT / "Testing" / "training_ranks.py")]
    arguments = [str(cohort.root / "cohort.json"), str(folder)]
    done = subprocess.run([*program, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_two_processes_equal_one_with_the_joint_batch(runs, name):
    weights = [load_checkpoint(runs / f"{name}{world}" / "checkpoints")[1]["networks"] for world in (1, 2)]
    assert all(torch.allclose(weights[0][key], weights[1][key], rtol=0, atol=1e-9) for key in weights[0])
    best = [read_summary(runs / f"{name}{world}" / "checkpoints")["standing"]["best"] for world in (1, 2)]
    assert best[0] == pytest.approx(best[1], abs=0.1)


def test_the_processes_had_masks_of_different_size(runs):
    cohort = read_cohort(runs / "masked2" / "prepared" / "cohort.json")
    volumes = open_cache(cohort, cohort.root / ".cache")
    cases = read_split(runs / "masked2" / "split.json").training
    settings = recipe("masked", 2)
    shares = [
        SliceBatches(volumes, cases, settings.data, JOINT_BATCH // 2, settings.training.seed, rank, 2)
        for rank in (0, 1)
    ]
    sums = [[share[step]["mask"].sum().item() for share in shares] for step in range(4)]
    assert any(abs(one - other) > 0.2 * max(one, other) for one, other in sums)


def test_resumed_processes_have_their_own_image_pools_back(runs):
    straight, resumed = (load_checkpoint(runs / name / "checkpoints")[1] for name in ("straight", "resumed"))
    for part in ("networks", "method", "ema"):
        assert straight[part].keys() == resumed[part].keys()
        for key, value in straight[part].items():
            assert torch.equal(value, resumed[part][key]), f"{part}: {key}"
    pools = [
        {key.split(".", 1)[1]: image for key, image in straight["method"].items() if key.startswith(str(rank))}
        for rank in (0, 1)
    ]
    assert pools[0].keys() == pools[1].keys() and len(pools[0]) == 6
    assert not any(torch.equal(pools[0][key], pools[1][key]) for key in pools[0])
    steps = [e["step"] for e in read_events(runs / "resumed" / "events.jsonl")[0] if "loss/g_ct" in e.get("values", {})]
    assert steps == sorted(set(steps)) and steps[-1] == 6


def test_going_on_with_fewer_processes_is_said(runs):
    shutil.copytree(runs / "straight", runs / "fewer")
    heard = []
    resume(runs / "fewer", device="cpu", events=Events(listener=heard.append))
    warnings = [event for event in heard if event["kind"] == "warning" and "2 processes" in event["what"]]
    assert len(warnings) == 1 and "1" in warnings[0]["what"]


def test_batch_norm_of_several_processes_is_said(runs):
    warned = {
        name: [
            event
            for event in read_events(runs / name / "events.jsonl")[0]
            if event["kind"] == "warning" and "own batch norm" in event["what"]
        ]
        for name in ("straight", "masked2", "masked1")
    }
    assert {name: len(found) for name, found in warned.items()} == {"straight": 1, "masked2": 0, "masked1": 0}
