"""One pair in SynthEval: a real job, its tables, charts and views, the scene saved and loaded."""

import numpy as np
import pytest
from syntheval_scene import add_pair, click_row, finish, open_window, select_point

from synthct.scene.evaluation.error_maps import ERROR_HU


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    yield widget
    widget.pair.close()


def evaluate(slicer_host, window):
    window.pair.ui.evaluateButton.click()
    finish(slicer_host, window.pair)


def score(window, name):
    from synthct.scene.evaluation.tables import rows_of

    return next(float(row["value"]) for row in rows_of(window.parameters().pairScores) if row["score"] == name)


def test_a_pair_is_judged_shown_saved_and_loaded(slicer_host, window, tmp_path):
    import slicer

    from synthct.scene.evaluation.tables import rows_of

    parts = add_pair(regions=True, line=True)
    ui, node = window.pair.ui, window.parameters()
    assert not ui.evaluateButton.enabled and not ui.resultsTabs.visible
    node.pairReference, node.pairSynthetic = parts["reference"], parts["synthetic"]
    node.pairRegions, node.pairLine = parts["regions"], parts["line"]
    node.pairBody = False
    assert ui.evaluateButton.enabled
    evaluate(slicer_host, window)

    reference, synthetic = (slicer.util.arrayFromVolume(parts[key]).astype(float) for key in ("reference", "synthetic"))
    error = synthetic - reference
    assert score(window, "mae_hu") == pytest.approx(np.abs(error).mean(), abs=1e-3)
    assert np.allclose(slicer.util.arrayFromVolume(node.pairError), error)
    display = node.pairError.GetDisplayNode()
    assert display.GetWindowLevelMin() == -ERROR_HU and display.GetWindowLevelMax() == ERROR_HU
    colours = [0.0] * 4
    display.GetColorNode().GetColor(127, colours)
    assert colours[3] == 0  # no error, no colour

    slices = rows_of(node.pairSlices)
    assert [float(row["mean absolute error, HU"]) for row in slices] == pytest.approx(np.abs(error).mean((1, 2)))
    names = [row["region"] for row in rows_of(node.pairRegionScores)]
    assert names == ["lungs", "spine & so on", "whole"]  # the last overlaps the others
    lungs = slicer.util.arrayFromVolume(parts["reference"]) == -800
    assert float(rows_of(node.pairRegionScores)[0]["mae_hu"]) == pytest.approx(np.abs(error[lungs]).mean())

    manager = slicer.app.layoutManager()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView and ui.compareButton.checked
    views = {name: manager.sliceWidget(name).mrmlSliceCompositeNode() for name in ("Red", "Green", "Yellow")}
    assert [views[name].GetBackgroundVolumeID() for name in views] == [
        parts[key].GetID() for key in ("reference", "synthetic", "reference")
    ]
    assert views["Yellow"].GetForegroundVolumeID() == node.pairError.GetID()
    assert all(view.GetLinkedControl() for view in views.values())

    click_row(slicer_host, ui.resultsTabs, ui.slicesTable, 2)
    click_row(slicer_host, ui.resultsTabs, ui.slicesTable, 3, page=2)
    for name in views:
        assert manager.sliceWidget(name).sliceLogic().GetSliceOffset() == pytest.approx(float(slices[3]["S"]))
    click_row(slicer_host, ui.resultsTabs, ui.regionsTable, 0, page=1)
    at = manager.sliceWidget("Red").sliceLogic().GetSliceOffset()
    plane = round((at - float(slices[0]["S"])) / 6)
    assert lungs[plane].sum() == lungs.sum((1, 2)).max()

    select_point(slicer_host, node.pairSliceChart, 6)
    assert manager.sliceWidget("Green").sliceLogic().GetSliceOffset() == pytest.approx(float(slices[6]["S"]))
    for place, name in enumerate(("pairSliceChart", "pairBoneChart", "pairLineChart")):
        ui.plotComboBox.setCurrentIndex(place)
        window.pair._on_plot()
        chart = getattr(node, name)
        assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == chart.GetID()
        assert chart.GetNumberOfPlotSeriesNodes() == (1 if "Bone" in name else 2)
    ui.plotComboBox.setCurrentIndex(3)
    window.pair._on_plot()
    assert views["Yellow"].GetBackgroundVolumeID() == node.pairHistogram.GetID()
    counted = 10 ** slicer.util.arrayFromVolume(node.pairHistogram).astype(float) - 1
    assert round(counted.sum()) == reference.size

    assert "Anna Ä sCT against Anna Ä CT" in ui.judgedLabel.text
    page = node.pairReport.GetText()
    assert parts["synthetic"].GetName() in page and str(slicer.app.temporaryPath) not in page
    slicer_host.answer("Save the report", str(tmp_path / "Bericht.html"))
    ui.saveReportButton.click()
    assert (tmp_path / "Bericht.html").read_text(encoding="utf-8") == page
    ui.compareButton.click()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView

    before = score(window, "mae_hu")
    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    assert not ui.resultsTabs.visible and window.parameters().pairScores is None
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and window.parameters().pairScores is not None)
    node = window.parameters()
    assert score(window, "mae_hu") == pytest.approx(before, rel=1e-4)
    assert ui.resultsTabs.visible and ui.scoresTable.rowCount > 10 and ui.regionsTable.rowCount == 3
    assert node.pairReport.GetText() == page
    assert node.pairError.GetDisplayNode().GetColorNode().GetColorName(127) == "+0.00"
    ui.compareButton.click()
    click_row(slicer_host, ui.resultsTabs, ui.slicesTable, 5, page=2)
    assert manager.sliceWidget("Green").sliceLogic().GetSliceOffset() == pytest.approx(float(slices[5]["S"]))
    assert not slicer_host.errors


def test_the_scene_is_closed_during_the_job(slicer_host, window):
    import psutil
    import slicer

    parts = add_pair()
    node = window.parameters()
    node.pairReference, node.pairSynthetic = parts["reference"], parts["synthetic"]
    window.pair.ui.evaluateButton.click()
    job = window.pair.job
    slicer_host.close_scene()
    slicer_host.wait_until(
        lambda: not psutil.pid_exists(job.pid) or psutil.Process(job.pid).status() == psutil.STATUS_ZOMBIE, 30
    )
    assert window.pair.job is None and window.pair.ui.evaluateButton.text == "Evaluate"
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert not list(job.folder.parent.glob("*.nrrd"))  # patients' images
    assert not slicer_host.errors
