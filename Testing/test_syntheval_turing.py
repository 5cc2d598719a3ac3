"""The visual Turing test driven through SynthEval: prepared by a job, rated by two, scored; nothing shown tells."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from syntheval_scene import add_pair, finish, open_window

from synthct.turing_folder import read_answers


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three real and three generated volumes with masks, whose labels and names tell which is which."""
    above = tmp_path_factory.mktemp("Quellen")
    random = np.random.default_rng(0)
    for kind, level in (("real", -300), ("generated", 200)):
        for what in ("images", "masks"):
            (above / kind / what).mkdir(parents=True)
        for number in range(3):
            voxels = np.full((24, 12, 12), level, np.int16) + random.integers(0, 50, (24, 12, 12), np.int16)
            mask = np.zeros(voxels.shape, np.uint8)
            mask[:, 4:8, 4:8] = 1 if kind == "real" else 7
            for what, array in (("images", voxels), ("masks", mask)):
                sitk.WriteImage(sitk.GetImageFromArray(array), str(above / kind / what / f"{kind} {number}.nii.gz"))
    return above


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    widget.ui.turingButton.collapsed = False
    yield widget
    widget.turing.close()


def begin(window, test, rater):
    ui = window.turing.ui
    ui.testPathEdit.currentPath = str(test)
    ui.raterComboBox.setCurrentText(rater)
    ui.beginButton.click()


def everything_written():
    """All texts that the scene holds of what is shown: names, attributes, descriptions, files, the Data tree."""
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    texts = []
    for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode"):
        texts += [node.GetName(), node.GetDescription() or "", tree.GetItemName(tree.GetItemByDataNode(node))]
        texts += [str(node.GetAttribute(name)) for name in node.GetAttributeNames()]
        storage = node.GetStorageNode()
        texts += [storage.GetFileName() or ""] if storage is not None else []
    return " ".join(texts)


def test_two_raters_through_the_window(slicer_host, window, folders, tmp_path):
    import slicer

    section, ui, test = window.turing, window.turing.ui, tmp_path / "Test ß"
    ui.testPathEdit.currentPath = str(test)
    ui.realPathEdit.currentPath = str(folders / "real")
    ui.generatedPathEdit.currentPath = str(folders / "generated")
    ui.prepareButton.click()
    finish(slicer_host, section)
    assert "6 items" in ui.statusLabel.text
    key = json.loads((test / "key.json").read_text())
    title = slicer.util.mainWindow().windowTitle

    for rater, shift in (("Dr. Ärztin", 0), ("Zweiter", 1)):
        begin(window, test, rater)
        assert not ui.prepareGroupBox.visible and not ui.resultsButton.enabled
        for place in range(6):
            name = f"{place + 1:03d}"
            assert f"Item {place + 1} of 6" in ui.itemLabel.text and not ui.nextButton.enabled
            node = slicer.util.getNode(f"Item {place + 1}")
            voxels = slicer.util.arrayFromVolume(node)
            assert (voxels.mean() < 0) == key[name]["real"]  # it is this item's image
            outline = slicer.util.getNode(f"Item {place + 1} outline")
            assert set(np.unique(slicer.util.arrayFromVolume(outline))) <= {0, 1}
            assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 2
            display = node.GetDisplayNode()
            assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-1000, 600)
            written = everything_written() + slicer.util.mainWindow().windowTitle
            assert not any(word in written.lower() for word in ("real", "generated", "nii", str(tmp_path).lower()))
            assert slicer.util.mainWindow().windowTitle == title
            assert name not in read_answers(test, rater)
            rating = (2 + place % 2 if key[name]["real"] else 7) + shift
            ui.ratingSlider.value = rating
            assert read_answers(test, rater)[name].rating == rating  # on the disk at once
            if place < 5:
                ui.nextButton.click()
        assert not ui.nextButton.enabled and "All 6" in ui.statusLabel.text

        ui.backButton.click()  # a second thought
        assert "Item 5 of 6" in ui.itemLabel.text
        before = read_answers(test, rater)["005"]
        assert ui.ratingSlider.value == before.rating
        ui.ratingSlider.value = int(before.rating) + 1
        after = read_answers(test, rater)["005"]
        assert after.rating == before.rating + 1 and after.seconds >= before.seconds
        ui.ratingSlider.value = int(before.rating)
        ui.beginButton.click()
        assert not slicer.util.getNodesByClass("vtkMRMLVolumeNode") and section.test is None

    assert not ui.resultsTable.visible
    slicer_host.answer("Turing", "Cancel")
    ui.resultsButton.click()
    assert section.job is None and not ui.resultsTable.visible  # only shown to who insists
    slicer_host.answer("Turing", "Ok")
    ui.resultsButton.click()
    finish(slicer_host, section)
    shown = [[ui.resultsTable.item(row, column).text() for column in range(5)] for row in range(3)]
    assert [row[0] for row in shown] == ["Dr. Ärztin", "Zweiter", "mean of raters"]
    assert [row[4] for row in shown] == ["1", "1", "1"] and shown[0][3] == "7" and shown[1][3] == "8"
    assert "ICC" in ui.resultsLabel.text and "6 items" in ui.resultsLabel.text
    assert "0.5 cannot tell" in ui.resultsTable.horizontalHeaderItem(4).toolTip()
    slicer_host.answer("Export", str(tmp_path / "ratings.csv"))
    ui.exportButton.click()
    finish(slicer_host, section)
    with open(tmp_path / "ratings.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12
    assert not slicer_host.errors


def test_several_raters_go_on_after_the_scene_was_loaded(slicer_host, window, folders, tmp_path):
    import slicer

    from synthct.evaluation.raters.turing_test import find_sources, prepare_test

    test = tmp_path / "test"
    prepare_test(find_sources(folders / "real"), find_sources(folders / "generated"), test, 2)
    ui = window.turing.ui
    begin(window, test, "Anna")
    for rating in (3, 8):
        ui.ratingSlider.value = rating
        ui.nextButton.click()
    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and window.parameters().turingTest == str(test))
    assert window.turing.test is None
    for rater, place in (("Bert", 1), ("Anna", 3)):
        begin(window, test, rater)
        assert f"Item {place} of 4" in ui.itemLabel.text and f"{place - 1} rated" in ui.itemLabel.text
        images = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode")]
        assert sorted(images) == [f"Item {place}", f"Item {place} outline"]  # saved ones are taken
        written = everything_written().lower()
        assert "real" not in written and "generated" not in written
        ui.ratingSlider.value = 1
        assert read_answers(test, rater)[f"{place:03d}"].rating == 1
        ui.beginButton.click()
    assert [len(read_answers(test, rater)) for rater in ("Anna", "Bert")] == [3, 1]
    assert not slicer_host.errors


def test_a_rater_goes_on_where_they_stopped(slicer_host, window, folders, tmp_path):
    import slicer

    from synthct.evaluation.raters.turing_test import find_sources, prepare_test

    prepare_test(find_sources(folders / "real"), find_sources(folders / "generated"), tmp_path / "test", 2)
    ui = window.turing.ui
    parts = add_pair()
    manager = slicer.app.layoutManager()
    green = manager.sliceWidget("Green").mrmlSliceNode()
    green.SetOrientation("Coronal")
    window.pair._views.show(parts["reference"], parts["synthetic"], None)
    assert green.GetOrientation() == "Axial"
    begin(window, tmp_path / "test", "Anna")
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView  # the views are for the item alone
    assert green.GetOrientation() == "Coronal"
    ui.ratingSlider.sliderDown = True
    ui.ratingSlider.sliderDown = False  # pressed where it is: five
    assert read_answers(tmp_path / "test", "Anna")["001"].rating == 5
    ui.nextButton.click()
    slicer_host.close_scene()
    assert window.turing.test is None and ui.beginButton.text == "Begin"
    begin(window, tmp_path / "test", "Anna")
    assert "Item 2 of 4" in ui.itemLabel.text and "1 rated" in ui.itemLabel.text
    assert slicer.util.getNode("Item 2") is not None
    ui.beginButton.click()
    assert ui.raterComboBox.findText("Anna") >= 0
    begin(window, tmp_path / "test", "a/b")
    assert "cannot be a rater" in ui.statusLabel.text and window.turing.test is None
    begin(window, tmp_path, "Anna")
    assert "no visual Turing test" in ui.statusLabel.text
    (tmp_path / "test/items/002.nii.gz").write_bytes(b"damaged")
    begin(window, tmp_path / "test", "Anna")
    assert "002.nii.gz" in ui.statusLabel.text and window.turing.test is None
