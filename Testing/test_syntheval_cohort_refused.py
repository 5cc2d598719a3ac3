"""A cohort in SynthEval that is cancelled, and one whose list names a file that is not there."""

import json

import pytest
import SimpleITK as sitk
from syntheval_scene import chest_arrays, finish, image_of, open_window


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    widget.ui.cohortButton.collapsed = False
    yield widget
    widget.cohort.close()


def test_cancelled_and_refused(slicer_host, window, tmp_path):
    ui, section = window.cohort.ui, window.cohort
    images = {key: tmp_path / f"{key}.nrrd" for key in ("reference", "synthetic")}
    for path, array in zip(images.values(), chest_arrays(), strict=True):
        sitk.WriteImage(image_of(array), str(path))
    listed = [{"case": case} | {key: str(path) for key, path in images.items()} for case in ("Anna", "Bert")]
    (tmp_path / "pairs.json").write_text(json.dumps(listed))
    ui.listPathEdit.currentPath = str(tmp_path / "pairs.json")
    ui.outputPathEdit.currentPath = str(tmp_path / "out")
    ui.evaluateButton.click()
    job = section.job
    ui.evaluateButton.click()
    finish(slicer_host, section)
    assert not job.alive() and "Cancelled" in ui.statusLabel.text
    assert window.parameters().cohortScores is None and not (tmp_path / "out/scores.json").exists()
    (tmp_path / "pairs.json").write_text(json.dumps([listed[0] | {"synthetic": "nowhere.nrrd"}]))
    ui.evaluateButton.click()
    finish(slicer_host, section)
    assert "nowhere.nrrd" in ui.statusLabel.text and window.parameters().cohortScores is None
