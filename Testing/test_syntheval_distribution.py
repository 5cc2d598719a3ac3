"""Sets of images in SynthEval: a real job compares them, its points lead to the images; kept with the scene."""

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from syntheval_scene import finish, open_window, select_point


def write_images(folder, count, seed, noise=50.0):
    """Balls of soft tissue in lung, (z, y, x) = 12 × 16 × 16, in HU."""
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 16, 16)), indexing="ij")
    for number in range(count):
        inside = z**2 + y**2 + x**2 < random.uniform(0.2, 0.6)
        hu = np.where(inside, 40, -800) + random.normal(0, noise, inside.shape)
        image = sitk.GetImageFromArray(hu.astype(np.int16))
        image.SetSpacing((2.0, 2.0, 3.0))
        sitk.WriteImage(image, str(folder / "images" / f"{folder.name} {number}.nrrd"))
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    above = tmp_path_factory.mktemp("Mengen ä")
    return write_images(above / "echt", 7, 0), write_images(above / "gemacht", 6, 1)


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    widget.ui.distributionButton.collapsed = False
    yield widget
    widget.distribution.close()


def test_sets_are_compared_and_their_points_lead_to_images(slicer_host, window, sets, tmp_path):
    import slicer

    from synthct.scene.evaluation.tables import rows_of

    ui, node = window.distribution.ui, window.parameters()
    assert not ui.compareButton.enabled and not ui.modelPathEdit.visible and not ui.weightsPathEdit.visible
    ui.realPathEdit.currentPath, ui.syntheticPathEdit.currentPath = (str(each) for each in sets)
    assert not ui.compareButton.enabled and "results" in ui.compareButton.toolTip
    out = tmp_path / "out"
    ui.outputPathEdit.currentPath = str(out)
    ui.compareButton.click()
    assert ui.compareButton.text == "Cancel" and ui.progressBar.visible
    finish(slicer_host, window.distribution)

    found = json.loads((out / "distribution.json").read_text(encoding="utf-8"))
    rows = {row["score"]: row for row in rows_of(node.distributionScores)}
    assert float(rows["fid"]["value"]) == pytest.approx(found["scores"]["fid"])
    halves = found["at_equal_numbers"]["real_against_real"]["fid"]
    assert float(rows["fid"]["real against real"]) == pytest.approx(halves["mean"])
    assert "Heusel" in ui.scoresTable.item(0, 0).toolTip() and "±" in ui.scoresTable.item(0, 2).text()
    assert "7 real and 6 synthetic images" in ui.statusLabel.text
    assert "biased upwards" in ui.wordsLabel.text and found["embedding"].split(",")[0] in ui.wordsLabel.text

    points = rows_of(node.distributionPoints)
    assert [row["set"] for row in points] == ["real"] * 7 + ["synthetic"] * 6 and ui.imagesTable.rowCount == 13
    ui.showPlotButton.click()
    chart = node.distributionChart
    assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == chart.GetID()
    series = {chart.GetNthPlotSeriesNode(n).GetName(): chart.GetNthPlotSeriesNode(n) for n in range(2)}
    assert series["real"].GetMarkerStyle() == slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle
    assert series["synthetic"].GetMarkerStyle() == slicer.vtkMRMLPlotSeriesNode.MarkerStyleCross
    assert series["real"].GetColor() != series["synthetic"].GetColor()

    select_point(slicer_host, chart, 8)
    volume = node.distributionImage
    assert volume.GetName() == "gemacht 1 (synthetic)"
    shown = sitk.GetArrayFromImage(sitk.ReadImage(str(sets[1] / "images/gemacht 1.nrrd")))
    assert (slicer.util.arrayFromVolume(volume) == shown).all()
    view = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert view.GetBackgroundVolumeID() == volume.GetID()
    window.distribution._on_image(0)
    assert node.distributionImage is volume and volume.GetName() == "echt 0 (real)"

    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    assert not ui.resultsTabs.visible and not ui.wordsLabel.visible
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and ui.resultsTabs.visible)
    node = window.parameters()
    assert ui.imagesTable.rowCount == 13 and "biased upwards" in ui.wordsLabel.text
    assert node.distributionChart.GetNumberOfPlotSeriesNodes() == 2
    table = node.distributionPoints.GetTable()
    assert [table.GetColumnByName("synthetic").GetValue(row) for row in (6, 7)] == pytest.approx(
        [math.nan, float(points[7]["y"])], nan_ok=True, rel=1e-4
    )
    select_point(slicer_host, node.distributionChart, 2)
    assert node.distributionImage.GetName() == "echt 2 (real)"
    assert not slicer_host.errors

    window.distribution._on_image(12)
    before = node.distributionScores
    slicer_host.answer("holds a comparison", "Cancel")
    ui.compareButton.click()
    assert window.distribution.job is None and node.distributionScores is before
    slicer_host.answer("holds a comparison", "Ok")
    ui.compareButton.click()
    finish(slicer_host, window.distribution)
    assert node.distributionScores is before and ui.imagesTable.rowCount == 13
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")) == 2
    assert not slicer_host.errors


def test_what_looks_at_the_images_is_chosen(slicer_host, window, sets, tmp_path):
    ui, node = window.distribution.ui, window.parameters()
    ui.realPathEdit.currentPath, ui.syntheticPathEdit.currentPath = (str(each) for each in sets)
    ui.outputPathEdit.currentPath = str(tmp_path / "out")
    ui.kindComboBox.setCurrentIndex(1)
    window.distribution._on_kind()
    assert ui.modelPathEdit.visible and not ui.networkComboBox.visible and not ui.compareButton.enabled
    ui.kindComboBox.setCurrentIndex(2)
    window.distribution._on_kind()
    assert ui.weightsPathEdit.visible and ui.networkComboBox.visible and node.distributionKind == "weights"
    (tmp_path / "no weights.safetensors").write_bytes(b"nothing")
    ui.weightsPathEdit.currentPath = str(tmp_path / "no weights.safetensors")
    ui.compareButton.click()
    finish(slicer_host, window.distribution)
    assert "no weights.safetensors" in ui.statusLabel.text and node.distributionScores is None


def test_cancelled_gone_and_the_same_folder_twice(slicer_host, window, sets, tmp_path):
    ui, node = window.distribution.ui, window.parameters()
    ui.realPathEdit.currentPath = ui.syntheticPathEdit.currentPath = str(sets[0])
    ui.outputPathEdit.currentPath = str(tmp_path / "out")
    ui.compareButton.click()
    finish(slicer_host, window.distribution)
    assert "share" in ui.statusLabel.text and node.distributionScores is None
    ui.syntheticPathEdit.currentPath = str(sets[1])
    ui.compareButton.click()
    job = window.distribution.job
    ui.compareButton.click()
    assert not ui.compareButton.enabled
    finish(slicer_host, window.distribution)
    assert "Cancelled" in ui.statusLabel.text and ui.compareButton.text == "Compare the sets"
    assert not job.alive() and node.distributionScores is None


def test_an_image_that_is_gone_is_named(slicer_host, window, tmp_path):
    from synthct.scene.evaluation.embedding_chart import draw_points, take_points

    node = window.parameters()
    (tmp_path / "places.csv").write_text(
        f"set,source,case,image,series,x,y\nreal,Süd,a,{tmp_path}/weg.nrrd,,0,1\nreal,Nord,b,{tmp_path}/b,,1,0\n",
        encoding="utf-8",
    )
    node.distributionPoints = take_points(tmp_path / "places.csv", None, "points")
    chart = draw_points(None, node.distributionPoints, "points")
    names = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["real: Nord", "real: Süd"]
    window.distribution._on_image(0)
    assert "weg.nrrd" in window.distribution.ui.statusLabel.text and node.distributionImage is None
