"""Segmentation of spoilt CTs, and a regression that compares the features of that network: by hand, and as runs."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from test_methods_steps import NoUpdate, PlainUpdate, blobs, recipe, train
from training_recipes import tiny_cohort, tiny_recipe

from synthct.errors import UserError
from synthct.events import Events
from synthct.methods.registry import build_method
from synthct.methods.segmentation import CLASSES
from synthct.synthesis.card import card_of
from synthct.synthesis.model_file import load_model
from synthct.synthesis.translate import translate
from synthct.training.checkpoint import load_checkpoint
from synthct.training.run import resume
from synthct.training.run import train as train_run
from synthct.volumes.read import read_image
from synthct.volumes.scaling import make_scaling

SEGMENTER = {"name": "unet", "width": "4-8", "output": "linear"}
WINDOW = {"name": "ct-window"}


def segmentation(width="4-8", optimiser=None, **options):
    networks = {"segmenter": {**SEGMENTER, "width": width}}
    return build_method(recipe({"name": "segmentation", **options}, networks, optimiser, target_scaling=WINDOW))


def scaled(*hu):
    return torch.from_numpy(make_scaling(WINDOW).apply(np.array(hu)))


def test_classes_are_those_of_the_hu():
    hu = scaled(-1000, -201, -200, -1, 0, 249, 250, 1500)
    found = segmentation().labels(hu, torch.ones(8))
    assert [CLASSES[int(label)] for label in found] == [
        *["air"] * 2, *["fat"] * 2, *["soft tissue"] * 2, *["bone"] * 2
    ]  # fmt: skip
    assert (segmentation().labels(hu, torch.zeros(8)) == 0).all()


def test_what_spoils_the_ct():
    """Gain about air, offset and noise in HU, blur between none and all of a Gaussian."""
    water = scaled(0.0)[0].item() * torch.ones(64, 1, 24, 24)
    still = {"blur": 0.0, "gain": 0.0, "offset": 0.0, "noise": 0.0}
    invert = make_scaling(WINDOW).invert
    torch.manual_seed(0)
    torch.testing.assert_close(segmentation(**still).spoilt(water), water)
    hu = invert(segmentation(**{**still, "offset": 50.0}).spoilt(water).numpy())
    assert hu.min() >= -50.1 and hu.max() <= 50.1 and np.ptp(hu[:, 0, 0, 0]) > 80 and np.ptp(hu[0]) == 0
    hu = invert(segmentation(**{**still, "gain": 0.1}).spoilt(water).numpy())
    assert hu.min() >= -100.1 and hu.max() <= 100.1 and np.ptp(hu[:, 0, 0, 0]) > 160 and np.ptp(hu[0]) == 0
    spread = invert(segmentation(**{**still, "noise": 100.0}).spoilt(water).numpy()).std(axis=(1, 2, 3))
    assert 90 < spread.max() < 110 and spread.min() < 10
    edge = torch.cat([water, -torch.ones_like(water)], dim=-1)
    blurred = segmentation(**{**still, "blur": 1.5}).spoilt(edge)
    steps = (blurred[..., 23] - blurred[..., 24])[:, 0, 12] / (edge[0, 0, 0, 0] + 1)
    assert 0.2 < steps.min() < 0.35 and steps.max() > 0.95  # a whole Gaussian of 1.5 leaves 0.26, none of it 1
    assert (blurred[:, :, :, -1] == -1).all()


def test_step_by_hand():
    """Dice loss as 1 − 2Σpt / (Σp + Σt) for each sample and class, and cross-entropy, of the spoilt CT."""
    method, batch = segmentation(), blobs(3, 0)
    torch.manual_seed(3)
    with torch.no_grad():
        shares = method.networks["segmenter"](method.spoilt(batch["target"])).softmax(dim=1)
    labels = method.labels(batch["target"], batch["mask"])
    truth = torch.cat([(labels == label).float() for label in range(5)], dim=1)
    small = 1e-5  # MONAI's, above and below
    dice = 1 - (2 * (shares * truth).sum((2, 3)) + small) / (shares.sum((2, 3)) + truth.sum((2, 3)) + small)
    expected = dice.mean() - (truth * shares.log()).sum(dim=1).mean()
    torch.manual_seed(3)
    update = NoUpdate()
    losses = method.training_step(batch, update, 0.0)
    assert losses["dice_ce"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert update.calls == [("segmenter", pytest.approx(expected.item(), rel=1e-4))]


def test_label_maps_of_a_batch_are_the_truth_where_it_has_them():
    method, batch = segmentation(), blobs(3, 0)
    torch.manual_seed(3)
    by_hu = method.training_step(batch, NoUpdate(), 0.0)["dice_ce"]
    torch.manual_seed(3)
    labels = method.labels(batch["target"], batch["mask"])
    assert method.training_step({**batch, "labels": labels}, NoUpdate(), 0.0)["dice_ce"] == by_hu
    torch.manual_seed(3)
    assert method.training_step({**batch, "labels": 4 - labels}, NoUpdate(), 0.0)["dice_ce"] != by_hu


def test_it_learns_what_a_threshold_cannot_find():
    method = segmentation("8-16-32", {"name": "adamw", "lr": 5e-3})
    train(method, 80)
    batch = blobs(16, 99_999)
    torch.manual_seed(0)
    spoilt, truth = method.spoilt(batch["target"]), method.labels(batch["target"], batch["mask"])
    found = method.preview({"target": spoilt})
    thresholds = method.labels(spoilt, batch["mask"])
    assert (found == truth).float().mean() > (thresholds == truth).float().mean() + 0.02


@pytest.mark.parametrize(
    ("options", "network", "data", "words"),
    [
        ({"noise": -1.0}, {}, {}, ["noise"]),
        ({"gain": 1.0}, {}, {}, ["gain"]),
        ({}, {"output": "tanh"}, {}, ["linear output"]),
        ({}, {}, {"neighbours": 1}, ["neighbours"]),
    ],
)
def test_wrong_choices_are_refused(options, network, data, words):
    with pytest.raises(UserError) as caught:
        build_method(recipe({"name": "segmentation", **options}, {"segmenter": {**SEGMENTER, **network}}, **data))
    for word in words:
        assert word in str(caught.value)


# --- the anatomical-feature loss ---


def with_features(masked, feature_weight=2.0, loss="l1"):
    method = {"name": "regression", "loss": loss, "masked": masked, "feature_weight": feature_weight}
    networks = {"generator": {"name": "unet", "width": "4-8"}, "features": dict(SEGMENTER)}
    return build_method(recipe({**method, "feature_model": "somewhere"}, networks))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_feature_loss_by_hand(loss, masked):
    """The encoder's stages computed here, layer by layer, in place of `features`."""
    method, batch = with_features(masked, loss=loss), blobs(3, 0)
    target, mask, network = batch["target"], batch["mask"], method.networks["features"]
    with torch.no_grad():
        prediction = method.networks["generator"](batch["input"])
        shown = [torch.where(mask > 0, image, -1.0) if masked else image for image in (prediction, target)]
        fine = [network.encoder[0](image) for image in shown]
        coarse = [network.encoder[1](torch.nn.functional.max_pool2d(image, 2)) for image in fine]
    expected = ((fine[0] - fine[1]).abs().mean() + (coarse[0] - coarse[1]).abs().mean()).item() / 2
    error = (prediction - target).abs() if loss == "l1" else (prediction - target) ** 2
    voxels = ((error * mask).sum() / mask.sum() if masked else error.mean()).item()
    update = NoUpdate()
    losses = method.training_step(batch, update, 0.0)
    assert list(losses) == [loss, "features"]
    assert losses[loss].item() == pytest.approx(voxels, rel=1e-4)
    assert losses["features"].item() == pytest.approx(expected, rel=1e-4)
    assert update.calls == [("generator", pytest.approx(voxels + 2 * expected, rel=1e-4))]


def test_feature_gradients_reach_the_generator_and_nothing_else():
    method = with_features(True)
    method._loss = lambda prediction, target, weight: 0.0 * prediction.sum()  # the feature term alone
    before = {name: value.clone() for name, value in method.networks["features"].state_dict().items()}
    method.training_step(blobs(3, 0), PlainUpdate(method), 0.0)
    assert all(p.grad.abs().sum() > 0 for p in method.networks["generator"].parameters() if p.dim() > 1)
    assert all(p.grad is None and not p.requires_grad for p in method.networks["features"].parameters())
    assert not method.networks["features"].training
    assert all(torch.equal(before[name], value) for name, value in method.networks["features"].state_dict().items())


@pytest.mark.parametrize(
    ("options", "features", "words"),
    [
        ({"feature_weight": 1.0}, SEGMENTER, ["feature_model"]),
        ({"feature_model": "somewhere"}, SEGMENTER, ["feature_weight"]),
        ({"feature_weight": 1.0, "feature_model": "somewhere"}, None, ["lacks `features`"]),
        ({"feature_weight": 1.0, "feature_model": "x"}, {"name": "patchgan", "width": 4}, ["patchgan", "U-Net"]),
        ({"loss": "l3"}, None, ["Known: l1, l2"]),
    ],
)
def test_wrong_feature_choices_are_refused(options, features, words):
    networks = {"generator": {"name": "unet", "width": "4-8"}, **({"features": features} if features else {})}
    with pytest.raises(UserError) as caught:
        build_method(recipe({"name": "regression", **options}, networks))
    for word in words:
        assert word in str(caught.value)


# --- as runs ---


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return tiny_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def tissues(tmp_path_factory, cohort):
    """A run of a segmentation, and what it reported."""
    heard = []
    settings = tiny_recipe("segmentation", steps=30, steps_per_epoch=10, batch=4)
    settings = dataclasses.replace(settings, task="ct-to-tissues", networks={"segmenter": SEGMENTER})
    settings = dataclasses.replace(settings, optimisers={"segmenter": {"name": "adamw", "lr": 1e-2}})
    run = tmp_path_factory.mktemp("tissues") / "run"
    return train_run(settings, cohort, run, device="cpu", events=Events(listener=heard.append)), heard


def test_the_run_keeps_the_model_with_the_highest_dice(tissues):
    run, heard = tissues
    scores = [(e["values"]["validation/dice"], e["step"]) for e in heard if "validation/dice" in e.get("values", {})]
    assert len(scores) == 3 and all(0 < score < 1 for score, _ in scores)
    assert (heard[-1]["best_dice"], heard[-1]["best_step"]) == max(scores, key=lambda item: item[0])
    values = next(e["values"] for e in heard if "validation/dice" in e.get("values", {}))
    parts = [values[f"validation/dice_{name}"] for name in ("air", "fat", "soft_tissue", "bone")]
    assert values["validation/dice"] == pytest.approx(np.mean(parts))
    assert len(list((run / "samples").iterdir())) == 3
    card = card_of(run)
    assert (card["task"], card["input"], card["out_channels"]) == ("ct-to-tissues", "CT", 5)
    assert card["classes"] == list(CLASSES) and card["training"]["scores"]["dice"] == round(max(scores)[0], 3)


def test_a_model_of_tissues_is_not_applied_as_one_of_hu(tissues, cohort):
    with pytest.raises(UserError, match=r"gives no HU.*bone"):
        translate(read_image(cohort.cases[0].mr), load_model(tissues[0]), device="cpu")


def feature_recipe(model, **changes):
    settings = tiny_recipe("regression", steps=4, steps_per_epoch=2)
    method = {"name": "regression", "feature_weight": 5.0, "feature_model": str(model)}
    networks = {**settings.networks, "features": SEGMENTER}
    return dataclasses.replace(settings, method=method, networks=networks, **changes)


def test_a_regression_is_trained_on_its_features_and_resumes_without_it(tissues, cohort, tmp_path):
    heard = []
    model = tmp_path / "model"
    shutil.copytree(tissues[0] / "model", model)
    run = train_run(feature_recipe(model), cohort, tmp_path / "run", "cpu", Events(listener=heard.append))
    values = [e["values"] for e in heard if "loss/features" in e.get("values", {})]
    assert values and all(0 < found["loss/features"] < 10 for found in values)
    wanted = load_model(model).network.state_dict()
    _, tensors, state = load_checkpoint(run / "checkpoints")
    assert all(torch.equal(tensors["networks"][f"features.{name}"], value) for name, value in wanted.items())
    assert list(state["optimisers"]) == ["generator"]
    assert card_of(run)["task"] == "mr-to-ct"
    shutil.rmtree(model)
    assert resume(run, device="cpu") == run


def test_a_feature_model_that_does_not_fit_is_refused_before_anything_is_written(tissues, cohort, tmp_path):
    other = feature_recipe(tissues[0])
    other = dataclasses.replace(other, networks={**other.networks, "features": {**SEGMENTER, "width": "4-8-16"}})
    with pytest.raises(UserError, match=r"networks\.features.*4-8-16"):
        train_run(other, cohort, tmp_path / "run", device="cpu")
    data = dataclasses.replace(other.data, target_scaling={"name": "umea-ct"})
    with pytest.raises(UserError, match=r"umea-ct"):
        train_run(feature_recipe(tissues[0], data=data), cohort, tmp_path / "run", device="cpu")
    with pytest.raises(UserError, match="does not exist"):
        train_run(feature_recipe(tmp_path / "none"), cohort, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    assert json.loads((tissues[0] / "model" / "model.json").read_text())["network"] == SEGMENTER
