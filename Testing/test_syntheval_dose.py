"""Two doses in SynthEval: a real job, gamma, histograms, difference map; kept with the scene; bad inputs."""

import numpy as np
import pytest
from syntheval_scene import finish, image_of, open_window
from test_evaluation_dose import blob, rtdose, structure_set


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    widget.ui.doseButton.collapsed = False
    yield widget
    widget.dose.close()


def add_doses():
    """A dose of 50 Gy at most, one that is 4 % higher in a target and equal elsewhere, in cGy; and two structures."""
    import slicer

    from synthct.scene.nodes import node_from_image

    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (10, 24, 24)), indexing="ij")
    dose = (5000 * np.exp(-2 * (x**2 + y**2 + z**2))).astype(np.float32)
    target = x**2 + y**2 + z**2 < 0.15
    changed = np.where(target, 1.04 * dose, dose).astype(np.float32)
    nodes = [node_from_image(image_of(array), name) for array, name in ((dose, "Plan CT"), (changed, "Plan sCT"))]
    labels = np.zeros(dose.shape, np.uint8)
    labels[target] = 1
    labels[:, :4] = 2
    drawn = node_from_image(image_of(labels), "drawn", label=True)
    structures = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "RTSTRUCT")
    structures.SetReferenceImageGeometryParameterFromVolumeNode(nodes[0])
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(drawn, structures)
    for number, name in enumerate(("PTV", "skin")):
        structures.GetSegmentation().GetNthSegment(number).SetName(name)
    slicer.mrmlScene.RemoveNode(drawn)
    return (*nodes, structures, dose / 100, changed / 100, target)


def test_two_doses_of_the_scene(slicer_host, window, tmp_path):
    import slicer

    from synthct.scene.evaluation.tables import rows_of

    reference, evaluated, structures, first, second, target = add_doses()
    ui, node = window.dose.ui, window.parameters()
    assert not ui.compareButton.enabled and ui.referencePathEdit.visible
    node.doseReference, node.doseEvaluated, node.doseStructures = reference, evaluated, structures
    assert not ui.referencePathEdit.visible
    ui.unitComboBox.setCurrentText("cGy")
    ui.criterionComboBox.setCurrentText("3 %/3 mm")
    ui.compareButton.click()
    finish(slicer_host, window.dose)

    gamma = {row["criterion"]: float(row["passing, %"]) for row in rows_of(node.doseGamma)}
    assert len(gamma) == 3 and min(gamma.values()) < max(gamma.values()) <= 100
    difference = slicer.util.arrayFromVolume(node.doseDifference)
    assert np.allclose(difference, second - first, atol=1e-4)
    rows = {row["structure"]: row for row in rows_of(node.doseMetrics)}
    assert float(rows["PTV"]["mean_gy difference"]) == pytest.approx(0.04 * first[target].mean(), rel=1e-3)
    assert float(rows["skin"]["d2_gy difference"]) == pytest.approx(0, abs=1e-6)
    assert f"{np.abs(second - first).max():+.3g} Gy" in ui.statusLabel.text
    assert ui.gammaTable.rowCount == 3 and ui.structuresTable.rowCount == 2

    ui.showCurvesButton.click()
    chart = node.doseChart
    assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == chart.GetID()
    assert [chart.GetNthPlotSeriesNode(n).GetName() for n in range(4)] == [
        "PTV", "PTV, evaluated", "skin", "skin, evaluated",
    ]  # fmt: skip
    ui.showDifferenceButton.click()
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert view.GetForegroundVolumeID() == node.doseDifference.GetID()

    shown = slicer.util.arrayFromVolume(node.doseGammaMap)
    judged = first >= 0.1 * first.max()
    assert (shown[~judged] == -1).all() and (shown[judged] >= 0).all()
    assert 100 * (shown[judged] <= 1).mean() == pytest.approx(gamma["3%/3mm"])  # the map is of what was chosen
    display = node.doseGammaMap.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 2) and display.GetApplyThreshold()
    colours = display.GetColorNode()
    sides = [[0.0] * 4, [0.0] * 4]
    for number, colour in zip((127, 128), sides, strict=True):
        colours.GetColor(number, colour)
    assert colours.GetColorName(127) < "1" < colours.GetColorName(128)
    assert sides[0][1] > sides[0][0] and sides[1][0] > sides[1][2] + 0.5  # green passes, yellow fails
    ui.showGammaButton.click()
    assert view.GetForegroundVolumeID() == node.doseGammaMap.GetID()

    slicer.util.saveScene(str(tmp_path / "dose.mrb"))
    slicer_host.close_scene()
    assert not ui.resultsTabs.visible
    slicer.util.loadScene(str(tmp_path / "dose.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and ui.resultsTabs.visible)
    node = window.parameters()
    assert node.doseUnit == "cGy" and node.doseCriterion == "3 %/3 mm" and ui.structuresTable.rowCount == 2
    assert node.doseGammaMap.GetDisplayNode().GetColorNode().GetNumberOfColors() == 256
    assert not slicer_host.errors


def test_files_of_dicom(slicer_host, window, tmp_path):
    import slicer

    from synthct.scene.evaluation.tables import rows_of

    ui, node = window.dose.ui, window.parameters()
    (tmp_path / "Plan ä").mkdir()
    ui.referencePathEdit.currentPath = str(rtdose(tmp_path / "Plan ä/CT.dcm", blob()))
    ui.evaluatedPathEdit.currentPath = str(rtdose(tmp_path / "Plan ä/sCT.dcm", 1.02 * blob()))
    ui.structuresPathEdit.currentPath = str(structure_set(tmp_path / "Plan ä/RS.dcm"))
    ui.compareButton.click()
    finish(slicer_host, window.dose)
    target = rows_of(node.doseMetrics)[0]
    assert target["structure"] == "target"
    assert float(target["mean_gy difference"]) == pytest.approx(0.02 * blob()[4:9, 4:16, 4:12].mean(), rel=1e-4)
    difference = node.doseDifference
    assert slicer.util.arrayFromVolume(difference) == pytest.approx(0.02 * blob(), abs=1e-4)
    assert (difference.GetSpacing(), difference.GetOrigin()) == ((3.0, 2.0, 2.5), (20.0, 30.0, 100.0))
    assert difference.GetName() == "sCT dose difference" and node.doseChart.GetNumberOfPlotSeriesNodes() == 2
    ui.showGammaButton.click()
    ui.evaluatedPathEdit.currentPath = str(rtdose(tmp_path / "Plan ä/other.dcm", blob(), FrameOfReferenceUID="1.2.3"))
    ui.compareButton.click()
    finish(slicer_host, window.dose)
    assert "frames of reference" in ui.statusLabel.text and node.doseDifference is difference
    assert not [error for error in slicer_host.errors if "answer" not in error]


def test_what_cannot_be_compared_is_named(slicer_host, window, tmp_path):
    reference, evaluated, *_ = add_doses()
    ui, node = window.dose.ui, window.parameters()
    node.doseReference = node.doseEvaluated = reference
    ui.compareButton.click()
    assert "Both doses are Plan CT" in ui.statusLabel.text and window.dose.job is None
    import slicer

    slicer.util.updateVolumeFromArray(evaluated, slicer.util.arrayFromVolume(evaluated) - 1000)
    node.doseEvaluated = evaluated
    ui.compareButton.click()
    finish(slicer_host, window.dose)
    assert "Plan sCT" in ui.statusLabel.text and "negative" in ui.statusLabel.text and node.doseGamma is None
    (tmp_path / "no dose.dcm").write_bytes(b"nothing")
    node.doseEvaluated = None
    ui.evaluatedPathEdit.currentPath = str(tmp_path / "no dose.dcm")
    assert ui.compareButton.enabled
    ui.compareButton.click()
    finish(slicer_host, window.dose)
    assert "no dose.dcm" in ui.statusLabel.text and node.doseGamma is None
