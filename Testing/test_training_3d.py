"""A 3D recipe from the first step to the file: it learns, shows its samples, and what it keeps translates a volume."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from matplotlib.image import imread
from phantoms import phantom_pair
from training_recipes import tiny_cohort, tiny_recipe

from synthct.errors import UserError
from synthct.events import Events, read_events
from synthct.methods.registry import build_method
from synthct.recipe import load_recipe, recipe_from_dict
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.model_file import load_model
from synthct.training.run import train
from synthct.volumes.geometry import grid_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    recipe = tiny_recipe("3d", steps=90, steps_per_epoch=10, ema=None)
    optimiser = {"generator": {"name": "adam", "lr": 1e-2, "schedule": "cosine"}}
    return train(
        dataclasses.replace(recipe, optimisers=optimiser), tiny_cohort(folder / "cohort"), folder / "run", device="cpu"
    )


def test_validation_falls_to_less_than_half(run):
    """Phantoms have four tissues of one HU each: what there is to learn is learnt in some steps."""
    events, _ = read_events(run / "events.jsonl")
    scores = [event["values"]["validation/mae_hu"] for event in events
              if "validation/mae_hu" in event.get("values", {})]  # fmt: skip
    assert len(scores) == 9
    assert min(scores) < 0.5 * scores[0]


def test_the_picture_shows_one_slice_of_each_sample(run):
    pictures = sorted((run / "samples").glob("*.png"))
    assert len(pictures) == 9
    assert imread(pictures[-1]).std() > 0.05


def test_the_card_says_that_it_is_a_3d_model(run):
    model = load_model(run)
    assert model.card["size"] == [4, 16, 16]
    assert (model.card["planes"], model.card["neighbours"]) == (["axial"], 0)
    assert (model.network.dimensions, model.divisor) == (3, 2)


@pytest.mark.parametrize("kind", ["oblique", "flipped"])
def test_a_file_comes_back_on_its_own_grid(run, kind, tmp_path):
    mr, ct, mask = phantom_pair((8, 32, 36), seed=9)
    if kind == "oblique":
        rotation = sitk.VersorTransform((0.2, 0.5, -0.8), 0.3)
        for image in (mr, ct, mask):
            image.SetDirection(rotation.GetMatrix())
    else:
        mr, ct, mask = (sitk.Flip(image, (True, False, True)) for image in (mr, ct, mask))
    sitk.WriteImage(mr, str(tmp_path / "mr.nii.gz"))
    sitk.WriteImage(mask, str(tmp_path / "mask.nii.gz"))
    heard = []
    path = synthesize_file(
        run,
        tmp_path / "mr.nii.gz",
        tmp_path / "sct.nii.gz",
        mask=tmp_path / "mask.nii.gz",
        device="cpu",
        events=Events(listener=heard.append),
    )
    result, read = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "mr.nii.gz"))
    assert grid_of(result) == grid_of(read)
    inside = sitk.GetArrayFromImage(mask) > 0
    error = np.abs(sitk.GetArrayFromImage(result).astype(float) - sitk.GetArrayFromImage(ct))[inside].mean()
    events, _ = read_events(run / "events.jsonl")
    best = next(event["best_mae_hu"] for event in reversed(events) if event["kind"] == "result")
    assert error < 2 * best  # another patient
    assert [event["planes"] for event in heard if event["kind"] == "result"] == [["axial"]]


def test_planes_are_refused_for_its_file(run, tmp_path):
    sitk.WriteImage(phantom_pair((8, 32, 36))[0], str(tmp_path / "mr.nii.gz"))
    with pytest.raises(UserError, match="3D one"):
        synthesize_file(run, tmp_path / "mr.nii.gz", tmp_path / "sct.nii.gz", planes=["coronal"], device="cpu")
    assert not (tmp_path / "sct.nii.gz").exists()


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("synthct-unet", {"data.size": "32,64,64", "neighbours": "0"}, ["`unet`", "2D one", "3 entries", "3D network"]),
        ("synthct-resenc-3d", {"data.size": "64,64"}, ["`resenc-unet`", "3D one", "2 entries", "2D network"]),
        ("synthct-resenc-3d", {"data.size": "64,160,150"}, ["All sides", "multiples of 32", "160 in place of 150"]),
        ("umea-gan-paired", {"data.size": "32,64,64"}, ["32×64×64", "slices"]),
    ],
)
def test_what_does_not_fit_together_is_refused_before_it_begins(preset, overrides, words):
    with torch.device("meta"), pytest.raises(UserError) as caught:
        build_method(load_recipe(preset, overrides))
    for word in words:
        assert word in str(caught.value)


def test_a_2d_residual_encoder_takes_slices():
    content = tiny_recipe("3d").to_dict()
    content["networks"]["generator"]["dimensions"] = 2
    content["data"] |= {"size": [32, 32], "neighbours": 1}
    method = build_method(recipe_from_dict(content))
    assert method.networks["generator"](torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(("key", "value"), [("neighbours", 1), ("planes", ["coronal"]), ("size", [4, 16, 16, 4])])
def test_a_card_that_contradicts_itself_is_refused(run, key, value, tmp_path):
    import json
    import shutil

    shutil.copytree(run / "model", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=key):
        load_model(tmp_path / "model")
