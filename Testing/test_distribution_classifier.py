"""A network that learns the classes of a cohort: trained, judged on held-out cases, kept with a card, refused."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from synthct.data.class_names import with_classes
from synthct.data.cohort import Case, Cohort, write_cohort
from synthct.errors import UserError
from synthct.methods.registry import build_method
from synthct.networks.resnet_classifier import pooled_features
from synthct.recipe import load_recipe
from synthct.synthesis.model_file import load_model
from synthct.synthesis.translate import translate
from synthct.training.dry_run import measure
from synthct.training.run import resume, train

TINY = {
    "data.size": [32, 32, 32],
    "classifier.depth": 10,
    "classifier.widen": 0.125,
    "lr": 3e-3,
    "batch": 4,
    "steps": 24,
    "steps_per_epoch": 8,
    "training.ema": 0.7,
    "training.precision": "32-true",
}


def ball_in_noise(seed, radius, shape=(20, 24, 24)):
    """A ball of soft tissue in the middle of lung, with noise: what class it is, is its size."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, length) for length in shape], indexing="ij")
    inside = z**2 + y**2 + x**2 < (radius + random.uniform(-0.03, 0.03)) ** 2
    hu = np.where(inside, 40, -800) + random.normal(0, 60, shape)
    image, mask = (sitk.GetImageFromArray(array) for array in (hu.astype(np.int16), inside.astype(np.uint8)))
    for volume in (image, mask):
        volume.SetSpacing((2.0, 2.0, 2.5))
    return image, mask


def balls(folder, count, radii=(0.4, 0.75), first=0):
    """Cases of two classes, which their sizes tell, with masks."""
    cases = []
    for number in range(count):
        kind = number % len(radii)
        paths = [folder / place / f"ball_{first + number:02d}.nii.gz" for place in ("images", "masks")]
        for path, image in zip(paths, ball_in_noise(first + number, radii[kind]), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(path))
        known = {"diagnosis": ("small", "large")[kind], "centre": f"site {number % 3}"}
        cases.append(Case(paths[0].name.split(".")[0], None, paths[0], paths[1], **known))
    return Cohort(tuple(cases), folder)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return balls(tmp_path_factory.mktemp("balls"), 20)


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    torch.set_num_threads(1)
    return train(load_recipe("synthct-features-resnet", TINY), cohort, tmp_path_factory.mktemp("run") / "run", "cpu")


def test_tiny_network_learns_the_classes_of_a_cohort(run, cohort):
    card = json.loads((run / "model" / "model.json").read_text(encoding="utf-8"))
    assert card["task"] == "ct-to-class" and card["classes"] == ["large", "small"]
    assert card["class_of"] == "diagnosis" and card["fit"] == "resize" and card["size"] == [32, 32, 32]
    assert len(card["weights_sha256"]) == 64
    assert card["training"]["scores"]["accuracy"] == 1
    assert "validation cases" in card["training"]["scores_are"]
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    parts = {part: {cohort[name].diagnosis for name in split[part]} for part in ("validation", "test")}
    assert parts == {"validation": {"small", "large"}, "test": {"small", "large"}}  # spread over the classes
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"epoch_{n:04d}.png" for n in (1, 2, 3)]


def test_kept_model_finds_the_classes_of_unseen_images(run, tmp_path):
    from synthct.data.cache import open_cache
    from synthct.data.fitting import fitted
    from synthct.recipe import recipe_from_dict
    from synthct.synthesis.class_scores import class_probabilities

    model = load_model(run)
    unseen = balls(tmp_path, 10, first=100)
    recipe = load_recipe("synthct-features-resnet", TINY)
    assert recipe_from_dict(recipe.to_dict()) == recipe
    volumes = open_cache(unseen, tmp_path / "cache")
    found = [class_probabilities(model.network, fitted(volumes[c.id], recipe.data), recipe.data, "cpu") for c in unseen]
    names = [model.card["classes"][int(each.argmax())] for each in found]
    right = sum(name == case.diagnosis for name, case in zip(names, unseen, strict=True))
    assert right >= 9  # by chance with a probability of 1 %
    features, shares = pooled_features(model.network, torch.zeros(2, 1, 32, 32, 32))
    assert features.shape == (2, 64) and torch.allclose(shares.sum(dim=1), torch.ones(2))
    assert torch.allclose(model.network.fc(features).softmax(dim=1), shares)


def test_resumed_run_goes_on_with_the_classes_of_its_cohort(run, cohort, tmp_path):
    recipe = load_recipe("synthct-features-resnet", {**TINY, "steps": 2, "steps_per_epoch": 1})
    again = train(recipe, cohort, tmp_path / "run", "cpu")
    assert "large" in (again / "recipe.yaml").read_text(encoding="utf-8")
    assert resume(again, "cpu") == again


def test_classes_come_from_the_manifest(cohort, tmp_path):
    recipe = load_recipe("synthct-features-resnet", TINY)
    assert with_classes(recipe, cohort).data.classes == ("large", "small")
    by_centre = load_recipe("synthct-features-resnet", {**TINY, "class_of": "centre"})
    assert with_classes(by_centre, cohort).data.classes == ("site 0", "site 1", "site 2")
    named = load_recipe("synthct-features-resnet", {**TINY, "classes": ["small", "large"]})
    assert with_classes(named, cohort).data.classes == ("small", "large")
    assert with_classes(load_recipe("synthct-unet"), cohort).data.classes == ()
    with pytest.raises(UserError, match="of the diagnosis large"):
        with_classes(load_recipe("synthct-features-resnet", {**TINY, "classes": ["small", "other"]}), cohort)
    one_class = dataclasses.replace(cohort, cases=cohort.cases[::2])
    with pytest.raises(UserError, match="have the diagnosis small"):
        with_classes(recipe, one_class)
    nameless = dataclasses.replace(cohort, cases=(dataclasses.replace(cohort.cases[0], diagnosis=None),))
    with pytest.raises(UserError, match=r"ball_00 of the cohort .* has no diagnosis"):
        with_classes(recipe, nameless)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.masks": "channel"}, "data.masks"),
        ({"data.size": [16, 32, 32]}, "too small"),
        ({"batch": 1}, "too small"),
        ({"data.fit": "montage"}, "montage"),
        ({"data.augmentation.gamma": 0.1}, "the classes of images"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"classifier.depth": 12}, "depth 12"),
        ({"networks.classifier.dimensions": 2}, "2D one"),
        ({"task": "noise-to-ct"}, "does not go with"),
        ({"networks": {"classifier": {"name": "unet-3d"}}}, "no classifier"),
    ],
)
def test_recipe_that_cannot_work_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        build_method(load_recipe("synthct-features-resnet", {**TINY, **changes}))


def test_other_methods_and_verbs_refuse_what_tells_classes(run):
    recipe = load_recipe("synthct-unet")
    with pytest.raises(UserError, match="does not go with `task: ct-to-class`"):
        build_method(
            dataclasses.replace(
                recipe, task="ct-to-class", data=dataclasses.replace(
                    recipe.data, neighbours=0, augmentation=load_recipe("synthct-features-resnet").data.augmentation
                ), preparation=load_recipe("synthct-features-resnet").preparation,
            )
        )  # fmt: skip
    image = ball_in_noise(0, 0.5)[0]
    with pytest.raises(UserError, match="gives no HU"):
        translate(image, load_model(run), device="cpu")


def test_a_step_by_hand():
    method = build_method(load_recipe("synthct-features-resnet", {**TINY, "label_smoothing": 0.0}))
    images, classes = torch.randn(4, 1, 32, 32, 32), torch.tensor([0, 1, 1, 0])
    method.networks.train()
    with torch.no_grad():
        scores = copy.deepcopy(method.networks["classifier"])(images)
    seen = {}

    def update(name, loss):
        seen[name] = loss
        loss.backward()

    losses = method.training_step({"target": images, "class": classes}, update, 0.0)
    expected = -torch.log_softmax(scores, dim=1)[torch.arange(4), classes].mean()
    assert seen.keys() == {"classifier"} and losses["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses["accuracy"].item() == (scores.argmax(1) == classes).float().mean().item()
    assert all(weight.grad is not None for weight in method.networks.parameters())


def test_dry_run_of_the_preset_needs_no_cohort():
    found = measure(load_recipe("synthct-features-resnet", TINY), "cpu", steps=1)
    assert found.parameters > 10_000 and found.steps == 24


def test_cohort_without_enough_patients_is_learned_whole(tmp_path):
    cohort = balls(tmp_path, 4)
    two = tuple(dataclasses.replace(case, patient=f"p{n % 2}") for n, case in enumerate(cohort))
    write_cohort(dataclasses.replace(cohort, cases=two), tmp_path / "cohort.json")
    recipe = load_recipe("synthct-features-resnet", {**TINY, "steps": 1, "steps_per_epoch": 1})
    run = train(recipe, dataclasses.replace(cohort, cases=two), tmp_path / "run", "cpu")
    assert "scores" in json.loads((run / "model" / "model.json").read_text(encoding="utf-8"))["training"]
