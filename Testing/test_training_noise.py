"""A training from noise from the command line to its pairs: kept model, pictures, warnings, refusals by name."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import yaml
from scipy import ndimage
from training_recipes import tiny_pairs, tiny_recipe

from synthct.__main__ import main
from synthct.data.cache import open_cache
from synthct.data.cohort import write_cohort
from synthct.data.noise_batches import NoiseBatches
from synthct.data.split import Split
from synthct.errors import UserError
from synthct.evaluation.distribution.image_statistics import image_statistics, statistics_distance
from synthct.events import Events, read_events
from synthct.methods.dcgan import DCGAN
from synthct.methods.registry import build_method
from synthct.recipe import load_recipe
from synthct.studies.comparison import compare
from synthct.synthesis.model_file import load_model
from synthct.training.collapse import LATENTS_DIVERSITY
from synthct.training.noise_judge import NoiseJudge, write_pair_grid
from synthct.training.run import _warn_of_few, resume, train


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    cohort = tiny_pairs(folder, 6, (16, 18, 20))
    write_cohort(cohort, folder / "cohort.json")
    return cohort


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    return train(tiny_recipe("dcgan", steps=2), pairs, tmp_path_factory.mktemp("trained") / "run", device="cpu")


def warnings(run):
    return [event["what"] for event in read_events(run / "events.jsonl")[0] if event["kind"] == "warning"]


def test_from_recipe_to_pairs(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(DCGAN, "published_images", 100)
    recipe, run, out = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(tiny_recipe("dcgan").to_dict()))
    cohort = str(pairs.root / "cohort.json")
    words = ["train", "--preset", str(recipe), "--cohort", cohort, "--run", str(run), "--device", "cpu"]
    assert main([*words, "--steps", "4", "--steps_per_epoch", "2"]) == 0
    assert "4 training cases are few for this method." in warnings(run)
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["epoch_0001.png", "epoch_0002.png"]
    told = read_events(run / "events.jsonl")[0]
    scores = {event["step"]: event["values"]["validation/statistics_distance"]
              for event in told if "validation/statistics_distance" in event.get("values", {})}  # fmt: skip
    assert told[-1]["best_step"] == min(scores, key=scores.get)
    card = load_model(run).card
    assert card["training"]["scores"]["statistics_distance"] == pytest.approx(min(scores.values()), abs=1e-3)
    assert (card["class_names"], card["masks"], card["latent_shape"]) == (["benign", "malignant"], "channel", [6])
    assert card["spacing"] == pytest.approx([2 * 19 / 15, 2 * 17 / 15, 2.0], abs=1e-4)
    assert main(["generate", "--model", str(run), "--count", "2", "--output", str(out), "--device", "cpu"]) == 0
    for pair in json.loads((out / "manifest.json").read_text())["pairs"]:
        image = sitk.ReadImage(str(out / pair["image"]))
        assert image.GetSize() == (16, 16, 16) and image.GetSpacing() == pytest.approx(card["spacing"])


@pytest.mark.parametrize(
    ("preset", "changes", "warned"),
    [
        ("oslo-wgan-gp-3d", {}, "30 training cases are few"),  # rows C4 and C5: 524
        ("oslo-vanilla-gan-1", {}, "30 training cases are few"),
        ("oslo-stylegan2", {}, "30 training cases are few"),  # montages
        ("synthct-stylegan2", {}, None),  # 30 × 12 slices, of 1336
        ("synthct-stylegan2", {"data.planes": "[sagittal]"}, "240 training slices are few"),
        ("synthct-fastgan", {}, None),
        ("lecture-dcgan-nodules", {}, None),  # no number is tabled
    ],
)
def test_few_images_are_said_with_the_number_published(preset, changes, warned):
    recipe = load_recipe(preset, changes)
    with torch.device("meta"):
        method = build_method(recipe)
    heard = []
    volumes = [SimpleNamespace(shape=(12, 10, 8))] * 30
    _warn_of_few(method, recipe.data, volumes, Events(listener=heard.append))
    assert [event["what"].startswith(warned) for event in heard] == ([] if warned is None else [True])
    assert all(str(method.published_images) in event["why"] for event in heard)


class OneImagePerClass(torch.nn.Module):
    """A generator that has collapsed as one with classes does: it knows the class and nothing else."""

    def __init__(self, images):
        super().__init__()
        self.images = torch.nn.Parameter(images)

    def forward(self, latent, classes=None):
        return self.images[classes]


def test_collapse_within_classes_is_seen(pairs, tmp_path):
    """Two classes that differ a lot do not hide that each is a single image."""
    recipe = tiny_recipe("dcgan")
    card = {"class_names": list(recipe.data.classes), "size": [16, 16, 16], "masks": "channel", "latent_shape": [6]}
    data = dataclasses.replace(recipe.data, fit="centre")
    samples = NoiseBatches(open_cache(pairs, tmp_path), [case.id for case in pairs], data, 1, 0)
    images = torch.stack([torch.full((2, 16, 16, 16), -0.9), samples.preview(1)["target"][0]])
    judge = NoiseJudge(card, None, samples)
    told = judge.draw(tmp_path / "picture.png", OneImagePerClass(images), {}, "collapsed", torch.device("cpu"))
    assert told[LATENTS_DIVERSITY] == pytest.approx(0, abs=1e-6)
    assert (tmp_path / "picture.png").exists()


def test_generated_pairs_are_a_cohort(trained, tmp_path):
    words = ["generate", "--model", str(trained), "--count", "3", "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    manifest = tmp_path / "again.json"
    folder = str(tmp_path / "out")
    assert main(["cohort", folder, "--task", "noise-to-ct", "--output", str(manifest)]) == 0
    assert [case["id"] for case in json.loads(manifest.read_text())["cases"]] == [f"pair_{n:05d}" for n in range(3)]


def test_few_patients_are_all_learned(pairs, tmp_path):
    few = dataclasses.replace(pairs, cases=pairs.cases[:2])
    run = train(tiny_recipe("dcgan", steps=2), few, tmp_path / "run", device="cpu")
    split = json.loads((run / "split.json").read_text())
    assert len(split["training"]) == 2 and not split["validation"]
    assert load_model(run).card["training"]["steps"] == 2


def test_another_resolution_cannot_go_on(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["size"] = [24, 24, 24]
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(UserError, match=r"The recipe of the run .* changed"):
        resume(run, device="cpu")


def test_a_model_of_another_latent_is_no_start(trained, pairs, tmp_path):
    recipe = tiny_recipe("dcgan", steps=1)
    longer = dataclasses.replace(recipe, method={**recipe.method, "latent": 7})
    with pytest.raises(UserError, match="or another latent or size: 6 channels in"):
        train(longer, pairs, tmp_path / "run", device="cpu", initial_model=trained)
    assert not (tmp_path / "run").exists()


def test_slabs_cannot_be_learned_from_noise(pairs, tmp_path):
    ids = tuple(case.id for case in pairs)
    split = Split(ids, ids, slabs={"training": dict.fromkeys(ids, ((0, 8),))})
    with pytest.raises(UserError, match="slabs"):
        train(tiny_recipe("dcgan", steps=2), pairs, tmp_path / "run", device="cpu", split=split)


def test_bad_cases_are_named_or_left_out(tmp_path):
    cohort = tiny_pairs(tmp_path / "pairs", 5, (16, 18, 20))
    flat = sitk.Image(20, 18, 16, sitk.sitkInt16)
    flat.CopyInformation(sitk.ReadImage(str(cohort.cases[1].ct)))
    sitk.WriteImage(flat, str(cohort.cases[1].ct))
    with pytest.raises(UserError, match="image of case phantom_01 is constant"):
        train(tiny_recipe("dcgan", steps=2), cohort, tmp_path / "refused", device="cpu")
    run = train(tiny_recipe("dcgan", steps=2), cohort, tmp_path / "run", device="cpu", skip_corrupt=True)
    assert "The case phantom_01 is left out." in warnings(run)


@pytest.mark.parametrize("shape", [(2, 2, 12, 16, 16), (3, 1, 12, 43)])
def test_every_image_has_its_place_in_the_picture(shape, tmp_path):
    """White images above grey ones, the last of which is missing."""
    made, real = np.ones(shape, np.float32), np.zeros((shape[0] - 1, *shape[1:]), np.float32)
    made[:, 1:], real[:, 1:] = -1, -1
    write_pair_grid(tmp_path / "grid.png", made, real, "epoch 7")
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "grid.png")))[..., 0]
    grey = ndimage.label(ndimage.binary_opening((picture > 120) & (picture < 135), np.ones((9, 9))))[1]
    assert grey == len(real) * shape[1]


def test_the_distance_of_statistics_sees_what_it_should():
    random = np.random.default_rng(0)

    def images(count, level=0.0, contrast=1.0, blur=False):
        found = random.normal(level, 0.2 * contrast, (count, 1, 24, 24))
        found[:, :, 6:12, 6:12] += 0.5 + random.normal(0, 0.05, (count, 1, 1, 1))
        if blur:
            found = (found + np.roll(found, 1, -1) + np.roll(found, 1, -2) + np.roll(found, 1, (-1, -2))) / 4
        return np.stack([image_statistics(image) for image in found])

    reference = images(40)
    assert statistics_distance(reference, reference) == pytest.approx(0, abs=1e-6)
    same = statistics_distance(images(40), reference)
    for changed in ({"level": 0.1}, {"contrast": 1.3}, {"blur": True}):
        assert statistics_distance(images(40, **changed), reference) > 3 * same, changed


def test_statistics_by_hand():
    image = np.full((1, 4, 4), -1.0)
    image[0, :, 2:] = 1.0
    found = image_statistics(image)
    assert found[:8].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0.5]  # eight parts of -1 to 1
    assert found[8:12].tolist() == [-1, 1, -1, 1]  # quadrants
    assert found[12:15] == pytest.approx([1, 0, 2 / 3])  # spread; differences along rows, columns
    assert found[15:18] == pytest.approx([1, 0, 2])  # of blocks of 2
    assert found[18:21].tolist() == [0, 0, 0]  # one block of 4


def test_recipes_from_noise_are_not_compared_on_patients(pairs, tmp_path):
    with pytest.raises(UserError, match="tiny-dcgan cannot be compared"):
        compare([tiny_recipe("dcgan")], pairs, tmp_path, splitter=None, device="cpu")
    assert not list(tmp_path.iterdir())
