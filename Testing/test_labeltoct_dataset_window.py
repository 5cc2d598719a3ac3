"""Step 4 of LabelToCT in the embedded Slicer: a data set is made by a real job, interrupted, resumed and opened."""

import json
import os
from pathlib import Path

import psutil
import pytest
from dataset_parts import write_chests, write_library, write_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Teile für den Test")
    write_chests(folder / "cases", 2)
    write_library(folder / "library")
    write_model(folder / "model")
    return folder


@pytest.fixture
def window(slicer_host):
    widget = slicer_host.open_module(ROOT / "LabelToCT/LabelToCT.py")
    widget.synthesis.devices.close()
    widget.setParameterNode(None)
    widget.initializeParameterNode()
    widget.synthesis.devices.device = "cpu"
    widget.ui.dataSetButton.collapsed = False
    yield widget
    section = widget.dataSet
    if section.job is not None:
        section.job.cancel()
        slicer_host.wait_until(lambda: section.job is None)


def choose(window, parts, output, count=3, **changed):
    ui = window.dataSet.ui
    ui.cohortPathEdit.currentPath = str(parts / "cases/cohort.json")
    ui.libraryPathEdit.currentPath = str(parts / "library")
    ui.modelPathEdit.currentPath = str(parts / "model")
    ui.outputPathEdit.currentPath = str(output)
    for name, value in {"count": count, "size": 16, "share": 1.0, **changed}.items():
        getattr(ui, f"{name}SpinBox").value = value


def start(window):
    """Click Start; the job sees one core, so that it starts no process but its own (test_dataset.py has several)."""
    if not hasattr(os, "sched_setaffinity"):
        window.dataSet.ui.startButton.click()
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        window.dataSet.ui.startButton.click()
    finally:
        os.sched_setaffinity(0, cores)


def finish(slicer_host, window, seconds=180):
    slicer_host.wait_until(lambda: window.dataSet.job is None, seconds)
    assert not slicer_host.errors


def test_a_data_set_is_made_interrupted_resumed_and_opened(slicer_host, window, parts, tmp_path):
    import slicer

    ui, output = window.dataSet.ui, tmp_path / "Datensatz ü"
    assert not ui.startButton.enabled and "list of cases" in ui.startButton.toolTip
    choose(window, parts, output, count=40)
    assert "2 cases" in ui.aboutTextLabel.text and "2 templates" in ui.aboutTextLabel.text
    assert ui.startButton.enabled and ui.startButton.text == "Start"
    start(window)
    assert ui.startButton.text == "Cancel" and ui.progressBar.visible
    job = window.dataSet.job
    slicer_host.wait_until(lambda: len(list((output / "records").glob("volume_*.json"))) >= 2, 180)
    ui.startButton.click()
    finish(slicer_host, window)
    assert not psutil.pid_exists(job.pid) or psutil.Process(job.pid).status() == psutil.STATUS_ZOMBIE
    assert "Cancelled" in ui.statusLabel.text and "interrupted" in ui.folderTextLabel.text
    done = {path.name: path.read_bytes() for path in (output / "images").glob("volume_*.nii.gz")}
    assert 2 <= len(done) <= 40 and ui.startButton.text == "Resume"

    job_file = output / "job/job.json"  # a smaller number, so that the test ends soon
    begun = json.loads(job_file.read_text())
    settings = json.loads((output / "dataset.json").read_text())
    count = max(int(name[7:12]) for name in done) + 2  # they are made case by case, in any order
    (output / "dataset.json").write_text(json.dumps(settings | {"count": count}))
    job_file.write_text(json.dumps(begun | {"options": begun["options"] | {"count": count}}))
    ui.seedSpinBox.value = 99  # resuming goes on with what it was begun with
    start(window)
    finish(slicer_host, window)
    content = json.loads((output / "manifest.json").read_text())
    assert content["complete"] and len(content["volumes"]) == count and content["settings"]["seed"] == 0
    assert all((output / "images" / name).read_bytes() == before for name, before in done.items())
    assert "finished" in ui.statusLabel.text and ui.startButton.text == "Start"

    assert ui.volumeComboBox.count == count
    ui.volumeComboBox.setCurrentIndex(1)
    ui.openVolumeButton.click()
    names = ("CT", "labels", "mask")
    image, labels, mask = (slicer.util.getNode(f"volume_00001 {name}") for name in names)
    arrays = [slicer.util.arrayFromVolume(node) for node in (image, labels, mask)]
    assert {array.shape for array in arrays} == {(16, 16, 16)}
    assert (arrays[2] > 0).any() and ((arrays[1] == 5) == (arrays[2] > 0)).all()
    assert image.GetDisplayNode().GetLevel() == -500 and "research only" in image.GetDescription().lower()
    assert labels.GetAttribute("SyntheticCT.Classes")
    assert not slicer_host.errors


def test_a_job_that_still_works_is_found_again(slicer_host, window, parts, tmp_path):
    """Slicer was closed and opened again: the folder alone says that a process works there."""
    import slicer

    output = tmp_path / "again"
    choose(window, parts, output, count=200)
    start(window)
    pid = window.dataSet.job.pid
    slicer_host.close_scene()
    assert psutil.pid_exists(pid)  # nothing of a data set belongs to the scene
    window.onReload()
    again = slicer.util.getModuleWidget("LabelToCT")
    again.synthesis.devices.close()
    again.initializeParameterNode()
    again.dataSet.ui.outputPathEdit.currentPath = str(output)
    assert again.dataSet.job is not None and again.dataSet.job.pid == pid
    assert again.dataSet.ui.startButton.text == "Cancel"
    again.dataSet.ui.startButton.click()
    finish(slicer_host, again)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_is_wrong_is_said_before_anything_starts(slicer_host, window, parts, tmp_path):
    ui = window.dataSet.ui
    output = tmp_path / "none"
    choose(window, parts, output)

    def lacks(words):
        assert not ui.startButton.enabled and words in ui.startButton.toolTip, ui.startButton.toolTip

    (tmp_path / "mr.json").write_text('{"cases": [{"id": "a", "mr": "a.nii", "ct": "b.nii"}]}')
    (tmp_path / "broken.json").write_text("{")
    for path, words in [("mr.json", "has a label map"), ("broken.json", "no list"), ("gone.json", "does not exist")]:
        ui.cohortPathEdit.currentPath = str(tmp_path / path)
        lacks(words)
    ui.cohortPathEdit.currentPath = str(parts / "cases/cohort.json")
    for path in (tmp_path, parts / "cases"):
        ui.libraryPathEdit.currentPath = str(path)
        lacks("library")
    ui.libraryPathEdit.currentPath = str(parts / "library")
    mr_model = tmp_path / "mr model"
    write_model(mr_model)
    card = json.loads((mr_model / "model.json").read_text())
    (mr_model / "model.json").write_text(json.dumps(card | {"task": "mr-to-ct"}))
    ui.modelPathEdit.currentPath = str(mr_model)
    lacks("makes no CT of a label map")
    ui.modelPathEdit.currentPath = str(parts / "model")
    ui.outputPathEdit.currentPath = str(parts / "cases")
    lacks("holds other files")
    ui.outputPathEdit.currentPath = str(output)
    assert ui.startButton.enabled
    ui.fewestSpinBox.value = 3
    lacks("fewest")
    ui.fewestSpinBox.value = 1
    ui.smallestSpinBox.value = 2.0
    lacks("smallest")
    assert not output.exists() and not slicer_host.errors


def test_what_only_the_job_can_know_is_said_when_it_ends(slicer_host, window, parts, tmp_path):
    ui = window.dataSet.ui
    choose(window, parts, tmp_path / "too much lung", count=1, lung=0.99)
    slicer_host.answer("cannot be made", "Ok")
    ui.startButton.click()
    finish(slicer_host, window)
    assert "cannot be made" in ui.statusLabel.text and ui.startButton.enabled
    assert ui.volumeComboBox.count == 0 and not ui.openVolumeButton.enabled


def test_choices_are_saved_with_the_scene(slicer_host, window, parts, tmp_path):
    import slicer

    choose(window, parts, tmp_path / "saved", count=7, seed=5, lung=0.25)
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    saved = scene.GetSceneXMLString()
    slicer_host.close_scene()
    ui = window.dataSet.ui
    assert ui.countSpinBox.value == 100 and not str(ui.cohortPathEdit.currentPath)
    scene.Clear(0)
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(saved)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    scene.SetSaveToXMLString(0)
    window.initializeParameterNode()
    assert (ui.countSpinBox.value, ui.seedSpinBox.value, ui.lungSpinBox.value) == (7, 5, 0.25)
    assert str(ui.cohortPathEdit.currentPath) == str(parts / "cases/cohort.json")
    assert str(ui.outputPathEdit.currentPath) == str(tmp_path / "saved") and ui.startButton.enabled
