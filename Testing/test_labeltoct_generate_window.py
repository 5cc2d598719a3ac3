"""Pairs from noise in LabelToCT in the embedded Slicer: real jobs, the real worker under the slider, real MRML."""

import json
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from noise_models import model_at
from scipy import ndimage

from synthct.locks import FolderLock
from synthct.synthesis.generation.between_seeds import generate_between
from synthct.synthesis.generation.generate import generate

ROOT = Path(__file__).parents[1]
HA_GAN = {"name": "ha-gan-generator", "width": 32}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Models, and twelve pairs of one of them: the cases of a training that learned them by heart."""
    folder = tmp_path_factory.mktemp("Modelle aus Rauschen")
    model_at(folder / "classed", classes=("benign", "malignant"))
    model_at(folder / "ha-gan", size=(32, 32, 32), seed=1, network=HA_GAN)
    style = {"name": "stylegan2", "capacity": 64, "widest": 8}
    model_at(folder / "style", size=(32, 32), masks="none", network=style)
    card = json.loads((model_at(folder / "mixed") / "model.json").read_text())  # of longer latents than its weights
    (folder / "mixed/model.json").write_text(json.dumps(card | {"latent_shape": [7], "in_channels": 7}))
    generate(folder / "classed", folder / "learned", 12, device="cpu")
    return folder


@pytest.fixture
def window(slicer_host):
    widget = slicer_host.open_module(ROOT / "LabelToCT/LabelToCT.py")
    widget.pairs.devices.close()
    widget.setParameterNode(None)
    widget.pairs.models.path = ""
    widget.initializeParameterNode()
    widget.pairs._asked_for_devices = True  # asking starts a process, which nothing here needs
    widget.ui.generateButton.collapsed = False
    widget.pairs.devices.device = "cpu"
    yield widget
    section = widget.pairs
    for job in (section.job, section.latent.job):
        if job is not None:
            job.cancel()
    slicer_host.wait_until(lambda: section.job is None and section.latent.job is None)
    section.latent.preview.drop()
    slicer_host.wait_until(lambda: not section.latent.preview.busy)


def choose(window, model, output="", **changed):
    ui = window.pairs.ui
    ui.modelPathEdit.currentPath = str(model)
    ui.outputPathEdit.currentPath = str(output)
    for name, value in changed.items():
        getattr(ui, f"{name}SpinBox").value = value


def finish(slicer_host, window, seconds=120):
    slicer_host.wait_until(lambda: window.pairs.job is None, seconds)
    assert not slicer_host.errors


def settled(slicer_host, window, seconds=120):
    slicer_host.wait_until(lambda: not window.pairs.latent.preview.busy, seconds)
    assert not slicer_host.errors


def click(table, row):
    """Click a row of a table, as a mouse does."""
    from host.pythonqt import unwrap
    from PySide6 import QtCore, QtTest

    real = unwrap(table)
    real.scrollToItem(real.item(row, 0))
    place = real.visualItemRect(real.item(row, 0)).center()
    QtTest.QTest.mouseClick(real.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=place)


def voxels(node):
    import slicer

    return slicer.util.arrayFromVolume(node)


def drawn(volume):
    """Voxels of a pair's mask as its segmentation has them."""
    import slicer

    return slicer.util.arrayFromSegmentBinaryLabelmap(volume.GetNodeReference("SyntheticCTMask"), "mask", volume)


def on_disk(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def ended(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def lacks(window, words):
    button = window.pairs.ui.startButton
    assert not button.enabled and words in button.toolTip, button.toolTip


def test_pairs_are_made_interrupted_resumed_and_loaded(slicer_host, window, parts, tmp_path):
    import slicer

    ui, output = window.pairs.ui, tmp_path / "Paare ü"
    lacks(window, "folder")
    choose(window, "", output)
    lacks(window, "model")
    choose(window, parts / "classed", output, count=5000, minimum=60)
    assert "pairs of image and mask, 16 × 16 × 8 voxels of 1.5 × 2 × 3 mm" in ui.modelCardLabel.text
    assert [ui.classComboBox.itemText(number) for number in range(3)][1:] == ["benign", "malignant"]
    assert ui.startButton.enabled and ui.startButton.text == "Apply" and not ui.pairsTable.visible
    ui.startButton.click()
    assert ui.startButton.text == "Cancel" and ui.progressBar.visible
    pid = window.pairs.job.pid
    slicer_host.wait_until(lambda: len(list((output / "records").glob("pair_*.json"))) >= 2, 120)
    ui.startButton.click()
    finish(slicer_host, window)
    assert ended(pid) and "Cancelled" in ui.statusLabel.text
    done = {path.name: path.read_bytes() for path in (output / "images").glob("pair_*.nii.gz")}
    assert ui.startButton.text == "Resume" and "of 5000 pairs" in ui.folderTextLabel.text
    assert 2 <= ui.pairsTable.rowCount <= len(done)

    job_file = output / "job/job.json"  # a smaller number, so that the test ends soon
    begun = json.loads(job_file.read_text())
    count = len(done) + 2
    job_file.write_text(json.dumps(begun | {"options": begun["options"] | {"count": count}}))
    ui.seedSpinBox.value = 99  # resuming goes on with what it was begun with
    ui.startButton.click()
    finish(slicer_host, window)
    content = json.loads((output / "manifest.json").read_text())
    assert len(content["pairs"]) == count and (content["seed"], content["minimum_mm3"]) == (0, 60)
    assert all((output / "images" / name).read_bytes() == before for name, before in list(done.items())[:-1])
    assert f"{count} pairs are in" in ui.statusLabel.text and ui.pairsTable.rowCount == count
    lacks(window, "made otherwise (another seed)")
    ui.seedSpinBox.value = 0
    ui.largestCheckBox.click()
    lacks(window, "made otherwise (another choice of parts)")
    ui.largestCheckBox.click()
    assert ui.startButton.enabled and ui.startButton.text == "Apply"
    ui.countSpinBox.value = count
    lacks(window, "All are there")
    assert f"{count} pairs are finished. All are there" in ui.folderTextLabel.text
    ui.countSpinBox.value = 1
    lacks(window, "larger number")

    click(ui.pairsTable, 1)
    volume = slicer.util.getNode("pair_00001")
    np.testing.assert_array_equal(voxels(volume), on_disk(output / "images/pair_00001.nii.gz"))
    mask = on_disk(output / "masks/pair_00001.nii.gz")
    np.testing.assert_array_equal(drawn(volume) > 0, mask > 0)
    assert mask.any() and volume.GetSpacing() == (1.5, 2.0, 3.0)
    segmentation = slicer.util.getNode("pair_00001 mask")
    assert segmentation.GetSegmentation().GetSegment("mask").GetColor() == pytest.approx((0.95, 0.55, 0.16))
    display = volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (
        1500,
        -500,
    ) and "research only" in volume.GetDescription().lower()
    assert ui.pairsTable.item(1, 2).text() == "malignant"
    click(ui.pairsTable, 0)
    click(ui.pairsTable, 1)  # it is in the scene already
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2
    assert segmentation.GetDisplayNode().GetVisibility()
    assert not slicer.util.getNode("pair_00000 mask").GetDisplayNode().GetVisibility()  # all lie in the same place
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    assert composite.GetBackgroundVolumeID() == volume.GetID()
    assert not slicer_host.errors


def test_what_repeats_a_training_case_is_marked_in_the_list(slicer_host, window, parts, tmp_path):
    ui, output = window.pairs.ui, tmp_path / "checked"
    choose(window, parts / "classed", output, count=2)
    ui.cohortPathEdit.currentPath = str(tmp_path / "gone.json")
    lacks(window, "does not exist")
    ui.cohortPathEdit.currentPath = str(parts / "learned/cohort.json")
    assert "12 cases" in ui.cohortTextLabel.text
    ui.largestCheckBox.click()
    ui.startButton.click()
    finish(slicer_host, window)
    content = json.loads((output / "manifest.json").read_text())
    assert content["largest_only"] is True
    assert content["leak_check"]["cohort_images"] == 12
    assert all(pair["training_neighbour"]["too_close"] for pair in content["pairs"])
    for row in range(2):
        remark = ui.pairsTable.item(row, 3)
        assert remark.text().startswith("too close to a training case; ") and "pair_0000" in remark.text()
        assert remark.toolTip() == remark.text()
    assert "come too close" in ui.statusLabel.text and ui.openPictureButton.visible
    ui.cohortPathEdit.currentPath = ""  # the marks would be lost
    ui.countSpinBox.value = 3
    lacks(window, "checked against training cases")


def test_the_slider_makes_what_lies_between_the_seeds(slicer_host, window, parts, tmp_path):
    """With HA-GAN: the last place that was asked for is shown in the same nodes, however fast the slider moves."""
    import slicer

    choose(window, parts / "ha-gan")
    latent = window.pairs.latent
    ui = latent.ui
    window.pairs.ui.latentButton.collapsed = False
    ui.seedASpinBox.value, ui.seedBSpinBox.value = 3, 8
    assert not latent.preview.busy  # without a preview seeds alone start nothing
    for place in (10, 30, 50, 70):
        ui.placeSlider.value = place
        slicer_host.process_events()
    assert latent.preview.busy and ui.previewButton.text == "Cancel" and ui.latentProgressBar.visible
    settled(slicer_host, window)
    made = latent.preview.made
    assert made <= 2 and ui.placeTextLabel.text == "70 %" and "at 70 %" in ui.latentStatusLabel.text
    volume = slicer.util.getNode("Between seeds")
    expected = {kind: tmp_path / f"{kind}.nii.gz" for kind in ("image", "mask")}

    def check(share):
        generate_between(parts / "ha-gan", **expected, seed=3, between=8, share=share, device="cpu", overwrite=True)
        difference = voxels(volume).astype(int) - on_disk(expected["image"])
        assert np.abs(difference).max() <= 1  # other threads, other rounding
        assert (drawn(volume) != on_disk(expected["mask"])).mean() < 1e-3

    check(0.7)
    before, worker = voxels(volume).copy(), window.logic.session.worker._process.pid
    volume.GetDisplayNode().SetWindowLevel(77, 7)
    for place in (72, 85, 99, 100):
        ui.placeSlider.value = place
    settled(slicer_host, window)
    assert made < latent.preview.made <= made + 2
    assert window.logic.session.worker._process.pid == worker  # kept warm
    check(1.0)
    assert not np.array_equal(before, voxels(volume))
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 1
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1
    assert volume.GetDisplayNode().GetWindow() == 77  # the user's
    assert window.parameters().pairsPreview is volume and volume.GetAttribute("SyntheticCT.Model") == "tiny"
    window.pairs.ui.minimumSpinBox.value = 500  # the preview follows this, too
    settled(slicer_host, window)
    assert (drawn(volume) > 0).sum() < on_disk(expected["mask"]).sum()
    window.pairs.ui.minimumSpinBox.value = 0
    window.pairs.ui.largestCheckBox.click()
    settled(slicer_host, window)
    assert ndimage.label(drawn(volume) > 0, np.ones((3, 3, 3)))[1] == 1
    window.pairs.ui.largestCheckBox.click()
    settled(slicer_host, window)
    psutil.Process(worker).kill()  # as when it was idle for long: another one is started
    slicer_host.wait_until(lambda: ended(worker))
    ui.placeSlider.value = 70
    settled(slicer_host, window)
    check(0.7)
    choose(window, parts / "mixed")
    ui.previewButton.click()
    settled(slicer_host, window)
    assert "weights" in ui.latentStatusLabel.text and ui.previewButton.enabled
    choose(window, parts / "ha-gan")
    ui.placeSlider.value = 20
    slicer_host.close_scene()  # what is under way goes into no other scene
    settled(slicer_host, window)
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_the_way_between_the_seeds_is_loaded(slicer_host, window, parts, tmp_path, monkeypatch):
    import slicer

    from synthct.scene.generation.folder import GeneratedFolder
    from synthct.scene.generation.latent_sequence import load_sequence

    choose(window, parts / "classed")
    window.pairs.ui.classComboBox.setCurrentIndex(2)
    latent = window.pairs.latent
    latent.ui.seedASpinBox.value, latent.ui.seedBSpinBox.value, latent.ui.stepsSpinBox.value = 5, 6, 3
    latent.ui.sequenceButton.click()
    assert latent.ui.sequenceButton.text == "Cancel"
    slicer_host.wait_until(lambda: latent.job is None and not latent.preview.busy, 120)
    assert not slicer_host.errors and "3 pairs are in the scene" in latent.ui.latentStatusLabel.text
    whole = tmp_path / "whole"
    generate(parts / "classed", whole, 3, 5, 6, "malignant", device="cpu")

    def check(volume, number):
        image, mask = (on_disk(whole / f"{kind}s/pair_{number:05d}.nii.gz") for kind in ("image", "mask"))
        assert np.abs(voxels(volume).astype(int) - image).max() <= 1
        assert (drawn(volume) == mask).all() and volume.GetDisplayNode().GetLevel() == -500

    browser = slicer.util.getNode("Seeds 5 to 6 browser")
    assert browser.GetNumberOfItems() == 3 and browser.GetMasterSequenceNode().GetIndexUnit() == "%"
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 1
    for number in (2, 0, 1):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        check(slicer.util.getNode("Seeds 5 to 6"), number)
    monkeypatch.delattr(slicer.modules, "sequences")  # a Slicer without them
    for number, volume in enumerate(load_sequence(GeneratedFolder.at(whole), "Way")):
        assert volume.GetName() == f"Way {number + 1} of 3"
        check(volume, number)


def test_what_is_wrong_is_said_before_anything_starts(slicer_host, window, parts, tmp_path):
    from synthct.scene.selftest import make_model

    ui, latent, output = window.pairs.ui, window.pairs.latent.ui, tmp_path / "none"
    choose(window, make_model(tmp_path / "translates"), output)
    assert "makes no pairs from noise" in ui.modelCardLabel.text
    lacks(window, "model")
    assert not latent.previewButton.enabled and not latent.sequenceButton.enabled
    latent.placeSlider.value = 40
    assert "model" in latent.latentStatusLabel.text and not window.pairs.latent.preview.busy
    choose(window, parts / "classed", output)
    assert ui.startButton.enabled and latent.previewButton.enabled and not ui.truncationSpinBox.visible
    for spin in (ui.countSpinBox, latent.stepsSpinBox):
        spin.value = 0
        assert spin.value >= 1
    foreign = tmp_path / "foreign"
    (foreign / "images").mkdir(parents=True)
    ui.outputPathEdit.currentPath = str(foreign)
    lacks(window, "holds images already")
    choose(window, parts / "classed", parts / "learned", count=20)
    assert ui.startButton.enabled and ui.pairsTable.rowCount == 12
    choose(window, parts / "ha-gan", parts / "learned")
    lacks(window, "another model")
    choose(window, parts / "classed", parts / "learned", threshold=0.8)
    lacks(window, "another threshold")
    ui.thresholdSpinBox.value = 0.5
    with FolderLock(parts / "learned/records/process0of1"):
        window.pairs._look()
        lacks(window, "Another process")
    slicer_host.wait_until(lambda: ui.startButton.enabled)
    damaged = tmp_path / "damaged/records"
    damaged.mkdir(parents=True)
    for name, text in [("generate", ""), ("pair_00000.json", "{")]:
        (damaged / name).write_text(text)
    for path, words in [(damaged.parent, "cannot be read"), (damaged / "generate", "is a file")]:
        ui.outputPathEdit.currentPath = str(path)
        lacks(window, words)
    choose(window, parts / "style", output)
    assert ui.truncationSpinBox.visible and not ui.thresholdSpinBox.enabled and not ui.classComboBox.visible
    assert not output.exists() and not slicer_host.errors


def test_what_only_the_job_can_know_is_said_when_it_ends(slicer_host, window, parts, tmp_path):
    choose(window, parts / "mixed", tmp_path / "out", count=1)
    slicer_host.answer("fit the network", "Ok")
    window.pairs.ui.startButton.click()
    finish(slicer_host, window)
    assert "weights" in window.pairs.ui.statusLabel.text and not window.pairs.ui.pairsTable.visible
    assert window.pairs.ui.startButton.enabled


def test_choices_and_folder_come_back_with_the_scene(slicer_host, window, parts, tmp_path):
    import slicer

    ui = window.pairs.ui
    choose(window, parts / "classed", parts / "learned", count=12, threshold=0.5, minimum=0)
    window.pairs.latent.ui.seedASpinBox.value = 17
    ui.classComboBox.setCurrentIndex(2)
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    saved = scene.GetSceneXMLString()
    slicer_host.close_scene()
    assert ui.countSpinBox.value == 10 and not ui.pairsTable.visible and window.pairs.latent.ui.seedASpinBox.value == 0
    scene.Clear(0)
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(saved)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    scene.SetSaveToXMLString(0)
    window.initializeParameterNode()
    assert ui.countSpinBox.value == 12 and ui.classComboBox.currentText == "malignant"
    assert str(ui.outputPathEdit.currentPath) == str(parts / "learned") and ui.pairsTable.rowCount == 12
    assert window.pairs.latent.ui.seedASpinBox.value == 17 and not window.pairs.latent.preview.busy


def test_closing_the_scene_ends_the_job_and_the_folder_goes_on_later(slicer_host, window, parts, tmp_path):
    output = tmp_path / "closed"
    choose(window, parts / "classed", output, count=5000)
    window.pairs.ui.startButton.click()
    pid = window.pairs.job.pid
    slicer_host.wait_until(lambda: list((output / "records").glob("pair_*.json")), 120)
    slicer_host.close_scene()
    finish(slicer_host, window)
    assert ended(pid) and any((output / "images").iterdir())
    window.pairs.ui.outputPathEdit.currentPath = str(output)
    assert window.pairs.ui.startButton.text == "Resume" and window.pairs.ui.pairsTable.rowCount >= 1
