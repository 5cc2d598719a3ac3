"""Nodules planted by clicks in a slice view of LabelToCT: refused, moved, accepted, undone, edited, removed."""

import numpy as np
import pytest
from labeltoct_scene import NODULE, OBLIQUE, add_labels, click, drag, make_library, open_window, place_of

LUNG, MUSCLE = (12, 24, 18), (12, 24, 30)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return make_library(tmp_path_factory.mktemp("bibliothek ü") / "nodules")


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


def segment(labels, name):
    """A segment's voxels on the label map's grid, bool."""
    import slicer

    from synthct.scene.nodules.segments import segmentation_of

    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_of(labels), name, labels) > 0


def plant(slicer_host, section, labels, voxel):
    section.ui.placeButton.click()
    click(slicer_host, place_of(labels, *voxel))
    assert section.ui.acceptButton.enabled, section.ui.reasonLabel.text
    section.ui.acceptButton.click()


def test_the_gallery_shows_the_library(slicer_host, window, library):
    ui = window.nodules.ui
    assert ui.galleryWidget.count == 2 and "ball-12" in ui.galleryWidget.item(0).text()
    assert not ui.galleryWidget.item(0).icon().isNull()
    assert not ui.placeButton.enabled and "label map" in ui.placeButton.toolTip
    ui.galleryWidget.setCurrentRow(1)
    assert window._parameterNode.noduleTemplate == "ball-20" and "mm³" in ui.templateLabel.text
    assert 19 < ui.diameterSlider.value < 21
    assert not slicer_host.errors


def test_a_click_plants_a_nodule(slicer_host, window, labels):
    import slicer

    section, ui, before = window.nodules, window.nodules.ui, voxels_of(labels).copy()
    heard = []
    section._accepted = lambda node, bounds: heard.append((node, bounds))
    ui.placeButton.click()
    assert not ui.acceptButton.enabled and "Click" in ui.reasonLabel.text
    click(slicer_host, place_of(labels, *LUNG))
    assert "It fits: 100%" in ui.reasonLabel.text and (voxels_of(labels) == before).all()
    outline = section.candidate.preview.node.GetSegmentation().GetNthSegment(0)
    assert outline.GetColor()[1] > outline.GetColor()[0]
    ui.acceptButton.click()
    after = voxels_of(labels)
    changed = np.argwhere(after != before)
    assert (after[tuple(changed.T)] == NODULE).all() and np.abs(changed - LUNG).max() <= 2
    assert abs(len(changed) * 64 - 904.8) < 64  # a ball of 12 mm, to a voxel
    assert (segment(labels, "Nodule_1") == (after == NODULE)).all()
    assert ui.nodulesTable.rowCount == 1 and ui.nodulesTable.item(0, 1).text() == "ball-12"
    ((node, bounds),) = heard
    assert node is labels and [list(pair) for pair in bounds] == [
        [low, high + 1] for low, high in zip(changed.min(axis=0)[::-1], changed.max(axis=0)[::-1], strict=True)
    ]
    assert section.candidate.placing.node is None and section.candidate.preview.node is None
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLMarkupsNode") if n.GetName() == "Nodule to plant"]
    assert not slicer_host.errors


def test_outside_the_lung_it_is_red_with_the_reason(slicer_host, window, labels):
    section, ui, before = window.nodules, window.nodules.ui, voxels_of(labels).copy()
    ui.placeButton.click()
    click(slicer_host, place_of(labels, *MUSCLE))
    assert "muscle and soft tissue" in ui.reasonLabel.text and "80%" in ui.reasonLabel.text
    assert not ui.acceptButton.enabled
    outline = section.candidate.preview.node.GetSegmentation().GetNthSegment(0)
    assert outline.GetColor()[0] > outline.GetColor()[1]
    assert section.candidate.placing.node.GetNthControlPointLabel(0) == "0% of it lies on other tissue"
    section.candidate.placing.move_to(place_of(labels, 12, 24, 58))
    slicer_host.process_events()
    assert "outside the body" in ui.reasonLabel.text
    section.candidate.placing.move_to(place_of(labels, 12, 24, 400))
    slicer_host.process_events()
    assert "beyond the volume" in ui.reasonLabel.text
    ui.nearestButton.click()
    slicer_host.process_events()
    assert "It fits" in ui.reasonLabel.text and ui.acceptButton.enabled and (voxels_of(labels) == before).all()
    ui.discardButton.click()
    assert section.candidate.placing.node is None and not ui.acceptButton.enabled and not slicer_host.errors


def test_another_nodule_in_the_way(slicer_host, window, labels):
    ui = window.nodules.ui
    plant(slicer_host, window.nodules, labels, LUNG)
    ui.placeButton.click()
    click(slicer_host, place_of(labels, LUNG[0], LUNG[1], LUNG[2] + 2))
    assert "overlap or touch another nodule" in ui.reasonLabel.text and not ui.acceptButton.enabled
    assert not slicer_host.errors


def test_the_point_is_dragged(slicer_host, window, labels):
    """Slicer's markups move the control point; what follows is the outline."""
    ui, place = window.nodules.ui, LUNG
    ui.placeButton.click()
    click(slicer_host, place_of(labels, *LUNG))
    for voxel, fits in (((12, 24, 20), True), (MUSCLE, False), ((12, 22, 18), True)):
        drag(slicer_host, place_of(labels, *place), place_of(labels, *voxel))
        assert ui.acceptButton.enabled is fits
        place = voxel
    ui.acceptButton.click()
    centre = np.argwhere(voxels_of(labels) == NODULE).mean(axis=0)
    assert np.abs(centre - (12, 22, 18)).max() < 0.3 and not slicer_host.errors


def test_before_the_click_the_outline_follows_the_mouse(slicer_host, window, labels):
    """In place mode Slicer moves a preview of the point, which is not placed yet."""
    import slicer

    section, ui = window.nodules, window.nodules.ui
    ui.placeButton.click()
    node, preview = section.candidate.placing.node, slicer.vtkMRMLMarkupsNode.PositionPreview
    node.AddControlPointWorld(*place_of(labels, *MUSCLE))
    node.SetNthControlPointPosition(0, *place_of(labels, *MUSCLE), preview)
    slicer_host.process_events()
    assert "muscle" in ui.reasonLabel.text and not ui.nearestButton.enabled
    node.SetNthControlPointPosition(0, *place_of(labels, *LUNG), preview)
    slicer_host.process_events()
    assert "It fits" in ui.reasonLabel.text and not ui.acceptButton.enabled
    node.RemoveAllControlPoints()
    slicer_host.process_events()
    assert section.candidate.preview.node is None and "Click" in ui.reasonLabel.text and not slicer_host.errors


def test_size_and_rotation_follow_the_sliders(slicer_host, window, labels, tmp_path):
    from chests import on_grid

    from synthct.labels.library import add_templates
    from synthct.labels.templates import Template

    bar = np.zeros((7, 7, 31), np.uint8)
    bar[1:-1, 1:-1, 1:-1] = 1
    facts = {"voxels": 725, "volume_mm3": 725.0, "equivalent_diameter_mm": 11.14}
    add_templates(tmp_path / "bars", [Template("bar", on_grid(bar, (1, 1, 1), (-15, -3, -3)), facts)])
    section, ui = window.nodules, window.nodules.ui
    section.gallery.path = str(tmp_path / "bars")
    ui.placeButton.click()
    click(slicer_host, place_of(labels, *LUNG))
    shown = section.candidate.preview.node.GetSegmentation().GetNthSegment(0)
    along = lambda: np.array(shown.GetRepresentation("Binary labelmap").GetDimensions())  # noqa: E731
    assert along().argmax() == 0
    ui.superiorSlider.value = 90
    assert along().argmax() == 1
    ui.superiorSlider.value = 0
    ui.anteriorSlider.value = 90
    assert along().argmax() == 2
    ui.diameterSlider.value = 2 * 11.14
    ui.acceptButton.click()
    assert abs(np.count_nonzero(voxels_of(labels) == NODULE) * 64 - 8 * 725) < 64
    nodule = section.list.nodules[0]
    assert abs(nodule.pose.scale - 2) < 0.01 and nodule.pose.rotation == (0, 90, 0) and not slicer_host.errors


def test_undo_redo_and_delete_restore_what_was_there(slicer_host, window, labels):
    section, ui, before = window.nodules, window.nodules.ui, voxels_of(labels).copy()
    plant(slicer_host, section, labels, LUNG)
    one = voxels_of(labels).copy()
    ui.shareSpinBox.value = 70
    plant(slicer_host, section, labels, (12, 24, 27))  # partly in the muscle
    two = voxels_of(labels).copy()
    assert set(np.unique(before[two != one])) == {0, 3}
    assert "Nodule 2" in ui.undoButton.toolTip
    ui.undoButton.click()
    assert (voxels_of(labels) == one).all() and ui.nodulesTable.rowCount == 1
    ui.redoButton.click()
    assert (voxels_of(labels) == two).all() and (segment(labels, "Nodule_2") == (two != one)).all()
    ui.nodulesTable.selectRow(0)
    ui.deleteButton.click()
    assert [nodule.name for nodule in section.list.nodules] == ["Nodule 2"]
    ui.undoButton.click()
    assert [nodule.name for nodule in section.list.nodules] == ["Nodule 1", "Nodule 2"]
    assert (voxels_of(labels) == two).all()
    for _ in range(2):
        ui.undoButton.click()
    assert (voxels_of(labels) == before).all() and not ui.undoButton.enabled and ui.nodulesTable.rowCount == 0
    assert section.kept.of(labels).labels.tobytes() == before.tobytes()  # the ground knows all of it
    assert not slicer_host.errors


def test_a_nodule_is_edited(slicer_host, window, labels):
    section, ui = window.nodules, window.nodules.ui
    plant(slicer_host, section, labels, LUNG)
    planted = voxels_of(labels).copy()
    ui.nodulesTable.selectRow(0)
    ui.editButton.click()
    slicer_host.process_events()
    assert "Nodule 1" in ui.reasonLabel.text and "It fits" in ui.reasonLabel.text  # it is not in its own way
    section.candidate.placing.move_to(place_of(labels, 12, 24, 19))
    slicer_host.process_events()
    assert ui.acceptButton.enabled and (voxels_of(labels) == planted).all()
    ui.discardButton.click()
    assert (voxels_of(labels) == planted).all()
    assert (section.kept.of(labels).labels == planted).all()
    ui.editButton.click()
    section.candidate.placing.move_to(place_of(labels, 12, 24, 20))
    slicer_host.process_events()
    ui.acceptButton.click()
    moved = voxels_of(labels)
    assert ((moved == NODULE) == np.roll(planted == NODULE, 2, axis=2)).all() and ui.nodulesTable.rowCount == 1
    assert (
        section.list.nodules[0].name == "Nodule 1"
        and (segment(labels, section.list.nodules[0].id) == (moved == 5)).all()
    )
    ui.undoButton.click()
    assert (voxels_of(labels) == planted).all() and not slicer_host.errors


def test_random_nodules_come_from_the_seed(slicer_host, window, labels):
    section, ui, before = window.nodules, window.nodules.ui, voxels_of(labels).copy()
    ui.countSpinBox.value = 3
    ui.seedSpinBox.value = 7
    ui.randomButton.click()
    first = voxels_of(labels).copy()
    assert ui.nodulesTable.rowCount == 3 and np.count_nonzero(first != before) > 30
    parts = [segment(labels, nodule.id) for nodule in section.list.nodules]
    assert (np.sum(parts, axis=0) == (first == NODULE)).all()
    ui.undoButton.click()
    assert (voxels_of(labels) == before).all()
    ui.randomButton.click()
    assert (voxels_of(labels) == first).all() and not slicer_host.errors
    ui.undoButton.click()
    for count in (1, 2):  # pressed again, the seed goes on
        ui.countSpinBox.value = count
        ui.randomButton.click()
    assert (voxels_of(labels) == first).all() and not slicer_host.errors


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (3.0, 4.0, 5.0)])
def test_oblique_grid_under_a_transform(slicer_host, window, spacing):
    import slicer

    labels = add_labels("Oblique", OBLIQUE, spacing)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = (20, -30, 15)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    labels.SetAndObserveTransformNodeID(transform.GetID())
    window._parameterNode.labelMap = labels
    section = window.nodules
    plant(slicer_host, section, labels, LUNG)
    nodule = np.argwhere(voxels_of(labels) == NODULE)
    assert np.abs(nodule.mean(axis=0) - LUNG).max() < 0.1  # a click is where the voxel is seen
    voxel = float(np.prod(spacing))
    assert abs(len(nodule) * voxel - 904.8) < voxel + 4
    assert (segment(labels, "Nodule_1") == (voxels_of(labels) == NODULE)).all()
    assert not slicer_host.errors


def test_a_non_linear_transform_is_refused(slicer_host, window, labels):
    import slicer
    import vtk

    grid = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    moved = vtk.vtkPoints()
    for place in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (30, 30, 30)):
        points.InsertNextPoint(place)
        moved.InsertNextPoint([value * 1.1 + (value == 30) * 9 for value in place])
    grid.SetBasisToR()
    grid.SetSourceLandmarks(points)
    grid.SetTargetLandmarks(moved)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Bent")
    transform.SetAndObserveTransformToParent(grid)
    labels.SetAndObserveTransformNodeID(transform.GetID())
    slicer_host.answer("non-linear transform Bent", "Ok")
    window.nodules.ui.placeButton.click()
    assert window.nodules.candidate.placing.node is None
    assert "Harden" in window.nodules.ui.nodulesStatusLabel.text and not slicer_host.errors
