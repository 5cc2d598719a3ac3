"""Planted nodules when the scene is saved, loaded and closed, and what is said where nothing can be planted."""

import shutil

import numpy as np
import pytest
from labeltoct_scene import NODULE, add_labels, click, make_library, open_window, place_of

LUNG = (12, 24, 18)


@pytest.fixture
def library(tmp_path):
    return make_library(tmp_path / "nodules")


@pytest.fixture
def window(slicer_host, library):
    widget = open_window(slicer_host)
    widget._parameterNode.noduleLibrary = str(library)
    return widget


@pytest.fixture
def labels(window):
    node = add_labels()
    window._parameterNode.labelMap = node
    return node


def voxels_of(node):
    import slicer

    return slicer.util.arrayFromVolume(node)


def plant(slicer_host, section, labels, voxel):
    section.ui.placeButton.click()
    click(slicer_host, place_of(labels, *voxel))
    section.ui.acceptButton.click()


def reloaded(slicer_host, window, path):
    """Save, close and load the scene; return the label map."""
    import slicer

    assert slicer.util.saveScene(str(path))
    slicer_host.close_scene()
    slicer.util.loadScene(str(path))
    slicer_host.wait_until(lambda: window._parameterNode is not None and window._parameterNode.labelMap, 10)
    return window._parameterNode.labelMap


def test_nodules_survive_the_scene(slicer_host, window, labels, library, tmp_path):
    import slicer

    before = voxels_of(labels).copy()
    section, ui = window.nodules, window.nodules.ui
    plant(slicer_host, section, labels, LUNG)
    ui.galleryWidget.setCurrentRow(1)
    ui.superiorSlider.value = 30
    plant(slicer_host, section, labels, (12, 24, 41))
    both = voxels_of(labels).copy()
    ui.placeButton.click()
    click(slicer_host, place_of(labels, 8, 24, 18))  # not accepted: it is not saved
    labels = reloaded(slicer_host, window, tmp_path / "szene ö.mrb")
    assert (voxels_of(labels) == both).all() and ui.nodulesTable.rowCount == 2
    assert [nodule.template for nodule in section.list.nodules] == ["ball-12", "ball-20"]
    assert section.list.nodules[1].pose.rotation == (0, 0, 30)
    assert section.gallery.path == str(library) and section.gallery.name == "ball-20"
    assert not slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    assert [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")] == ["Nodules"]
    ui.undoButton.click()
    assert ui.nodulesTable.rowCount == 1 and np.count_nonzero(voxels_of(labels) == NODULE) < 20
    ui.redoButton.click()
    assert (voxels_of(labels) == both).all()
    ui.nodulesTable.selectRow(1)
    ui.editButton.click()
    slicer_host.process_events()
    assert "It fits" in ui.reasonLabel.text and ui.superiorSlider.value == 30
    section.candidate.placing.move_to(place_of(labels, 12, 24, 40))
    slicer_host.process_events()
    ui.acceptButton.click()
    one_to_the_left = np.argwhere(voxels_of(labels) == NODULE)
    assert len(one_to_the_left) == np.count_nonzero(both == NODULE)
    for _ in range(2):
        ui.nodulesTable.selectRow(0)
        ui.deleteButton.click()
    assert (voxels_of(labels) == before).all() and not slicer_host.errors


def test_edit_needs_the_library_and_delete_does_not(slicer_host, window, labels, library, tmp_path):
    before = voxels_of(labels).copy()
    plant(slicer_host, window.nodules, labels, LUNG)
    labels = reloaded(slicer_host, window, tmp_path / "scene.mrb")
    shutil.rmtree(library)
    window.nodules.gallery.show()
    ui = window.nodules.ui
    ui.nodulesTable.selectRow(0)
    slicer_host.answer("Its template ball-12 is not in the library", "Ok")
    ui.editButton.click()
    assert str(library) in ui.nodulesStatusLabel.text and window.nodules._edited is None
    ui.deleteButton.click()
    assert (voxels_of(labels) == before).all() and not slicer_host.errors


def test_the_scene_is_closed_while_placing(slicer_host, window, labels):
    import slicer

    interaction = slicer.app.applicationLogic().GetInteractionNode()
    window.nodules.ui.placeButton.click()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    slicer_host.close_scene()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert not window.nodules.ui.placeButton.enabled
    again = add_labels()
    window._parameterNode.labelMap = again
    plant(slicer_host, window.nodules, again, LUNG)
    window.nodules.ui.editButton.click()
    slicer_host.process_events()
    slicer_host.close_scene()
    slicer_host.process_events()
    assert window.nodules.ui.nodulesTable.rowCount == 0 and window.nodules._edited is None
    assert not slicer_host.errors


def test_the_user_deletes_what_is_in_the_scene(slicer_host, window, labels):
    """Point, and notes: what was shown of them goes, and no button stays that cannot work."""
    import slicer

    section, ui = window.nodules, window.nodules.ui
    ui.placeButton.click()
    click(slicer_host, place_of(labels, *LUNG))
    slicer.mrmlScene.RemoveNode(section.candidate.placing.node)
    slicer_host.process_events()
    assert section.candidate.preview.node is None and not ui.reasonLabel.text
    assert not ui.acceptButton.enabled and not ui.discardButton.enabled
    plant(slicer_host, section, labels, LUNG)
    ui.editButton.click()
    slicer_host.process_events()
    slicer.mrmlScene.RemoveNode(section.candidate.placing.node)
    slicer_host.process_events()
    assert section._edited is None and section.candidate.preview.node is None
    plant(slicer_host, section, labels, (12, 24, 41))
    assert ui.nodulesTable.rowCount == 2
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Labels planted nodules"))
    slicer_host.process_events()
    assert ui.nodulesTable.rowCount == 0 and not ui.undoButton.enabled and not slicer_host.errors


def test_the_label_map_is_bent_while_editing(slicer_host, window, labels):
    import slicer
    import vtk

    before = voxels_of(labels).copy()
    plant(slicer_host, window.nodules, labels, LUNG)
    window.nodules.ui.editButton.click()
    slicer_host.process_events()
    bent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Bent")
    shifts = vtk.vtkImageData()
    shifts.SetDimensions(2, 2, 2)
    shifts.AllocateScalars(vtk.VTK_DOUBLE, 3)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(shifts)
    bent.SetAndObserveTransformFromParent(grid)
    labels.SetAndObserveTransformNodeID(bent.GetID())
    window.nodules.ui.discardButton.click()
    assert window.nodules._edited is None
    slicer_host.answer("non-linear transform Bent", "Ok")
    window.nodules.ui.placeButton.click()
    window.nodules.ui.undoButton.click()
    assert (voxels_of(labels) == before).all() and not slicer_host.errors


def test_another_label_map_has_nodules_of_its_own(slicer_host, window, labels):
    section, ui = window.nodules, window.nodules.ui
    plant(slicer_host, section, labels, LUNG)
    other = add_labels("Other")
    ui.placeButton.click()
    window._parameterNode.labelMap = other
    assert ui.nodulesTable.rowCount == 0 and section.candidate.placing.node is None
    plant(slicer_host, section, other, (12, 24, 41))
    window._parameterNode.labelMap = labels
    slicer_host.process_events()
    assert ui.nodulesTable.rowCount == 1 and section.list.nodules[0].anchor == LUNG
    assert not slicer_host.errors


def test_what_the_user_drew_is_seen_and_kept(slicer_host, window, labels):
    import slicer

    section, ui = window.nodules, window.nodules.ui
    plant(slicer_host, section, labels, LUNG)
    voxels = voxels_of(labels)
    voxels[12, 24, 18] = 4  # bone, drawn over the nodule
    voxels[6:18, 10:40, 30:50] = 3  # no lung at the left any more
    slicer.util.arrayFromVolumeModified(labels)
    ui.placeButton.click()
    click(slicer_host, place_of(labels, 12, 24, 41))
    assert "muscle" in ui.reasonLabel.text
    ui.discardButton.click()
    ui.nodulesTable.selectRow(0)
    ui.deleteButton.click()
    assert voxels_of(labels)[12, 24, 18] == 4 and not (voxels_of(labels) == NODULE).any()
    assert not slicer_host.errors


def test_an_empty_library_and_none(slicer_host, window, labels, tmp_path):
    from synthct.labels.library import add_templates

    add_templates(tmp_path / "empty", [])
    ui = window.nodules.ui
    window.nodules.gallery.path = str(tmp_path / "empty")
    assert "is empty" in ui.templateLabel.text and not ui.placeButton.enabled and not ui.randomButton.enabled
    window.nodules.gallery.path = str(tmp_path)
    assert "no library" in ui.templateLabel.text and not ui.placeButton.enabled
    assert not slicer_host.errors


def test_no_lung_and_a_template_larger_than_it(slicer_host, window, labels, library):
    import slicer

    ui = window.nodules.ui
    make_library(library.parent / "large", (200.0,))
    window.nodules.gallery.path = str(library.parent / "large")
    ui.placeButton.click()
    click(slicer_host, place_of(labels, *LUNG))
    assert not ui.acceptButton.enabled and "beyond the volume" in ui.reasonLabel.text
    slicer_host.answer("no place in Labels where ball-200 fits", "Ok")
    ui.nearestButton.click()
    slicer_host.answer("ball-200", "Ok")
    ui.variedCheckBox.checked = False
    ui.randomButton.click()
    assert "larger than the volume" in ui.nodulesStatusLabel.text and not (voxels_of(labels) == NODULE).any()

    voxels = voxels_of(labels)
    voxels[voxels == 0] = 3
    slicer.util.arrayFromVolumeModified(labels)
    window.nodules.gallery.path = str(library)
    slicer_host.answer("No place fits in Labels", "Ok")
    ui.randomButton.click()
    assert not (voxels_of(labels) == NODULE).any() and not slicer_host.errors


def test_unknown_values_and_a_table_without_nodules(slicer_host, window, labels):
    import json

    import slicer

    from synthct.labels.classes import read_class_table
    from synthct.scene.label_map.class_colours import CLASSES_ATTRIBUTE

    ui, voxels = window.nodules.ui, voxels_of(labels)
    voxels[0, 0, 0] = 77
    slicer.util.arrayFromVolumeModified(labels)
    slicer_host.answer("Labels holds 77", "Ok")
    ui.placeButton.click()
    assert "does not know" in ui.nodulesStatusLabel.text and window.nodules.candidate.placing.node is None
    voxels[0, 0, 0] = 6
    slicer.util.arrayFromVolumeModified(labels)
    content = read_class_table("seven").to_dict()
    content["classes"] = [entry for entry in content["classes"] if entry.get("from") != "nodules"]
    labels.SetAttribute(CLASSES_ATTRIBUTE, json.dumps(content))
    slicer_host.answer("no class for nodules", "Ok")
    ui.placeButton.click()
    assert window.nodules.candidate.placing.node is None and not slicer_host.errors


def test_damaged_notes_are_named_and_nothing_is_lost(slicer_host, window, labels):
    from synthct.scene.label_map.job import NODULES_REFERENCE

    plant(slicer_host, window.nodules, labels, LUNG)
    planted = voxels_of(labels).copy()
    noted = labels.GetNodeReference(NODULES_REFERENCE)
    noted.SetText('{"format": 1}')
    window.nodules.update()
    ui = window.nodules.ui
    assert noted.GetName() in ui.nodulesStatusLabel.text and ui.nodulesTable.rowCount == 0
    slicer_host.answer("cannot be read", "Ok")
    ui.placeButton.click()
    click(slicer_host, place_of(labels, 12, 24, 41))
    ui.acceptButton.click()
    assert (voxels_of(labels) == planted).all() and not slicer_host.errors


def test_segments_deleted_by_the_user(slicer_host, window, labels):
    import slicer

    before = voxels_of(labels).copy()
    plant(slicer_host, window.nodules, labels, LUNG)
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Nodules"))
    plant(slicer_host, window.nodules, labels, (12, 24, 41))
    assert slicer.util.getNode("Nodules").GetSegmentation().GetNumberOfSegments() == 1
    for _ in range(2):
        window.nodules.ui.undoButton.click()
    assert (voxels_of(labels) == before).all() and not slicer_host.errors


def test_another_label_map_while_editing(slicer_host, window, labels):
    import slicer

    section, ui = window.nodules, window.nodules.ui
    plant(slicer_host, section, labels, LUNG)
    planted = voxels_of(labels).copy()
    other = add_labels("Other")
    ui.editButton.click()
    window._parameterNode.labelMap = other
    assert section._edited is None and section.candidate.placing.node is None
    window._parameterNode.labelMap = labels
    assert (section.kept.of(labels).labels == planted).all()
    ui.editButton.click()
    slicer.mrmlScene.RemoveNode(labels)
    slicer_host.process_events()
    assert section._edited is None and section.candidate.placing.node is None and ui.nodulesTable.rowCount == 0
    window._parameterNode.labelMap = other
    assert (section.kept.of(other).labels == voxels_of(other)).all() and not slicer_host.errors
