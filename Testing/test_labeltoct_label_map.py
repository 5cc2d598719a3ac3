"""Step 1 of LabelToCT: a CT, or another segmentation, becomes a label map of an editable table of classes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from chests import chest_arrays, on_grid
from labeltoct_scene import OBLIQUE, ROOT, add_labels, open_window


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    yield widget
    widget.labelMaps.close()


@pytest.fixture
def ct(window):
    from synthct.scene.nodes import node_from_image

    node = node_from_image(on_grid(chest_arrays()[0]), "CT")
    window.labelMaps.ui.ctSelector.setCurrentNode(node)
    return node


def make(slicer_host, window):
    """Press the button, wait, and return the label map."""
    window.labelMaps.ui.makeButton.click()
    slicer_host.wait_until(lambda: window.labelMaps.job is None, 60)
    return window._parameterNode.labelMap


def voxels_of(node):
    import slicer

    return slicer.util.arrayFromVolume(node)


def cells(table, column):
    return [table.item(row, column).text() for row in range(table.rowCount)]


def test_a_ct_becomes_a_label_map_in_outline(slicer_host, window, ct):
    import slicer

    from synthct.scene.label_map.class_colours import classes_of
    from synthct.scene.nodes import image_from_node
    from synthct.volumes.geometry import same_grid

    labels = make(slicer_host, window)
    assert not slicer_host.errors, slicer_host.errors
    assert (voxels_of(labels) == chest_arrays()[1]).all()
    assert same_grid(image_from_node(labels), image_from_node(ct)) and labels.IsA("vtkMRMLLabelMapVolumeNode")
    colours = labels.GetDisplayNode().GetColorNode()
    assert colours.GetColorName(5) == "nodule" and colours.GetColorName(4) == "bone"
    rgba = [0.0] * 4
    colours.GetColor(1, rgba)
    assert np.allclose(rgba, [0xE6 / 255, 0xDC / 255, 0x70 / 255, 1], atol=0.003)
    colours.GetColor(0, rgba)
    assert rgba[3] == 0  # lungs are seen through
    assert "Nodule" in colours.GetTerminologyAsString(5) and "27925004" in colours.GetTerminologyAsString(5)
    assert classes_of(labels).name == "eight"
    view = slicer.app.layoutManager().sliceWidget("Red")
    assert view.mrmlSliceCompositeNode().GetLabelVolumeID() == labels.GetID()
    assert view.mrmlSliceCompositeNode().GetBackgroundVolumeID() == ct.GetID()
    assert view.mrmlSliceNode().GetUseLabelOutline()
    ui = window.labelMaps.ui
    assert "other tissue" in ui.labelsStatusLabel.text and "ml" in ui.labelsStatusLabel.text
    ui.outlineCheckBox.click()
    ui.opacitySlider.value = 40
    assert not view.mrmlSliceNode().GetUseLabelOutline()
    assert view.mrmlSliceCompositeNode().GetLabelOpacity() == pytest.approx(0.4)
    again = make(slicer_host, window)
    assert again is labels and not slicer_host.errors


def test_nodules_of_a_segmentation_and_an_oblique_grid(slicer_host, window):
    import slicer

    from synthct.scene.nodes import node_from_image

    ct = node_from_image(on_grid(chest_arrays()[0], (3.0, 4.0, 5.0), direction=OBLIQUE), "Oblique CT")
    window.labelMaps.ui.ctSelector.setCurrentNode(ct)
    nodules = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    nodules.CreateDefaultDisplayNodes()
    nodules.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    drawn = np.zeros(voxels_of(ct).shape, np.uint8)
    drawn[10:13, 22:25, 17:20] = 1
    segment = nodules.GetSegmentation().AddEmptySegment("n", "n")
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, nodules, segment, ct)
    window.labelMaps.ui.nodulesSelector.setCurrentNode(nodules)
    labels = make(slicer_host, window)
    assert ((voxels_of(labels) == 5) == (drawn == 1)).all()
    assert (voxels_of(labels) == chest_arrays()[1])[drawn == 0].all() and not slicer_host.errors


def test_a_segmentation_by_a_mapping(slicer_host, window):
    import slicer

    from synthct.scene.nodes import node_from_image

    values = chest_arrays()[1]
    source = np.where(values == 0, 11, np.where(values == 4, 12, 0)).astype(np.uint8)
    organs = node_from_image(on_grid(source), "Organs", label=True)
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Own")
    own.SetTypeToUser()
    own.SetNumberOfColors(13)
    own.SetColor(11, "lung", 1, 1, 1, 1)
    own.SetColor(12, "Bone", 1, 1, 1, 1)
    organs.GetDisplayNode().SetAndObserveColorNodeID(own.GetID())
    ui = window.labelMaps.ui
    ui.segmentationSelector.setCurrentNode(organs)
    assert cells(ui.mappingTable, 0) == ["lung (11)", "Bone (12)"]
    assert ui.mappingTable.cellWidget(1, 1).currentText == "bone"  # by its name
    slicer_host.answer("No class is chosen for lung", "Ok")
    ui.makeButton.click()
    assert window.labelMaps.job is None
    lungs = ui.mappingTable.cellWidget(0, 1)
    lungs.setCurrentIndex(lungs.findText("fat"))
    assert json.loads(window._parameterNode.mapping)["lung"] == "fat"
    labels = make(slicer_host, window)
    made = voxels_of(labels)
    assert (made[source == 11] == 1).all() and (made[source == 12] == 4).all() and (made[source == 0] == 0).all()
    assert labels.GetName() == "Organs labels" and not slicer_host.errors


def test_the_table_of_classes_is_edited_saved_and_loaded(slicer_host, window, ct, tmp_path):
    ui = window.labelMaps.ui
    assert cells(ui.classTable, 0)[-1] == "nodule" and ui.classTable.rowCount == 8
    ui.classesComboBox.setCurrentIndex(ui.classesComboBox.findData("six"))
    assert ui.classTable.rowCount == 6 and "outside the body" not in cells(ui.classTable, 0)
    row = cells(ui.classTable, 0).index("bone")
    ui.classTable.item(row, 3).setText("(300, inf)")
    assert ui.classesComboBox.currentText == "Own" and ui.makeButton.enabled
    ui.classTable.item(row, 3).setText("(300")
    assert "hu" in ui.classErrorLabel.text and not ui.makeButton.enabled
    ui.classTable.item(row, 3).setText("(300, inf)")
    ui.classTable.item(row, 0).setText("hard")
    ui.classTable.item(row, 2).setText("#00ff00")
    ui.classTable.selectRow(row)
    ui.upButton.click()
    assert cells(ui.classTable, 0).index("hard") == row - 1
    ui.downButton.click()
    ui.addClassButton.click()
    assert ui.classTable.rowCount == 7 and cells(ui.classTable, 0)[-1] == "nodule"
    ui.classTable.selectRow(5)
    ui.removeClassButton.click()
    slicer_host.answer("Save the table", str(tmp_path / "klassen.yaml"))
    ui.saveClassesButton.click()
    labels = make(slicer_host, window)
    assert labels.GetDisplayNode().GetColorNode().GetColorName(4) == "hard"
    expected = chest_arrays()[1].copy()
    expected[expected == 6] = 0
    assert (voxels_of(labels) == expected).all()
    ui.classesComboBox.setCurrentIndex(ui.classesComboBox.findData("eight"))
    assert "hard" not in cells(ui.classTable, 0)
    slicer_host.answer("Table of classes", str(tmp_path / "klassen.yaml"))
    ui.loadClassesButton.click()
    assert "hard" in cells(ui.classTable, 0)
    (tmp_path / "broken.yaml").write_text("classes: 3")
    slicer_host.answer("Table of classes", str(tmp_path / "broken.yaml"))
    slicer_host.answer("holds no classes", "Ok")
    ui.loadClassesButton.click()
    assert "hard" in cells(ui.classTable, 0) and not slicer_host.errors


def test_bad_inputs(slicer_host, window, ct):
    import slicer

    from synthct.scene.nodes import node_from_image

    ui, before = window.labelMaps.ui, slicer.mrmlScene.GetNumberOfNodes()
    coarse = node_from_image(on_grid(np.ones((5, 6, 7), np.uint8), (9.0, 9.0, 9.0)), "Coarse", label=True)
    ui.nodulesSelector.setCurrentNode(coarse)
    slicer_host.answer("CT and Coarse are not on the same grid", "Ok")
    ui.makeButton.click()
    ui.nodulesSelector.setCurrentNode(None)
    flat = node_from_image(on_grid(np.zeros((5, 6, 7), np.int16)), "Flat")
    ui.ctSelector.setCurrentNode(flat)
    slicer_host.answer("Flat is constant", "Ok")
    ui.makeButton.click()
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    ui.ctSelector.setCurrentNode(empty)
    slicer_host.answer("Nothing is empty", "Ok")
    ui.makeButton.click()
    ui.ctSelector.setCurrentNode(None)
    assert not ui.makeButton.enabled and "Choose a CT" in ui.makeButton.toolTip
    assert window._parameterNode.labelMap is None and not slicer_host.errors
    assert not list(window.logic.session.worker.folder.rglob("*.nrrd"))  # nothing of the patient is left there
    assert slicer.mrmlScene.GetNumberOfNodes() > before  # what the test itself added


def test_a_label_map_with_nodules_is_not_overwritten(slicer_host, window, ct):
    import slicer

    from synthct.scene.label_map.job import NODULES_REFERENCE

    labels = add_labels()
    window._parameterNode.labelMap = labels
    button = window.labelMaps.ui.makeButton
    assert button.enabled
    note = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "Noted")
    labels.SetNodeReferenceID(NODULES_REFERENCE, note.GetID())
    before = voxels_of(labels).copy()
    window.onNodules()  # as when one was accepted
    assert not button.enabled and "nodules planted in Labels would be lost" in button.toolTip
    button.click()
    assert window.labelMaps.job is None and (voxels_of(labels) == before).all() and not slicer_host.errors


def test_the_scene_is_closed_while_a_job_runs(slicer_host, window, ct):
    import slicer

    window.labelMaps.ui.makeButton.click()
    job = window.labelMaps.job
    assert window.labelMaps.ui.makeButton.text == "Cancel"
    slicer_host.close_scene()
    slicer_host.wait_until(lambda: not job.alive(), 30)
    slicer_host.process_events()
    assert window.labelMaps.job is None and not slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode")
    assert not slicer_host.errors


def test_the_label_map_is_chosen_while_another_module_is_shown(slicer_host, window, ct):
    window.labelMaps.ui.makeButton.click()
    window.exit()
    slicer_host.wait_until(lambda: window.labelMaps.job is None, 60)
    window.enter()
    window.synthesis.devices.close()
    assert window._parameterNode.labelMap.GetName() == "CT labels" and not slicer_host.errors


def test_a_temporary_folder_that_cannot_be_written(slicer_host, window, ct, tmp_path, monkeypatch):
    import slicer

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(slicer.app, "temporaryPath", str(tmp_path / "file"))
    window.logic.session.close()
    slicer_host.answer("could not be handed over", "Ok")
    window.labelMaps.ui.makeButton.click()
    assert str(tmp_path / "file") in window.labelMaps.ui.labelsStatusLabel.text and window.labelMaps.job is None
    window.synthesis.devices.refresh()
    assert "temporary folder" in window.synthesis.devices.combo_box.toolTip and not slicer_host.errors


def test_cancel_leaves_the_scene_as_it_was(slicer_host, window, ct):
    import slicer

    window.labelMaps.ui.makeButton.click()
    job = window.labelMaps.job
    window.labelMaps.ui.makeButton.click()
    slicer_host.wait_until(lambda: window.labelMaps.job is None, 30)
    assert not job.alive() and "Cancelled" in window.labelMaps.ui.labelsStatusLabel.text
    assert not list(job.folder.parent.glob("*.nrrd"))
    assert not slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode") and not slicer_host.errors


def test_every_class_has_codes(slicer_host):
    from synthct.labels.classes import read_class_table
    from synthct.scene.label_map.class_colours import codes_of

    codes = {entry.name: codes_of(entry) for entry in read_class_table().classes}
    assert (
        codes["windpipe"][1][2] == "Trachea"
        and codes["nodule"][1] == ("SCT", "27925004", "Nodule")
        and codes["bone"][1][1] == "272673000"
    )
    assert all(len(code) == 3 for pair in codes.values() for code in pair)


def test_what_slicer_loads_needs_no_package_that_a_fresh_slicer_lacks(slicer_host):
    """Slicer brings numpy, scipy and SimpleITK; PyYAML, psutil and the rest come with the first job."""
    program = (
        "import sys\n"
        "sys.path.insert(0, 'Testing')\n"
        "sys.modules.update(dict.fromkeys(['yaml', 'psutil', 'torch', 'monai', 'pydicom', 'safetensors', 'pandas']))\n"
        "import host\n"
        "running = host.start()\n"
        "from synthct.scene import packages\n"
        "packages.missing = lambda: ['PyYAML>=6']\n"
        "window = running.open_module('LabelToCT/LabelToCT.py')\n"
        "print('SECTIONS', len(window.sections), running.errors)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert "SECTIONS" in answer.stdout and answer.stdout.rstrip().endswith("[]"), answer.stdout + answer.stderr[-2000:]
