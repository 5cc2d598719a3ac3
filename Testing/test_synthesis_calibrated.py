"""From a run to a calibrated standard deviation, by the command line: calibrate, then synthesize."""

import json
import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from test_command_line import synthct
from training_recipes import tiny_cohort, tiny_recipe

from synthct.__main__ import main
from synthct.data.cache import Volume
from synthct.errors import UserError
from synthct.events import Events
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.model_file import load_model
from synthct.synthesis.translate import translate
from synthct.synthesis.uncertainty.calibration_file import FILE, store_calibration, stored_calibration
from synthct.synthesis.uncertainty.estimate import Uncertainty
from synthct.synthesis.uncertainty.known_errors import known_errors
from synthct.synthesis.worker import ModelCache, run_request
from synthct.training.held_out import held_out_of_cohort, held_out_of_run
from synthct.training.run import train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    train(tiny_recipe(steps=8), tiny_cohort(folder / "data"), folder / "run", device="cpu")
    return folder


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy" / "run"


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_errors_are_those_of_the_mean_inside_the_body(made):
    model = load_model(made / "run")
    held_out = held_out_of_run(made / "run", "validation")
    (volume, slabs), *_ = held_out.cases
    assert slabs is None and not held_out.corrected
    split = json.loads((made / "run" / "split.json").read_text())
    assert [found.id for found, _ in held_out.cases] == split["validation"]
    errors, deviations = known_errors([model] * 2, Uncertainty(("models",)), [(volume, None)], device="cpu")
    mr, ct, body = (made / "data" / f"{volume.id}_{part}.nii.gz" for part in ("MR", "CT", "mask"))
    synthetic = translate(sitk.ReadImage(str(mr)), model, ("axial",), sitk.ReadImage(str(body)), "cpu")
    inside = array(body) > 0
    expected = (sitk.GetArrayFromImage(synthetic).astype(float) - array(ct))[inside]
    assert np.array_equal(errors, expected) and not deviations.any()
    assert held_out_of_run(made / "run" / "model", "test").cases[0][0].id in split["test"]
    with pytest.raises(UserError, match="not in the folder of a run"):
        held_out_of_run(made / "data", "test")
    few, _ = known_errors([model] * 2, Uncertainty(("models",)), [(volume, [(2, 4)])], device="cpu")
    assert few.size == inside[2:4].sum()


def verb(*words):
    """Exit code of a verb, run in this process."""
    return main([str(word) for word in words])


def test_calibrate_then_synthesize(run, made, capsys):
    words = ("--uncertainty", "dropout,flips", "--samples", 6, "--device", "cpu")
    given = ("calibrate", "--model", run, *words, "--output", run / "report")
    answer = synthct(*given)
    assert answer.returncode == 0, answer.stderr
    report = json.loads((run / "report" / "calibration.json").read_text())
    factor = report["factor"]
    assert (
        factor > 0
        and f"Multiplied by {factor:.2f} the SD is as large as the errors (measured on 1 val" in answer.stdout
    )
    sds, errors = (np.array([found[name] for found in report["scaled"]["bins"]]) for name in ("sd_hu", "rmse_hu"))
    assert np.sqrt(np.square(sds).mean()) == pytest.approx(np.sqrt(np.square(errors).mean()), rel=0.01)
    assert set(report["definitions"]) == {"coverage", "bins", "ence", "factor"}
    assert (run / "report" / "calibration.png").read_bytes()[:4] == b"\x89PNG"
    assert verb(*given) == 2 and "--overwrite" in capsys.readouterr().err
    assert verb(*given, "--overwrite") == 0

    mr = made / "data" / "phantom_00_MR.nii.gz"
    for name, folder in (("scaled", run), ("plain", made / "run")):
        outputs = ("--output", run / f"{name}.nii.gz", "--uncertainty-output", run / f"{name}_sd.nii.gz")
        assert verb("synthesize", "--model", folder, "--input", mr, *words, *outputs) == 0
        wanted = f"multiplied by {factor:.2f}" if name == "scaled" else "not calibrated"
        assert wanted in capsys.readouterr().err
    assert np.array_equal(array(run / "scaled.nii.gz"), array(run / "plain.nii.gz"))
    plain = array(run / "plain_sd.nii.gz")
    assert plain.dtype == np.float32 and plain.max() > 1
    assert np.allclose(array(run / "scaled_sd.nii.gz"), plain * factor, rtol=1e-5)
    assert bytes(nibabel.load(run / "plain_sd.nii.gz").header["descrip"]).startswith(b"standard deviation HU")
    assert b"as calibrated" in bytes(nibabel.load(run / "scaled_sd.nii.gz").header["descrip"])
    assert verb("synthesize", "--model", made / "run", "--input", mr, *words, *outputs) == 2
    assert "exists" in capsys.readouterr().err


def test_a_factor_holds_for_its_setting_alone(run):
    model = load_model(run)
    found = Uncertainty(("dropout",), samples=5)
    path = store_calibration([model], found, None, {"factor": 1.5, "measured_on": "3 volumes"})
    assert path == run / "model" / FILE
    store_calibration([model], Uncertainty(("flips",)), None, {"factor": 2.5, "measured_on": "3 volumes"})
    assert stored_calibration([model], found, None)["factor"] == 1.5
    assert stored_calibration([model], Uncertainty(("dropout",), 5, seed=7), ["axial"])["factor"] == 1.5
    assert stored_calibration([model], Uncertainty(("flips",), samples=99), None)["factor"] == 2.5
    assert stored_calibration([model], Uncertainty(("dropout",), samples=6), None) is None
    assert stored_calibration([model], found, ["coronal"]) is None
    model.card["weights_sha256"] = "of another training"
    assert stored_calibration([model], found, None) is None
    path.write_text("{")
    with pytest.raises(UserError, match=r"calibration\.json cannot be read"):
        stored_calibration([model], found, None)


def test_a_cohort_may_be_given_in_place_of_the_runs(made, tmp_path, capsys):
    from synthct.data.cohort import read_cohort

    cohort = read_cohort(made / "data" / "cohort.json")
    held_out = held_out_of_cohort(cohort, None, "validation")
    assert len(held_out.cases) == 4 and all(isinstance(volume, Volume) for volume, _ in held_out.cases)
    words = ("calibrate", "--model", made / "run", "--uncertainty", "flips", "--split", "s.json", "--output", tmp_path)
    assert verb(*words) == 2 and "--split works with --cohort" in capsys.readouterr().err


def test_outputs_and_modes_belong_together(made, tmp_path):
    mr, out = made / "data" / "phantom_00_MR.nii.gz", tmp_path / "out.nii.gz"
    with pytest.raises(UserError, match="lacks its output"):
        synthesize_file(made / "run", mr, out, uncertainty=["flips"])
    with pytest.raises(UserError, match="lacks its modes"):
        synthesize_file(made / "run", mr, out, uncertainty_output=tmp_path / "sd.nii.gz")
    with pytest.raises(UserError, match="same file"):
        synthesize_file(made / "run", mr, out, uncertainty=["flips"], uncertainty_output=out)
    with pytest.raises(UserError, match="2 models"):
        synthesize_file([made / "run", made / "run"], mr, out)
    assert not list(tmp_path.iterdir())
    sd = tmp_path / "sd.nrrd"
    synthesize_file([made / "run"] * 2, mr, out, uncertainty=["models"], uncertainty_output=sd, device="cpu")
    assert not array(sd).any() and array(out).any()


def test_the_warm_worker_serves_it(made, tmp_path):
    heard = []
    options = {
        "model": str(made / "run"),
        "input": str(made / "data" / "phantom_00_MR.nii.gz"),
        "output": str(tmp_path / "out.nrrd"),
        "uncertainty": ["flips", "planes"],
        "uncertainty_output": str(tmp_path / "sd.nrrd"),
        "device": "cpu",
    }
    run_request("synthesize", options, Events(None, heard.append), ModelCache())
    assert heard[-1]["kind"] == "result", heard[-1]
    assert heard[-1]["uncertainty"]["predictions"] == 6 and heard[-1]["uncertainty"]["factor"] is None
    assert array(tmp_path / "sd.nrrd").max() > 0
    assert sitk.ReadImage(options["uncertainty_output"]).GetMetaData("ITK_FileNotes") == "standard deviation HU"
