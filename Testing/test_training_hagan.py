"""HA-GAN from the command line: trained, ended, resumed to the bit, and pairs of image and mask made with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hagan_ranks import SMALL as SMALL_RANKS
from safetensors.torch import load_file

from synthct.__main__ import main
from synthct.data.cache import open_cache
from synthct.data.cohort import read_cohort
from synthct.data.fitting import fitted
from synthct.data.noise_batches import NoiseBatches
from synthct.data.sample_sets import fetch
from synthct.errors import UserError
from synthct.events import read_events
from synthct.methods.registry import build_method
from synthct.recipe import load_recipe
from synthct.synthesis.model_file import load_model
from synthct.training import run as running
from synthct.training.checkpoint import load_checkpoint
from synthct.training.loop import Loop

TESTING = Path(__file__).parent
SMALL = {
    "data.size": "32,32,32",
    "method.latent": "16",
    "networks.generator.width": "32",
    "networks.discriminator.width": "64",
    "training.batch": "2",
    "training.steps": "4",
    "training.steps_per_epoch": "2",
    "training.ema": "0.9",
    "training.precision": "32-true",
}


@pytest.fixture(autouse=True)
def one_thread():
    """Networks so small lose more by threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return fetch("phantom-pairs", tmp_path_factory.mktemp("pairs"), count=5) / "cohort.json"


def small(preset, **changes):
    return load_recipe(preset, {**SMALL, **changes})


def test_trained_ended_and_resumed_is_bit_for_bit_the_same(cohort, tmp_path, monkeypatch):
    """With encoders, so that all four optimisers and the spectral norm's vectors come back."""
    recipe = small("oslo-hagan-128", **{"data.masks": "channel", "networks.global_encoder.width": "16"})
    running.train(recipe, read_cohort(cohort), tmp_path / "straight", device="cpu")

    class PowerFailure(Exception):
        pass

    whole = Loop._end_epoch

    def cut(*arguments):
        whole(*arguments)
        raise PowerFailure

    monkeypatch.setattr(Loop, "_end_epoch", cut)
    with pytest.raises(PowerFailure):
        running.train(recipe, read_cohort(cohort), tmp_path / "resumed", device="cpu")
    monkeypatch.setattr(Loop, "_end_epoch", whole)
    running.resume(tmp_path / "resumed", device="cpu")

    folders = [tmp_path / name / "checkpoints" / "last" for name in ("straight", "resumed")]
    names = [sorted(path.name for path in folder.glob("*.safetensors")) for folder in folders]
    assert names[0] == names[1] and "ema.safetensors" in names[0]
    for name in names[0]:
        first, second = (load_file(folder / name) for folder in folders)
        assert first.keys() == second.keys()
        assert all(value.equal(second[key]) for key, value in first.items()), name
    weights = [load_model(tmp_path / name).network.state_dict() for name in ("straight", "resumed")]
    assert all(value.equal(weights[1][key]) for key, value in weights[0].items())


def test_volumes_come_in_an_order_of_its_own_in_each_epoch(cohort, tmp_path):
    """The thesis: in the cohort's order it collapsed."""
    recipe = small("synthct-hagan-64", **{"data.augmentation.flip": "false"})
    opened = open_cache(read_cohort(cohort).for_task(recipe.task), tmp_path)
    volumes = {case: fitted(volume, recipe.data) for case, volume in opened.items()}
    batches = NoiseBatches(volumes, list(volumes), recipe.data, 1, 0)
    known = [sample.tobytes() for sample in batches.spread(5)]
    assert len(set(known)) == batches.steps_per_epoch == 5
    shown = [known.index(batches[step]["target"][0].numpy().tobytes()) for step in range(20)]
    epochs = [tuple(shown[first : first + 5]) for first in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(epochs)) >= 3 and epochs[0] != (0, 1, 2, 3, 4)


@pytest.mark.parametrize("form", ["channel", "joined"])
def test_pairs_are_trained_on_and_generated(form, cohort, tmp_path):
    """And such a run does not go on at another resolution."""
    words = [word for key, value in SMALL.items() for word in (f"--{key}", value)]
    command = ["train", "--preset", "synthct-hagan-64", "--cohort", str(cohort), "--run", str(tmp_path / "run")]
    assert main([*command, "--data.masks", form, "--device", "cpu", *words]) == 0
    events = read_events(tmp_path / "run" / "events.jsonl")[0]
    metrics = [event["values"] for event in events if event["kind"] == "metrics"]
    assert {key for found in metrics for key in found if key.startswith("loss/")} == {
        "loss/d_real",
        "loss/d_synthetic",
        "loss/r1",
        "loss/g_adversarial",
    }
    assert any(event["kind"] == "warning" and "524" in json.dumps(event) for event in events)
    model = load_model(tmp_path / "run")
    assert model.card["latent_shape"] == [16] and model.card["masks"] == form

    output = tmp_path / "pairs"
    command = ["generate", "--model", str(tmp_path / "run"), "--count", "2", "--seed", "3", "--output", str(output)]
    assert main([*command, "--device", "cpu"]) == 0
    depth = 32 if form == "channel" else 16
    images = []
    for name in ("pair_00000", "pair_00001"):
        image, mask = (sitk.ReadImage(str(output / kind / f"{name}.nii.gz")) for kind in ("images", "masks"))
        assert image.GetSize() == mask.GetSize() == (32, 32, depth)
        hu = sitk.GetArrayFromImage(image)
        assert -1024 <= hu.min() < hu.max() <= 600
        assert set(np.unique(sitk.GetArrayFromImage(mask))) <= {0, 1}
        images.append(hu)
    assert not np.array_equal(*images)

    recipe = tmp_path / "run" / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    assert text.count("- 32\n") == 3
    recipe.write_text(text.replace("- 32\n", "- 64\n"), encoding="utf-8")
    with pytest.raises(UserError, match="changed since it began"):
        running.resume(tmp_path / "run", device="cpu")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_two_processes_equal_one_with_the_joint_batch(cohort, tmp_path):
    """All four networks, by gradients that are averaged over the processes."""
    program = [sys.executable, str(TESTING / "hagan_ranks.py"), str(cohort), str(tmp_path)]
    path = os.pathsep.join([str(TESTING.parent), str(TESTING)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (load_checkpoint(tmp_path / name / "checkpoints")[1]["networks"] for name in ("1", "2"))
    begun = build_method(load_recipe("oslo-hagan-128", SMALL_RANKS)).networks.state_dict()
    assert one.keys() == two.keys() and len(one) > 50
    changed = set()
    for key, value in one.items():
        assert torch.allclose(value, two[key], rtol=0, atol=1e-9), key
        if not torch.equal(value.float(), begun[key]):
            changed.add(key.split(".")[0])
    assert changed == {"generator", "discriminator", "encoder", "global_encoder"}
