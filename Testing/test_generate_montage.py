"""Volumes as montages, learned as pictures and taken apart again: batches, card, `synthct generate`, refusals."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_recipes import tiny_pairs

from synthct.__main__ import main
from synthct.data.cache import open_cache
from synthct.data.cohort import write_cohort
from synthct.data.fitting import fitted, slices_laid_out
from synthct.data.noise_batches import NoiseBatches
from synthct.data.preparation import prepare_cohort
from synthct.errors import UserError
from synthct.methods.registry import build_method
from synthct.recipe import NOISE_TASK, Preparation, load_recipe
from synthct.synthesis.card import check_card
from synthct.synthesis.model_file import load_model
from synthct.training.dry_run import measure
from synthct.volumes.montage import Montage

SMALL = {
    "data.size": "[64, 64]",
    "data.montage_slice": "[18, 28]",
    "data.masks": "channel",
    "data.mask_scaling": "{name: hagan-mask-binary}",
    "preparation.spacing": "null",
    "networks.generator.capacity": "256",
    "networks.generator.widest": "16",
    "networks.discriminator.capacity": "256",
    "networks.discriminator.widest": "16",
    "training.batch": "2",
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    pairs = tiny_pairs(tmp_path_factory.mktemp("pairs"), cases=4, shape=(5, 24, 26))
    prepared = prepare_cohort(pairs.for_task(NOISE_TASK), Preparation(), pairs.root / "prepared")
    write_cohort(pairs, pairs.root / "cohort.json")
    return pairs, prepared


def recipe(preset="oslo-fastgan", **changed):
    return load_recipe(preset, {**SMALL, **changed})


def test_a_sample_is_the_montage_of_a_whole_volume(cohort, tmp_path):
    data = recipe().data
    volumes = open_cache(cohort[1], tmp_path)
    sheets = {name: fitted(volume, data) for name, volume in volumes.items()}
    montage = Montage((64, 64), (18, 28))
    for name, sheet in sheets.items():
        assert (sheet.shape, slices_laid_out(sheet), sheet.spacing) == ((1, 64, 64), 5, volumes[name].spacing)
        back = montage.take_back(np.asarray(sheet.ct[0]), 5)
        assert np.array_equal(back[:, :, 1:27], volumes[name].ct[:, 3:21])  # 24 rows are cut, 26 columns padded
        assert (back[:, :, [0, 27]] == -1024).all()
        assert np.array_equal(montage.take_back(np.asarray(sheet.mask[0]), 5)[:, :, 1:27], volumes[name].mask[:, 3:21])
        assert fitted(volumes[name], data).folder == sheet.folder
    batches = NoiseBatches(sheets, list(sheets), data, 2, 0)
    assert len(batches) == 4
    assert batches[0]["target"].shape == (2, 2, 64, 64)
    assert batches[0]["target"].min() == -1


def test_montages_are_learned_and_become_volumes_again(cohort, tmp_path):
    run, output = tmp_path / "run", tmp_path / "made"
    options = [word for key, value in SMALL.items() for word in (f"--{key}", value)]
    manifest = str(cohort[0].root / "cohort.json")
    command = ["train", "--preset", "oslo-stylegan2", "--cohort", manifest, "--run", str(run), "--steps", "2"]
    assert main([*command, "--device", "cpu", *options]) == 0
    model = load_model(run)
    assert model.card["montage"] == {"slice": [18, 28], "slices": 5}

    generate = ["generate", "--model", str(run), "--output", str(output), "--device", "cpu"]
    assert main([*generate, "--count", "2", "--seed", "4", "--check-against", manifest]) == 0
    listed = json.loads((output / "manifest.json").read_text(encoding="utf-8"))["pairs"]
    assert len(listed) == 2 and all("training_neighbour" in entry for entry in listed)
    images = [sitk.ReadImage(str(output / entry["image"])) for entry in listed]
    for image, entry in zip(images, listed, strict=True):
        mask = sitk.ReadImage(str(output / entry["mask"]))
        assert image.GetSize() == mask.GetSize() == (28, 18, 5)
        assert image.GetSpacing() == (2.0, 2.0, 2.0)
        assert set(np.unique(sitk.GetArrayFromImage(mask))) <= {0, 1}
    values = [sitk.GetArrayFromImage(image) for image in images]
    assert values[0].std() > 0 and not np.array_equal(*values)
    slices = values[0].astype(float)
    assert not np.array_equal(slices[0], slices[1])


def test_a_dry_run_measures_montages():
    found = measure(recipe(), "cpu", steps=1)
    assert found.seconds_per_step > 0 and found.parameters > 10_000


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data.size": "[32, 32, 32]", "data.masks": "none"}, "rows and columns"),
        ({"data.planes": "[coronal]"}, "axial"),
        ({"data.augmentation.flip": "true"}, "flip"),
        ({"data.montage_slice": "[65, 8]"}, "no place"),
        ({"data.montage_slice": "[8]"}, "2 entries"),
    ],
)
def test_what_cannot_be_a_montage_is_refused(changed, words):
    with pytest.raises(UserError, match=words):
        build_method(recipe(**changed))


@pytest.mark.parametrize("montage", [None, {}, {"slice": [18, 28]}, {"slice": [18, 28], "slices": 7}, {"slice": 18}])
def test_a_card_must_say_how_its_slices_lie(montage):
    card = {"format": 1, "name": "m", "task": NOISE_TASK, "input": "noise", "target": "CT", "fit": "montage"}
    card |= {"network": {"name": "fastgan"}, "in_channels": 256, "out_channels": 1, "latent_shape": [256]}
    card |= {"channels": ["image"], "masks": "none", "mask_scaling": None, "target_scaling": {"name": "hagan-ct"}}
    card |= {"size": [64, 64], "spacing": [1, 1, 1], "hu_range": [-1024, 600], "class_names": [], "planes": ["axial"]}
    card |= {"weights_sha256": "0", "preparation": {}}
    check_card({**card, "montage": {"slice": [18, 28], "slices": 6}}, "model.json")
    with pytest.raises(UserError, match="montage"):
        check_card({**card, "montage": montage}, "model.json")
