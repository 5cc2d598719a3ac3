"""The host's scene is MRML for real: display nodes, subject hierarchy, files, slice pictures, clicks."""

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("slicer_host")


def add_volume(name="head", shape=(20, 30, 40), spacing=(1.0, 1.5, 2.0)):
    import slicer

    voxels = (np.indices(shape).sum(0) * 10).astype(np.int16)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = (-10, 5, 20)
    return slicer.util.addVolumeFromArray(voxels, matrix, name)


def test_a_new_volume_has_a_display_and_a_place_in_the_tree():
    import slicer

    node = add_volume()
    assert node.GetDisplayNode().GetColorNode().GetName() == "Grey"
    tree = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = tree.GetItemByDataNode(node)
    assert item and tree.GetItemParent(item) == tree.GetSceneItemID() and tree.GetItemName(item) == "head"
    slicer.mrmlScene.RemoveNode(node)
    assert not tree.GetItemDataNode(item)


def test_colours_and_logics():
    import slicer

    assert slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeGrey") is not None
    assert slicer.modules.volumes.logic().IsA("vtkSlicerVolumesLogic")
    assert slicer.util.getModuleLogic("Volumes") is slicer.modules.volumes.logic()
    with pytest.raises(AttributeError):
        _ = slicer.modules.volumes.nothing
    with pytest.raises(AttributeError, match="is not in Slicer"):
        _ = slicer.app.nothing
    with pytest.raises(AttributeError, match="does not imitate"):
        _ = slicer.app.pythonConsole
    with pytest.raises(AttributeError):
        slicer.app.nothing = 1


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_volumes_from_and_to_files(tmp_path, ending):
    import slicer

    node = add_volume()
    path = tmp_path / f"scan.{ending}"
    assert slicer.util.saveNode(node, str(path)) is True
    again = slicer.util.loadVolume(str(path))
    assert again.GetName() == "scan" and (slicer.util.arrayFromVolume(again) == slicer.util.arrayFromVolume(node)).all()
    assert np.allclose(again.GetSpacing(), node.GetSpacing()) and np.allclose(again.GetOrigin(), node.GetOrigin())
    red = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
    assert red.GetBackgroundVolumeID() == again.GetID()


def test_a_file_that_is_no_volume(tmp_path, slicer_host):
    import slicer

    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"))
    assert "nothing.nrrd" in slicer_host.vtk_log.read_text()


@pytest.mark.parametrize("ending", ["mrb", "mrml"])
def test_scene_saved_and_loaded(tmp_path, slicer_host, ending):
    import slicer

    node = add_volume()
    node.SetAttribute("kept", "yes")
    expected = slicer.util.arrayFromVolume(node).copy()
    path = tmp_path / f"scene.{ending}"
    if ending == "mrml":
        slicer.util.saveNode(node, str(tmp_path / "head.nrrd"))
    assert slicer.util.saveScene(str(path)) is True
    slicer_host.close_scene()
    assert not slicer.util.getNodes("head")
    slicer.util.loadScene(str(path))
    again = slicer.util.getNode("head")
    assert again.GetAttribute("kept") == "yes" and (slicer.util.arrayFromVolume(again) == expected).all()
    slicer.util.loadScene(str(path))  # a second time into a scene that has such nodes
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 2
    assert len(slicer.util.getNodesByClass("vtkMRMLSubjectHierarchyNode")) == 1 and not slicer_host.errors


def test_closing_the_scene_tells_observers(slicer_host):
    import slicer

    got = []
    tags = [
        slicer.mrmlScene.AddObserver(event, lambda caller, name: got.append(name))
        for event in (slicer.mrmlScene.StartCloseEvent, slicer.mrmlScene.EndCloseEvent)
    ]
    slicer_host.close_scene()
    for tag in tags:
        slicer.mrmlScene.RemoveObserver(tag)
    assert len(got) == 2
    assert slicer.app.layoutManager().sliceViewNames() == ("Red", "Yellow", "Green")


def pixels(view):
    from host.pythonqt import unwrap

    image = unwrap(view).grab().toImage()
    image = image.convertToFormat(image.Format.Format_Grayscale8)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width()].copy()  # what pads a row to four bytes is anything


def test_slice_picture_shows_the_volume(slicer_host):
    import slicer

    node = add_volume()
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    slicer_host.process_events()
    picture = pixels(view)
    assert picture.max() > 100
    slicer.util.setSliceViewerLayers(background=None)
    slicer_host.process_events()
    assert pixels(view).max() == 0


def test_a_place_in_the_view_is_a_place_in_the_world():
    import slicer

    node = add_volume()
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    widget = slicer.app.layoutManager().sliceWidget("Red")
    widget.sliceController().setSliceOffsetValue(30.0)
    view = widget.sliceView()
    centre = view.convertXYZToRAS((view.width / 2, view.height / 2, 0))
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    assert np.allclose(centre[:2], (bounds[[0, 2]] + bounds[[1, 3]]) / 2, atol=1.0) and np.isclose(centre[2], 30.0)
    assert widget.mrmlSliceNode().GetOrientation() == "Axial"


def test_a_click_places_a_control_point():
    import slicer

    node = add_volume()
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    logic = slicer.modules.markups.logic()
    logic.SetActiveList(points)
    logic.StartPlaceMode(0)
    widget = slicer.app.layoutManager().sliceWidget("Red")
    slicer.util.clickAndDrag(widget, start=(100, 100), end=(100, 100), steps=2)
    assert points.GetNumberOfControlPoints() == 1
    expected = widget.sliceView().convertXYZToRAS((100, 100, 0))
    assert np.allclose(points.GetNthControlPointPositionWorld(0), expected)
    slicer.util.clickAndDrag(widget, start=(50, 50), end=(50, 50), steps=2)
    assert points.GetNumberOfControlPoints() == 1


def test_screenshot(slicer_host, tmp_path):
    from matplotlib.image import imread

    path = slicer_host.screenshot(tmp_path / "sub" / "window.png")
    picture = imread(path)
    assert picture.shape[:2] == (800, 1280) and picture.std() > 0.1
