"""One patient examined without a CT: checks find what was planted, stay quiet without it, and say when blind."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair
from synthesis_models import TINY_CARD
from training_recipes import tiny_cohort, tiny_recipe

from synthct.__main__ import main
from synthct.data.cache import open_cache
from synthct.errors import UserError
from synthct.evaluation.images.body_content import body_content
from synthct.methods.registry import build_method
from synthct.networks.registry import build_network
from synthct.studies.patient_qa import examine
from synthct.studies.patient_qa_report import qa_picture, sentence
from synthct.synthesis.model_file import load_model, save_model
from synthct.training.model_card import model_card
from synthct.volumes.geometry import grid_of, image_from_array
from synthct.volumes.signal_voids import signal_voids

SHAPE = (16, 60, 64)


@pytest.fixture(scope="module")
def patient():
    """MR, CT (taken as a perfect synthetic one) and body, and a model whose card knows this body."""
    mr, ct, body = phantom_pair(SHAPE, seed=4)
    content = body_content(sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(body), 4 * 4 * 5 / 1000)
    statistics = {name: [0.9 * value, 1.1 * value] for name, value in content.items()}
    return mr, ct, body, content, statistics


@pytest.fixture(scope="module")
def model(tmp_path_factory, patient):
    folder = tmp_path_factory.mktemp("model")
    network = build_network(TINY_CARD["network"], 1, 1, seed=1)
    return load_model(save_model(folder, network, {**TINY_CARD, "statistics": patient[4]}))


def ball(image, centre, radius_mm):
    """Voxels (z, y, x) within a radius of an index (z, y, x)."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in image.GetSize()[::-1]), indexing="ij")
    steps = image.GetSpacing()[::-1]
    distances = ((a - c) * s for a, c, s in zip((z, y, x), centre, steps, strict=True))
    return sum(d**2 for d in distances) < radius_mm**2


def with_values(image, where, value):
    array = sitk.GetArrayFromImage(image)
    array[where] = value
    return image_from_array(array, image)


def of(examination, topic, *severities):
    return [f.sentence for f in examination.findings if f.topic == topic and f.severity in (severities or ("warning",))]


def test_a_usual_patient_has_no_warning_but_for_what_is_unknown(patient, model):
    mr, ct, body, content, _ = patient
    found = examine(mr, ct, model, mask=body)
    assert not [f for f in found.findings if f.severity == "warning"], found.findings
    assert len(of(found, "bone and air", "good")) == 3
    assert of(found, "couch", "note") and of(found, "uncertainty", "note") and of(found, "field of view", "good")
    assert "head" in of(found, "field of view", "note")[0] and "feet" in of(found, "field of view", "note")[0]
    assert found.numbers["body_content"]["bone_fraction"] == pytest.approx(content["bone_fraction"], abs=1e-5)
    assert any("shows air" in text for text in of(found, "signal voids", "note"))  # the phantom's cavity
    json.dumps(found.to_dict())


def test_a_void_that_the_model_filled_is_suspicious_and_placed(patient, model):
    mr, ct, body, _, _ = patient
    hole = ball(mr, (8, 34, 34), 12)
    bad = examine(with_values(mr, hole, 5), with_values(ct, hole, 40), model, mask=body)
    (text,) = of(bad, "signal voids")
    expected = grid_of(mr).index_to_world @ (34, 34, 8, 1)
    assert "soft tissue" in text and not bad.passed
    np.testing.assert_allclose(bad.suspicious[0].centre, expected[:3], atol=4)
    assert bad.suspicious[0].volume_ml == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.25)
    right = examine(with_values(mr, hole, 5), with_values(ct, hole, -950), model, mask=body)
    assert not of(right, "signal voids")
    small = examine(with_values(mr, hole, 5), with_values(ct, hole, 40), model, mask=body, void_ml=50)
    assert not small.voids and of(small, "signal voids", "good")
    assert qa_picture(bad, mr, ct).startswith(b"\x89PNG")


def test_voids_are_found_in_any_orientation_and_beneath_noise(patient):
    mr, _, body, _, _ = patient
    hole = ball(mr, (8, 34, 34), 12)
    noise = np.random.default_rng(0).normal(0, 25, SHAPE)
    noisy = image_from_array(np.abs(sitk.GetArrayFromImage(with_values(mr, hole, 0)) + noise).astype(np.float32), mr)
    voids, labels = signal_voids(noisy, body)
    turned = [sitk.PermuteAxes(image, (2, 0, 1))[:, ::-1, :] for image in (noisy, body)]
    again, _ = signal_voids(*turned)
    assert len(voids) == len(again) >= 1
    for first, second in zip(voids, again, strict=True):
        assert first.volume_ml == pytest.approx(second.volume_ml)
        np.testing.assert_allclose(first.centre, second.centre, atol=1e-3)
    found = sitk.GetArrayFromImage(labels)
    assert 0.7 < np.mean(found[hole] > 0) <= 1


def test_bone_and_air_beyond_training_are_warned_of(patient, model):
    mr, ct, body, _, statistics = patient
    hu = sitk.GetArrayFromImage(ct)
    no_bone = with_values(ct, hu > 250, 40)
    (text,) = of(examine(mr, no_bone, model, mask=body), "bone and air")
    low, high = statistics["bone_fraction"]
    assert "0.00% of the body is bone" in text and f"{low:.2%} to {high:.2%}" in text
    model.card["statistics"] = {}
    try:
        blind = examine(mr, ct, model, mask=body)
    finally:
        model.card["statistics"] = statistics
    assert len(of(blind, "bone and air", "unchecked")) == 3 and not blind.passed
    assert "could not be made" in sentence(blind)


def test_a_cut_body_and_what_lies_outside_it_are_warned_of(patient, model):
    mr, ct, body, _, _ = patient
    cut = [image[12:, :, :] for image in (mr, ct, body)]
    assert "right" in of(examine(cut[0], cut[1], model, mask=cut[2]), "field of view")[0]
    table = with_values(ct, (slice(None), slice(56, 59), slice(10, 50)), 100)
    assert "invented" in of(examine(mr, table, model, mask=body), "outside the body")[0]


def test_uncertainty_is_summed_up_inside_the_body(patient, model):
    mr, ct, body, _, _ = patient
    spread = image_from_array(np.where(sitk.GetArrayFromImage(body) > 0, 80.0, 900.0).astype(np.float32), mr)
    good = examine(mr, ct, model, spread, body)
    assert of(good, "uncertainty", "good") and good.numbers["uncertainty_hu"] == {"mean": 80, "p95": 80, "max": 80}
    assert of(examine(mr, ct, model, spread, body, sd_limit=50), "uncertainty")
    with pytest.raises(UserError, match="uncertainty has values below 0, down to -900"):
        examine(mr, ct, model, -spread, mask=sitk.Cast(body * 0 + 1, sitk.sitkUInt8))


def test_no_body_leaves_every_check_open_and_says_so(patient, model):
    mr, ct, _, _, _ = patient
    empty = image_from_array(np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32) * 1e-3, mr)
    found = examine(empty, ct, model)
    if found.body is None:
        assert len([f for f in found.findings if f.severity == "unchecked"]) >= 6
    assert not found.passed


def test_another_grid_is_told_and_another_place_is_refused(patient, model):
    mr, ct, body, _, _ = patient
    half = examine(mr, ct[:, :, :8], model, mask=body)
    assert "covers 50% of the MR" in of(half, "grid")[0]
    elsewhere = sitk.Image(ct)
    elsewhere.SetOrigin((1e4, 0, 0))
    with pytest.raises(UserError, match="does not overlap"):
        examine(mr, elsewhere, model, mask=body)
    with pytest.raises(UserError, match="NaN"):
        examine(mr, with_values(sitk.Cast(ct, sitk.sitkFloat32), (0, 0, 0), np.nan), model, mask=body)


def test_the_card_of_a_training_knows_bone_air_and_volume(tmp_path):
    cohort = tiny_cohort(tmp_path / "data", 3)
    volumes = list(open_cache(cohort, tmp_path / "cache").values())
    recipe = tiny_recipe()
    statistics = model_card(recipe, build_method(recipe), volumes)["statistics"]
    contents = [body_content(v.ct, v.mask, float(np.prod(v.spacing)) / 1000) for v in volumes]
    for name in ("bone_fraction", "air_fraction", "body_ml"):
        low, high = statistics[name]
        assert 0 < low <= high
        assert low == pytest.approx(min(content[name] for content in contents), abs=1e-4)


def test_the_command_writes_findings_and_a_page(patient, model, tmp_path, capsys):
    mr, ct, body, _, _ = patient
    hole = ball(mr, (8, 34, 34), 12)
    for name, image in (("mr", with_values(mr, hole, 5)), ("sct", with_values(ct, hole, 40)), ("body", body)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    words = ["qa", "--model", model.folder, "--mr", tmp_path / "mr.nii.gz", "--synthetic", tmp_path / "sct.nii.gz"]
    words = [*words, "--mask", tmp_path / "body.nii.gz", "--output", tmp_path / "qa.json", tmp_path / "qa.html"]
    words = [str(word) for word in words]
    assert main(words) == 0
    content = json.loads((tmp_path / "qa.json").read_text())
    assert content["passed"] is False and content["made_with"]["weights sha256"] == model.card["weights_sha256"]
    assert "soft" in content["numbers"]["signal_voids"][0]["synthetic_shows"] or content["numbers"]["signal_voids"][1]
    page = (tmp_path / "qa.html").read_text(encoding="utf-8")
    assert "data:image/png" in page and "tissue there (median 40 HU)" in page
    assert "warning" in capsys.readouterr().out
    assert main(words) == 2 and main([*words[:-1], str(tmp_path / "qa.pdf")]) == 2
