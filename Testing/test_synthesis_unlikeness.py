"""A model trained on phantoms knows its own kind, and names the reason for which something is not of it."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair
from synthesis_models import centre_model
from training_recipes import tiny_cohort, tiny_recipe

from synthct.__main__ import main
from synthct.events import Events, read_events
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.input_checks import cut_off_sides
from synthct.synthesis.likeness.features import CHANNELS, FeatureProbe
from synthct.synthesis.likeness.training_statistics import (
    describe_features,
    describe_histograms,
    feature_distance,
    histogram_distance,
    limit,
)
from synthct.synthesis.likeness.watch import Watch, unlikeness
from synthct.synthesis.model_file import load_model
from synthct.synthesis.translate import translate
from synthct.training.run import train

SHAPE = (10, 40, 44)
ALL = ("spacing", "field of view", "intensities", "features")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    cohort = tiny_cohort(folder / "cohort", 9, SHAPE)
    return train(tiny_recipe(steps=30, steps_per_epoch=15), cohort, folder / "run", device="cpu")


@pytest.fixture(scope="module")
def model(run):
    return load_model(run)


def mr(seed=100, shape=SHAPE, change=lambda voxels: voxels, spacing=(4.0, 4.0, 5.0)):
    image, _, _ = phantom_pair(shape, seed, spacing)
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image).astype(np.float32)))
    changed.CopyInformation(image)
    return changed


def watched(image, model, planes=("axial",)):
    heard = []
    with Watch(model, Events(listener=heard.append), "leg.nii.gz") as watch:
        translate(image, model, planes, device="cpu", watch=watch)
    return watch, [event for event in heard if event["kind"] == "warning"]


def test_slices_of_air_do_not_count(model):
    image = mr()
    voxels = sitk.GetArrayFromImage(image)
    air = np.random.default_rng(0).normal(15, 8, (SHAPE[0], *SHAPE[1:])).clip(0)
    longer = sitk.GetImageFromArray(np.concatenate([voxels, air]).astype(np.float32))
    longer.CopyInformation(sitk.Image([*image.GetSize()[:2], 2 * SHAPE[0]], sitk.sitkFloat32))
    longer.SetSpacing(image.GetSpacing())
    known = model.card["statistics"]["features"]
    short, long = (watched(each, model)[0] for each in (image, longer))
    near, far = (feature_distance(watch._probe.features, known) for watch in (short, long))
    assert far == pytest.approx(near, abs=0.3 * limit(known))
    assert not any("the network sees" in reason for reason in long.likeness.reasons)


def test_the_card_holds_small_statistics_of_the_training_cases(run, model):
    statistics = model.card["statistics"]
    cases = len(json.loads((run / "split.json").read_text())["training"])
    assert statistics["histogram"]["cases"] == statistics["features"]["cases"] == cases
    assert sum(statistics["histogram"]["mean"]) == pytest.approx(1, abs=1e-3)
    assert len(statistics["features"]["mean"]) == len(statistics["features"]["sd"]) == 8
    assert len(json.dumps(statistics)) < 5000


@pytest.mark.parametrize("seed", range(100, 112))
def test_a_fresh_phantom_of_the_same_family_is_like_the_training_data(model, seed):
    watch, warnings = watched(mr(seed), model)
    assert watch.likeness.checked == ALL and not watch.likeness.skipped
    assert not warnings and not watch.likeness.unlike, watch.likeness.sentence
    assert watch.likeness.sentence == (
        "This input is like the training data in spacing, field of view, intensities and features."
    )
    assert not unlikeness(mr(seed), model).unlike


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (lambda: mr(change=lambda v: np.where(v > 60, 1500 - v, v)), "distributed otherwise"),
        (lambda: mr(change=lambda v: np.random.default_rng(0).uniform(0, 1500, v.shape)), "distributed otherwise"),
        (lambda: mr(change=lambda v: np.random.default_rng(0).uniform(0, 1500, v.shape)), "sees something else"),
        (lambda: mr(spacing=(4.0, 4.0, 12.0)), "slice distance of 12 mm is outside the 5 mm"),
        (lambda: mr(spacing=(1.0, 1.0, 5.0)), "voxel size left-right of 1 mm"),
        (lambda: mr()[14:30, :, :], "covers 64 mm left-right, the training images 176 mm"),
    ],
    ids=["inverted", "noise", "noise-features", "spacing", "pixels", "cropped"],
)
def test_what_is_unlike_is_named_with_the_reason(model, image, reason):
    watch, warnings = watched(image(), model)
    assert any(reason in text for text in watch.likeness.reasons), watch.likeness.sentence
    assert warnings[-1]["what"].startswith("leg.nii.gz is unlike the training data: ")
    assert any(reason in text for text in unlikeness(image(), model).reasons)


def test_a_rescaled_input_matters_to_a_fixed_scaling_alone(model):
    assert not watched(mr(change=lambda v: v * 20), model)[0].likeness.unlike
    fixed = centre_model(
        planes=["axial"],
        input_scaling={"name": "umea-mr"},
        statistics={**model.card["statistics"], "histogram": None},
    )
    reasons = watched(mr(change=lambda v: v * 20), fixed)[0].likeness.reasons
    assert len(reasons) == 1 and "another scale" in reasons[0]
    assert not watched(mr(), fixed)[0].likeness.unlike


def test_several_planes_are_judged_by_the_plane_that_was_learned(model):
    watch, _ = watched(mr(), model, ("axial", "coronal"))
    assert watch.likeness.checked == ALL and not watch.likeness.unlike


def test_what_cannot_be_compared_is_said(model):
    nothing = watched(mr(), centre_model(planes=["axial"]))[0].likeness
    assert "is not known: the model's card holds no statistics" in nothing.sentence
    no_features = centre_model(planes=["axial"], statistics=model.card["statistics"], input_scaling={"name": "umea-mr"})
    assert "features, which this network does not show" in watched(mr(), no_features)[0].likeness.skipped
    few = {key: model.card["statistics"][key] for key in ("spacing_mm", "extent_mm", "intensity_p99")}
    skipped = watched(mr(), centre_model(planes=["axial"], statistics=few))[0].likeness.sentence
    assert "from 3 training cases on" in skipped


def test_the_body_that_the_image_cuts_off_is_named_by_side(model):
    watch, warnings = watched(mr()[:42, :, :], model)
    assert watch.cut_off == [] and not warnings
    watch, warnings = watched(mr(shape=(10, 60, 64))[8:, :48, :], model)
    assert watch.cut_off == ["right", "back"]
    assert "cuts off the body: right and back" in warnings[0]["what"]
    flipped = sitk.Flip(mr(shape=(10, 60, 64))[8:, :48, :], (True, False, False))
    assert watched(flipped, model)[0].cut_off == ["right", "back"]  # by place in space
    assert cut_off_sides(np.ones((4, 5, 6)), (20.0, 20.0, 30.0)) == ["right", "left", "front", "back"]
    assert cut_off_sides(np.ones((4, 5, 6)), (1.0, 1.0, 1.0)) == []  # too small an area to matter


def test_the_result_says_it_and_the_command_prints_it(run, tmp_path, capsys):
    sitk.WriteImage(mr(), str(tmp_path / "mr.nii.gz"))
    words = ["synthesize", "--model", str(run), "--input", str(tmp_path / "mr.nii.gz"), "--device", "cpu"]
    assert main([*words, "--output", str(tmp_path / "ct.nii.gz"), "--events", str(tmp_path / "events")]) == 0
    result = read_events(tmp_path / "events")[0][-1]
    assert result["likeness"]["unlike"] is False and result["cut_off"] == []
    assert "like the training data in spacing" in result["likeness"]["sentence"]
    assert result["likeness"]["sentence"] in capsys.readouterr().err


def test_watching_changes_no_voxel_and_leaves_no_hook(model, tmp_path):
    image = mr()
    plain = translate(image, model, device="cpu")
    with Watch(model) as watch:
        seen = translate(image, model, device="cpu", watch=watch)
    assert (sitk.GetArrayFromImage(plain) == sitk.GetArrayFromImage(seen)).all()
    assert not any(module._forward_hooks for module in model.network.modules())
    sitk.WriteImage(image, str(tmp_path / "mr.nii.gz"))
    synthesize_file(model, tmp_path / "mr.nii.gz", tmp_path / "ct.nii.gz", device="cpu")
    assert not any(module._forward_hooks for module in model.network.modules())


def test_the_probe_finds_the_bottleneck_in_two_and_three_dimensions():
    import torch
    from torch import nn

    for convolution, axes in ((nn.Conv2d, 2), (nn.Conv3d, 3)):
        torch.manual_seed(0)
        wide = convolution(3, 300, 3, stride=2, padding=1)
        network = nn.Sequential(convolution(1, 3, 3, padding=1), wide, nn.ReLU(True), nn.Upsample(scale_factor=2))
        image = torch.randn(4, 1, *(8,) * axes)
        with FeatureProbe(network) as probe, torch.inference_mode():
            for part in image.split(2):
                network(part)
        expected = wide(network[0](image)).mean(dim=(0, *range(2, axes + 2))).detach().numpy()
        chosen = np.linspace(0, 299, CHANNELS).round().astype(int)
        assert np.allclose(probe.features, expected[chosen], atol=1e-5)


def test_distances():
    one, other = np.eye(32)[0], np.eye(32)[31]
    assert histogram_distance(one, other) == pytest.approx(1) and histogram_distance(one, one) == 0
    assert describe_histograms([one, other]) is None and describe_features([one, other]) is None
    cases = np.random.default_rng(0).normal(5, 2, (40, 60))
    known = describe_features(list(cases))
    assert known["distance_p95"] == pytest.approx(1, abs=0.3)
    assert feature_distance(cases.mean(0), known) < 0.01
    assert feature_distance(cases.mean(0) + 3 * cases.std(0), known) > limit(known)
