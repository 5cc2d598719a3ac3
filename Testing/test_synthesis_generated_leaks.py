"""``synthct generate --check-against``: copies among generated images are flagged in the manifest and drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_recipes import tiny_pairs

from synthct.__main__ import main
from synthct.data.cohort import read_cohort, write_cohort
from synthct.events import read_events
from synthct.methods.registry import build_method
from synthct.recipe import NOISE_TASK, recipe_from_dict
from synthct.synthesis.generation.generated_leaks import FLAG, PICTURE, check_generated
from synthct.synthesis.model_file import load_model, save_model
from synthct.training.noise_card import noise_card

SPACING = 2.0


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training cases")
    path = folder / "cohort.json"
    write_cohort(tiny_pairs(folder, cases=8, shape=(16, 20, 24)), path)
    return path


def model(folder, masks, size, fit, planes=("axial",)):
    """An untrained generator with a card as a training writes it."""
    recipe = recipe_from_dict(
        {
            "name": "tiny",
            "source": "a test",
            "task": NOISE_TASK,
            "method": {"name": "noise-wgan", "latent": 1},
            "networks": {
                "generator": {"name": "noise-unet", "filters": "2-4"},
                "critic": {"name": "strided-discriminator", "filters": "2-4"},
            },
            "optimisers": {role: {"name": "rmsprop", "lr": 1e-4} for role in ("generator", "critic")},
            "data": {
                "size": list(size),
                "fit": fit,
                "masks": masks,
                "paired": False,
                "planes": list(planes),
                "target_scaling": {"name": "hagan-ct"},
            },
        }
    )

    class Seen:
        spacing = (SPACING,) * 3

    method = build_method(recipe)
    save_model(folder, method.networks["generator"], noise_card(recipe, method, [Seen()]))
    return folder


def generate(where, folder, cohort, *options):
    command = ["generate", "--model", str(where), "--count", "3", "--output", str(folder), "--device", "cpu"]
    return main([*command, "--check-against", str(cohort), *options])


@pytest.mark.parametrize(("masks", "size"), [("channel", (16, 20, 24)), ("joined", (32, 20, 24)), ("none", (20, 24))])
def test_a_planted_copy_is_flagged_and_the_generated_ones_are_not(tmp_path, cohort, masks, size):
    where, folder = model(tmp_path / "model", masks, size, "resize"), tmp_path / "made"
    events = tmp_path / "events.jsonl"
    assert generate(where, folder, cohort, "--events", str(events)) == 0
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["leak_check"]["training_images"] == (8 if len(size) == 3 else 8 * 16)
    for pair in manifest["pairs"]:
        assert FLAG not in pair["flags"]
        assert pair["training_neighbour"]["too_close"] is False
    results = [event for event in read_events(events)[0] if event["kind"] == "result"]
    assert results[-1]["flagged"] == []
    before = (folder / PICTURE).read_bytes()

    # What a generator that knows its patients by heart would write.
    case = read_cohort(cohort).cases[5]
    copied = sitk.GetArrayFromImage(sitk.ReadImage(str(case.ct)))
    noise = np.random.default_rng(0).normal(0, 20, copied.shape)
    copied = np.clip(copied + noise, -1024, 600).round().astype(np.int16)
    image = sitk.GetImageFromArray(copied if len(size) == 3 else copied[8:9])
    image.SetSpacing((SPACING,) * 3)
    sitk.WriteImage(image, str(folder / manifest["pairs"][1]["image"]))
    assert generate(where, folder, cohort, "--events", str(events)) == 0
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    flagged = [pair for pair in manifest["pairs"] if FLAG in pair["flags"]]
    assert [pair["id"] for pair in flagged] == ["pair_00001"]
    assert flagged[0]["training_neighbour"]["nearest_case"] == case.id
    assert case.id in flagged[0]["training_neighbour"]["reasons"][0]
    found = read_events(events)[0]
    assert [event for event in found if event["kind"] == "result"][-1]["flagged"] == ["pair_00001"]
    assert any("too close" in event["what"] for event in found if event["kind"] == "warning")
    assert (folder / PICTURE).read_bytes() != before
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(folder / PICTURE))).std() > 5


def test_montages_are_compared_as_volumes(tmp_path, cohort):
    recipe_card = load_model(model(tmp_path / "plain", "none", (40, 96), "resize")).card
    card = {**recipe_card, "fit": "montage", "montage": {"slice": [20, 24], "slices": 8}}
    save_model(tmp_path / "model", load_model(tmp_path / "plain").network, card)
    folder = tmp_path / "made"
    assert generate(tmp_path / "model", folder, cohort) == 0
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["leak_check"]["training_images"] == 8
    image = sitk.ReadImage(str(folder / manifest["pairs"][0]["image"]))
    assert image.GetSize() == (24, 20, 8)
    copied = sitk.ReadImage(str(read_cohort(cohort).cases[2].ct))[:, :, 4:12]
    sitk.WriteImage(sitk.Clamp(copied, sitk.sitkInt16, -1024, 600), str(folder / manifest["pairs"][2]["image"]))
    flagged = check_generated(folder / "manifest.json", card, read_cohort(cohort))
    assert [pair["id"] for pair in flagged] == ["pair_00002"]


def test_crops_are_warned_of_and_a_single_patient_is_refused(tmp_path, cohort, capsys):
    where = model(tmp_path / "model", "channel", (8, 16, 16), "crop")
    assert generate(where, tmp_path / "made", cohort) == 0
    assert "window in their middle" in capsys.readouterr().err
    one = json.loads(cohort.read_text(encoding="utf-8"))
    one["cases"] = one["cases"][:1]
    alone = cohort.parent / "alone.json"
    alone.write_text(json.dumps(one), encoding="utf-8")
    assert generate(where, tmp_path / "other", alone) != 0
    assert "one patient" in capsys.readouterr().err
    assert generate(where, tmp_path / "third", tmp_path / "none.json") != 0
    assert not (tmp_path / "third").exists()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
