"""Commissioning of a small model on phantoms: criteria by hand, the report, what is locked, and what is refused."""

import json
import math
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import write_phantom_cohort
from synthesis_models import TINY_CARD

from synthct.__main__ import main
from synthct.data.cohort import Cohort, read_cohort
from synthct.errors import UserError
from synthct.evaluation.images.scores import score_pair
from synthct.networks.registry import build_network
from synthct.studies.commissioning import commission, verify, water_scores
from synthct.studies.tolerances import Criterion, judge, read_tolerances, template
from synthct.synthesis.model_file import save_model
from synthct.volumes.ct_origin import ct_origin
from synthct.volumes.read import read_image

LOOSE = "criteria:\n- {score: mae_hu, at_most: 1000000}\n- {score: dice_bone, statistic: every, at_least: 0}\n"
WATER = "water_equivalent: {angles: [0, 90], ray_mm: 8}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cohort of two phantoms, a model that never learned, tolerances that hold, and the commissioning of these."""
    folder = tmp_path_factory.mktemp("commissioning")
    cohort = read_cohort(write_phantom_cohort(folder / "data", 2, (8, 32, 36)))
    model = save_model(folder / "model", build_network(TINY_CARD["network"], 1, 1, seed=1), TINY_CARD)
    (folder / "tolerances.yaml").write_text(LOOSE + WATER)
    origin = {"scanner": "Scanner A", "training": "Scanner B, 120 kV"}
    result = commission(
        model, cohort, folder / "tolerances.yaml", folder / "out", registration="none", origin=origin, device="cpu"
    )
    return folder, cohort, model, result


def test_the_scores_are_those_of_the_synthetic_cts_that_are_kept(made):
    folder, cohort, _, result = made
    content = json.loads((folder / "out" / "commissioning.json").read_text())
    assert content == result.content and result.passed and content["passed"] is True
    for case in cohort:
        images = [read_image(folder / "out" / "prepared" / case.id / f"{name}.nii.gz") for name in ("ct", "mask")]
        scores = score_pair(images[0], read_image(folder / "out" / "synthetic" / f"{case.id}.nii.gz"), images[1])
        stored = content["cases"][case.id]["scores"]
        assert stored["mae_hu"] == pytest.approx(scores.values["mae_hu"], abs=1e-4)
        assert stored["water_equivalent_max_mm"] >= stored["water_equivalent_p95_mm"] > 0
        angles = content["cases"][case.id]["water_equivalent_by_angle_mm"]
        assert set(angles) == {"0", "90"}
        rays = [angles[angle]["rays"] for angle in ("0", "90")]
        means = [angles[angle]["mean_mm"] for angle in ("0", "90")]
        assert stored["water_equivalent_me_mm"] == pytest.approx(np.average(means, weights=rays), abs=1e-3)
    first = content["criteria"][0]
    assert first["value"] == pytest.approx(np.mean([row["scores"]["mae_hu"] for row in content["cases"].values()]))


def test_the_report_is_one_file_that_says_everything(made):
    folder, _, _, result = made
    text = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "Passed: all 2 criteria hold." in text
    assert "registration of the CT to the MR none, couch removed" in text
    assert "Scanner A (as stated by the user)" in text and "Scanner B, 120 kV" in text and "not stated" in text
    assert result.content["locked"]["weights_sha256"] in text and result.content["locked"]["software"]["torch"] in text
    assert "Mean absolute error in HU, not clipped" in text and "could not be checked" in text
    assert "Whether the MR is like the training data is not known" in text  # its card tells nothing of it
    assert text.count("data:image/png;base64,") == 1 + 2 * 2
    assert not re.search(r'(src|href)="(?!data:)', text)  # nothing is fetched


def test_verify_finds_what_has_changed_and_nothing_else(made, tmp_path):
    folder, _, model, _ = made
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    assert verify(out, model) == [] and verify(out, model, folder / "tolerances.yaml") == []
    other = save_model(tmp_path / "model", build_network(TINY_CARD["network"], 1, 1, seed=2), TINY_CARD)
    assert {what for what, _, _ in verify(out, other)} == {"weights sha256", "card sha256"}
    (out / "tolerances.yaml").write_text(LOOSE.replace("1000000", "2000000") + WATER)
    assert [what for what, _, _ in verify(out, model)] == ["tolerances sha256"]
    shutil.copyfile(folder / "tolerances.yaml", out / "tolerances.yaml")
    content = json.loads((out / "commissioning.json").read_text())
    content["locked"]["software"]["torch"] = "0.1"
    (out / "commissioning.json").write_text(json.dumps(content))
    changed = {what: then for what, then, _ in verify(out, model)}
    assert changed["torch"] == "0.1" and any("edited" in what for what in changed)
    with pytest.raises(UserError, match="holds no commissioning"):
        verify(tmp_path, model)


def test_a_model_that_fails_is_a_result_and_not_an_error(made, tmp_path, capsys):
    folder, _, model, _ = made
    (tmp_path / "strict.yaml").write_text("criteria: [{score: mae_hu, at_most: 1}]\n" + WATER)
    words = ("commission", "--model", model, "--cohort", folder / "data" / "cohort.json", "--registration", "none")
    words = (*words, "--tolerances", tmp_path / "strict.yaml", "--output", tmp_path / "out", "--cases", "phantom_01")
    words = [*map(str, words), "--kv", "120", "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "DID NOT PASS" in printed and "FAILED" in printed
    content = json.loads((tmp_path / "out" / "commissioning.json").read_text())
    assert content["passed"] is False and list(content["cases"]) == ["phantom_01"]
    assert content["cases"]["phantom_01"]["ct"]["kv"] == "120 (as stated by the user)"
    assert main(["commission", "--verify", str(tmp_path / "out"), "--model", str(model)]) == 0
    assert main(words) == 2 and "holds a commissioning" in capsys.readouterr().err


def test_training_cases_are_named_before_the_scores(made, tmp_path):
    folder, cohort, model, _ = made
    shutil.copytree(model, tmp_path / "run" / "model")
    (tmp_path / "run" / "split.json").write_text(json.dumps({"training": ["phantom_00"], "validation": []}))
    chosen = ["phantom_00"]
    result = commission(
        tmp_path / "run", cohort, folder / "tolerances.yaml", tmp_path / "o", chosen, "none", device="cpu"
    )
    assert any("phantom_00 among its training" in note for note in result.content["notes"])


def test_criteria_are_judged_by_their_statistic():
    values = {"a": 10.0, "b": 30.0, "c": 20.0, "d": math.nan}
    mean = judge(Criterion("mae_hu", at_most=20), values)
    assert (mean.value, mean.passed, mean.cases, mean.worst) == (20, True, 3, "b")
    every = judge(Criterion("mae_hu", "every", at_most=29), values)
    assert (every.value, every.passed, every.worst) == (30, False, "b")
    least = judge(Criterion("dice_bone", "every", at_least=10), values)
    assert (least.value, least.passed, least.worst) == (10, True, "a")
    upper = judge(Criterion("mae_hu", "percentile", 75, at_most=24), values)
    assert upper.value == 25 and upper.passed is False
    both = judge(Criterion("me_hu", "median", at_least=-5, at_most=25), values)
    assert both.value == 20 and both.passed
    assert judge(Criterion("me_hu", at_least=21, at_most=25), values).passed is False
    nothing = judge(Criterion("dice_air", at_least=0), {"a": math.nan})
    assert nothing.passed is None and nothing.cases == 0
    assert judge(Criterion("psnr_2500_db", at_least=20), {"a": math.inf}).passed


def test_no_ray_gives_no_score():
    from synthct.evaluation.dose.water_equivalent import PathDifference

    nowhere = np.full((2, 2), np.nan)
    assert all(map(math.isnan, water_scores([PathDifference(0, nowhere, nowhere, (1, 1))]).values()))


def test_the_template_can_be_read_and_names_every_score(tmp_path):
    assert main(["commission", "--write-template", str(tmp_path / "t.yaml")]) == 0
    text = (tmp_path / "t.yaml").read_text(encoding="utf-8")
    assert text == template() and "not recommendations" in text and "dice_bone" in text
    assert len(read_tolerances(tmp_path / "t.yaml").criteria) == 6
    assert main(["commission", "--write-template", str(tmp_path / "t.yaml")]) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "hold no criteria"),
        ("criteria: []", "hold no criteria"),
        ("criteria: [{score: mae, at_most: 1}]", "score mae in criterion 1 .* Did you mean mae_hu"),
        ("criteria: [{score: mae_hu}]", "limits of criterion 1"),
        ("criteria: [{score: me_hu, at_least: 5, at_most: 1}]", "limits of criterion 1"),
        ("criteria: [{score: mae_hu, statistic: percentile, at_most: 1}]", "`percentile` of criterion 1"),
        ("criteria: [{score: mae_hu, statistic: percentile, percentile: 101, at_most: 1}]", "between 0 and 100"),
        ("criteria: [{score: mae_hu, statistic: best, at_most: 1}]", "statistic"),
        ("criteria: [{score: mae_hu, at_most: low}]", "at_most"),
        ("criteria: [{score: mae_hu, at_most: 1}]\nwater_equivalent: {angles: []}", "needs angles"),
        ("criteria: [", "cannot be read"),
    ],
)
def test_tolerances_that_cannot_be_judged_are_refused(tmp_path, text, words):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_tolerances(tmp_path / "own.yaml")
    assert "own.yaml" in str(caught.value)


def test_what_is_missing_is_asked_for(made, tmp_path):
    folder, cohort, model, _ = made
    events = tmp_path / "e.jsonl"
    assert main(["commission", "--model", str(model), "--events", str(events)]) == 2
    assert "--cohort was not given" in events.read_text()
    excluded = Cohort(tuple(c if c.id != "phantom_00" else _excluded(c) for c in cohort), cohort.root)
    with pytest.raises(UserError, match="phantom_00 is excluded"):
        commission(model, excluded, folder / "tolerances.yaml", tmp_path / "o", ["phantom_00"])
    with pytest.raises(UserError, match="no case p99"):
        commission(model, cohort, folder / "tolerances.yaml", tmp_path / "o", ["p99"])


def test_the_origin_of_a_ct_is_read_where_it_is_told(tmp_path):
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkInt16), str(path))
    assert ct_origin(path) == {"scanner": "not stated", "kv": "not stated", "kernel": "not stated"}
    sidecar = {"Manufacturer": "Maker", "ManufacturersModelName": "One", "KVP": 120, "ConvolutionKernel": ["B30f", "2"]}
    (tmp_path / "ct.json").write_text(json.dumps(sidecar))
    assert ct_origin(path) == {"scanner": "Maker One", "kv": "120", "kernel": "B30f 2"}
    from test_volumes_dicom import write_series

    write_series(tmp_path / "dicom", Modality="CT", Manufacturer="Maker", ManufacturerModelName="Two", KVP="140")
    assert ct_origin(tmp_path / "dicom") == {"scanner": "Maker Two", "kv": "140", "kernel": "not stated"}


def _excluded(case):
    import dataclasses

    return dataclasses.replace(case, excluded="no CT of the whole body")
