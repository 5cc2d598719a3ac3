"""MRtoCT's way to the clinic: uncertainty, the check without a CT, bulk densities, depth; real window, real jobs."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair
from test_mrtoct_window import ROOT, node_names

CARD = {
    "name": "Tiny",
    "in_channels": 1,
    "out_channels": 1,
    "size": [32, 32],
    "input_scaling": {"name": "mr-percentile"},
    "target_scaling": {"name": "ct-window", "low": -1024, "high": 2000},
    "planes": ["axial"],
    "hu_range": [-1024, 2000],
    "statistics": {"bone_fraction": [0.0, 0.5], "air_fraction": [0.0, 0.5], "body_ml": [1, 1e6]},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a model with dropout and of one without."""
    import torch

    from synthct.networks.registry import build_network
    from synthct.synthesis.model_file import save_model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("Modelle ä")
    for name, dropout in (("with", 0.5), ("without", 0.0)):
        network = {"name": "unet", "depth": 2, "width": 4, "dropout": dropout}
        save_model(folder / name, build_network(network, 1, 1), {**CARD, "network": network})
    return folder


@pytest.fixture
def window(slicer_host):
    widget = slicer_host.open_module(ROOT / "MRtoCT/MRtoCT.py")
    widget.devices.close()
    widget.models.path = ""  # first: the window hands the model that it shows to every new scene
    widget.setParameterNode(None)
    widget.initializeParameterNode()
    yield widget
    widget.onSceneStartClose()
    slicer_host.wait_until(lambda: widget.translation is None, 60)
    widget.models.path = ""


@pytest.fixture
def mr():
    from synthct.scene.nodes import node_from_image

    return node_from_image(phantom_pair()[0], "MR")


def choose(window, node, model, check=False):
    window.ui.inputSelector.setCurrentNode(node)
    window.ui.outputSelector.setCurrentNode(None)
    window.ui.modelPathEdit.currentPath = str(model)
    window._parameterNode.checkResult = check


def apply_and_wait(slicer_host, window):
    window.ui.applyButton.click()
    slicer_host.wait_until(lambda: window.translation is None, 120)
    assert not slicer_host.errors


def red_view():
    import slicer

    view = slicer.app.applicationLogic().GetSliceLogicByLayoutName("Red").GetSliceCompositeNode()
    return view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()


def test_uncertainty_arrives_as_a_volume_of_its_own(slicer_host, window, models, mr):
    import slicer

    from synthct.scene.nodes import image_from_node
    from synthct.volumes.geometry import same_grid

    choose(window, mr, models / "with")
    window.ui.dropoutCheckBox.click()
    window.ui.flipsCheckBox.click()
    window.ui.samplesSpinBox.value = 4
    assert window.ui.samplesSpinBox.enabled and not window.ui.showUncertaintyCheckBox.enabled
    apply_and_wait(slicer_host, window)
    synthetic, deviation = slicer.util.getNode("MR sCT"), slicer.util.getNode("MR sCT SD")
    assert window.ui.uncertaintySelector.currentNode() is deviation
    assert same_grid(image_from_node(deviation), image_from_node(mr))
    sd = slicer.util.arrayFromVolume(deviation)
    assert sd.dtype == np.float32 and sd.min() >= 0 and 1 < np.percentile(sd, 99) < 2000
    display = deviation.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (200, 100, 0)
    assert display.GetColorNode().GetName() == "PET-Heat" != synthetic.GetDisplayNode().GetColorNode().GetName()
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(deviation)
    assert "HU" in legend.GetTitleText()
    assert deviation.GetVoxelValueUnits().GetCodeMeaning() == "Hounsfield unit"
    assert "Standard deviation in HU (dropout, flips)" in deviation.GetDescription()
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert tree.GetItemParent(tree.GetItemByDataNode(deviation)) == tree.GetItemParent(tree.GetItemByDataNode(mr))

    assert red_view() == (mr.GetID(), synthetic.GetID())  # not shown before it is asked for
    window.ui.showUncertaintyCheckBox.click()
    assert red_view() == (synthetic.GetID(), deviation.GetID())
    window.ui.showUncertaintyCheckBox.click()
    assert red_view() == (mr.GetID(), synthetic.GetID())

    names, worker = node_names(), window.logic.session.worker._process.pid
    before = sd.copy()
    slicer.util.arrayFromVolume(deviation)[:] = 0
    apply_and_wait(slicer_host, window)  # the warm worker again, into the same volumes
    assert node_names() == names and window.logic.session.worker._process.pid == worker
    assert (slicer.util.arrayFromVolume(deviation) == before).all()
    window.ui.dropoutCheckBox.click()
    window.ui.flipsCheckBox.click()
    apply_and_wait(slicer_host, window)
    assert window.ui.uncertaintySelector.currentNode() is None  # the old one does not belong to this result
    assert not window.ui.showUncertaintyCheckBox.enabled


def test_what_a_model_cannot_give_is_grey_and_says_why(slicer_host, window, models, mr, tmp_path):
    choose(window, mr, models / "with")
    window.ui.dropoutCheckBox.click()
    assert window.ui.dropoutCheckBox.enabled and "random" in window.ui.dropoutCheckBox.toolTip
    window.ui.modelPathEdit.currentPath = str(models / "without")
    assert not window.ui.dropoutCheckBox.enabled and "has no dropout" in window.ui.dropoutCheckBox.toolTip
    assert not window.ui.samplesSpinBox.enabled and window.ui.applyButton.enabled
    apply_and_wait(slicer_host, window)
    assert "MR sCT" in node_names() and "MR sCT SD" not in node_names()
    window.ui.uncertaintyPlanesCheckBox.click()
    assert not window.ui.applyButton.enabled and "two planes" in window.ui.applyButton.toolTip
    window.ui.coronalCheckBox.click()
    assert window.ui.applyButton.enabled
    window.ui.uncertaintyPlanesCheckBox.click()

    card = json.loads((models / "without/model.json").read_text())
    older = tmp_path / "older"
    older.mkdir()
    (older / "weights.safetensors").write_bytes((models / "without/weights.safetensors").read_bytes())
    (older / "model.json").write_text(json.dumps({key: value for key, value in card.items() if key != "dropout"}))
    window.ui.modelPathEdit.currentPath = str(older)
    assert window.ui.dropoutCheckBox.enabled  # its card does not say
    before = node_names()
    slicer_host.answer("has no dropout", "Ok")
    apply_and_wait(slicer_host, window)
    assert "has no dropout" in window.ui.statusLabel.text and node_names() == before


def test_a_volume_that_would_be_lost_is_refused(slicer_host, window, models, mr):
    choose(window, mr, models / "with")
    window.ui.flipsCheckBox.click()
    window.ui.uncertaintySelector.setCurrentNode(mr)
    slicer_host.answer("would replace MR", "Ok")
    window.ui.applyButton.click()
    assert window.translation is None and not slicer_host.errors


def test_every_result_is_checked_and_the_report_is_kept(slicer_host, window, models, mr, tmp_path):
    assert not window.ui.checkButton.enabled and not window.ui.reportButton.enabled
    choose(window, mr, models / "with", check=True)
    window.ui.flipsCheckBox.click()
    apply_and_wait(slicer_host, window)
    assert window.ui.checkButton.text == "Cancel check" and "being checked" in window.ui.checkLabel.text
    folder = window.check.job.folder.parent
    slicer_host.wait_until(lambda: window.check.job is None, 120)
    text = window.ui.checkLabel.text
    assert "Check without a CT" in text and "Good:" in text and "likeness" in text and "uncertainty" in text
    assert "not checked" in text and not list(folder.rglob("*.nrrd"))
    slicer_host.answer("Save the report", str(tmp_path / "prüfung"))
    window.ui.reportButton.click()
    page = (tmp_path / "prüfung.html").read_text(encoding="utf-8")
    assert "MR sCT SD" not in text and "MR sCT.nrrd" in page and "<img" in page
    window.ui.checkButton.click()
    window.ui.checkButton.click()
    assert "Cancelled" in window.ui.checkLabel.text and not window.ui.reportButton.enabled
    assert not slicer_host.errors


def test_a_check_needs_the_model_and_the_mr(slicer_host, window, models, mr):
    import slicer

    choose(window, mr, models / "with")
    apply_and_wait(slicer_host, window)
    assert window.check.job is None and window.ui.checkButton.enabled  # it was not asked for
    result = window.ui.outputSelector.currentNode()
    result.SetAttribute("SyntheticCT.Model", "Other")
    window.updateButtons()
    assert not window.ui.checkButton.enabled and "Choose the model that made it: Other" in window.ui.checkButton.toolTip
    result.SetAttribute("SyntheticCT.Model", "Tiny")
    slicer.mrmlScene.RemoveNode(mr)
    window.updateButtons()
    assert not window.ui.checkButton.enabled and "MR" in window.ui.checkButton.toolTip
    assert not slicer_host.errors


def segmentation(mr):
    """A body with a bone in it, drawn on an MR."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Tissues")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(mr)
    shape = slicer.util.arrayFromVolume(mr).shape
    for name, margin in (("Body", 3), ("bone", 6)):
        drawn = np.zeros(shape, np.uint8)
        drawn[2:-2, margin:-margin, margin:-margin] = 1
        segment = node.GetSegmentation().AddEmptySegment(name, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, segment, mr)
    return node


def test_bulk_densities_of_a_segmentation(slicer_host, window, mr, tmp_path):
    import slicer

    from synthct.scene.nodes import image_from_node
    from synthct.volumes.geometry import same_grid

    node = segmentation(mr)
    assert not window.ui.bulkButton.enabled
    window.ui.bulkLabelsSelector.setCurrentNode(node)
    before = node_names()
    window.ui.bulkButton.click()
    ct = slicer.util.getNode("Tissues bulk CT")
    assert sorted([*before, ct.GetName(), ct.GetDisplayNode().GetName()]) == node_names()
    assert same_grid(image_from_node(ct), image_from_node(mr))
    assert window.ui.bulkVolumeSelector.currentNode() is ct
    values = slicer.util.arrayFromVolume(ct)
    assert set(np.unique(values)) == {-1024, 0, 554} and values[5, 4, 10] == 0 and values[5, 10, 10] == 554
    assert ct.GetDisplayNode().GetWindow() == 350 and red_view()[0] == ct.GetID()
    assert "bulk" in window.ui.bulkTextLabel.text

    window.ui.bulkVolumeSelector.setCurrentNode(mr)
    slicer_host.answer("would replace MR", "Ok")
    window.ui.bulkButton.click()
    window.ui.bulkVolumeSelector.setCurrentNode(ct)
    node.GetSegmentation().GetNthSegment(1).SetName("implant")
    slicer_host.answer("2 (implant)", "Ok")
    window.ui.bulkButton.click()
    assert "implant" in window.ui.bulkTextLabel.text
    copy = tmp_path / "eigene.csv"
    slicer_host.answer("Copy of the table", str(copy))
    window.ui.bulkCopyButton.click()
    assert window._parameterNode.bulkTable == str(copy)
    copy.write_text(copy.read_text() + ",implant,2000,\n")
    window.ui.bulkButton.click()
    assert slicer.util.arrayFromVolume(ct).max() == 2000 and not slicer_host.errors


def test_bulk_densities_of_a_label_map(slicer_host, window, tmp_path):
    import slicer

    from synthct.scene.nodes import image_from_node, node_from_image

    array = np.zeros((4, 5, 6), np.uint8)
    array[1:3, 1:4, 1:4] = 7
    image = sitk.GetImageFromArray(array)
    image.SetOrigin((10, 20, 30))
    labels = node_from_image(image, "Organs", label=True)
    window.ui.bulkLabelsSelector.setCurrentNode(labels)
    slicer_host.answer("The label map holds 7,", "Ok")  # Slicer's general colour table names nothing
    window.ui.bulkButton.click()
    (tmp_path / "t.csv").write_text("label,name,hu\n7,,321\n")
    window.ui.bulkTableEdit.currentPath = str(tmp_path / "t.csv")
    window.ui.bulkButton.click()
    assert not slicer_host.errors
    ct = slicer.util.getNode("Organs bulk CT")
    assert set(np.unique(slicer.util.arrayFromVolume(ct))) == {-1024, 321}
    assert image_from_node(ct).GetOrigin() == (10, 20, 30)
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Own")
    own.SetTypeToUser()
    own.SetNumberOfColors(8)
    own.SetColor(7, "bone", 1, 1, 1, 1)
    labels.GetDisplayNode().SetAndObserveColorNodeID(own.GetID())
    for text in ("own.c", ""):  # neither is a table's name for the path edit: it keeps quiet
        window.ui.bulkTableEdit.currentPath = text
    assert window._parameterNode.bulkTable == ""
    window.ui.bulkButton.click()
    assert set(np.unique(slicer.util.arrayFromVolume(ct))) == {-1024, 554} and not slicer_host.errors


def test_depth_of_both_cts_is_plotted(slicer_host, window, mr):
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    from synthct.scene.nodes import node_from_image

    image = phantom_pair()[1]
    ct, synthetic = node_from_image(image, "CT"), node_from_image(image + 100, "CT made")
    assert not window.ui.depthButton.enabled
    window.ui.referenceSelector.setCurrentNode(ct)
    window.ui.outputSelector.setCurrentNode(synthetic)
    assert window.ui.depthButton.enabled
    window.ui.angleSpinBox.value = 90
    window.ui.depthButton.click()
    assert window.ui.depthButton.text == "Cancel"
    slicer_host.wait_until(lambda: window.depth.job is None, 120)
    assert not slicer_host.errors and "Gantry 90°" in window.ui.depthTextLabel.text
    assert "generic table" in window.ui.depthTextLabel.text and "mean +" in window.ui.depthTextLabel.text
    chart = window._parameterNode.depthChart
    lines = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [line.GetName() for line in lines] == ["CT", "CT made"] and "90°" in chart.GetTitle()
    table = lines[0].GetTableNode()
    depths = [vtk_to_numpy(table.GetTable().GetColumn(n)) for n in range(3)]
    assert len(depths[0]) > 10 and (np.diff(depths[0]) > 0).all() and depths[2][-1] > depths[1][-1] > 0
    assert slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode().GetPlotChartNode() is chart
    names = node_names()
    window.ui.angleSpinBox.value = 0
    window.ui.depthButton.click()
    slicer_host.wait_until(lambda: window.depth.job is None, 120)
    assert node_names() == names and "0°" in chart.GetTitle()
    window.ui.depthButton.click()
    window.ui.depthButton.click()
    assert window.depth.job is None and not slicer_host.errors


def test_choices_survive_the_scene_and_its_end_ends_the_jobs(slicer_host, window, models, mr):
    import slicer

    choose(window, mr, models / "with", check=True)
    window.ui.flipsCheckBox.click()
    window.ui.samplesSpinBox.value = 7
    window.ui.angleSpinBox.value = 45
    window.ui.bulkTableEdit.currentPath = "own.csv"
    apply_and_wait(slicer_host, window)
    job = window.check.job
    scene = slicer.mrmlScene
    scene.SetSaveToXMLString(1)
    scene.Commit()
    saved = scene.GetSceneXMLString()
    scene.SetSaveToXMLString(0)
    slicer_host.close_scene()
    slicer_host.wait_until(lambda: not job.alive(), 30)
    assert window.check.job is None and window.ui.checkLabel.text == ""
    assert window.ui.flipsCheckBox.checked is False and window.ui.bulkTableEdit.currentPath == ""
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(saved)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    slicer_host.wait_until(lambda: window._parameterNode is not None, 10)
    ui = window.ui
    assert ui.flipsCheckBox.checked and ui.samplesSpinBox.value == 7 and ui.angleSpinBox.value == 45
    assert ui.bulkTableEdit.currentPath == "own.csv" and ui.showUncertaintyCheckBox.enabled
    assert ui.uncertaintySelector.currentNode().GetName() == "MR sCT SD"
    assert ui.outputSelector.currentNode().GetName() == "MR sCT" and ui.inputSelector.currentNode().GetName() == "MR"
    display = ui.uncertaintySelector.currentNode().GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (200, 100)
    assert not slicer_host.errors
