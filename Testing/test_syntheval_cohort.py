"""A cohort in SynthEval: two folders make a list, a real job judges it, a click shows a case, Statistics takes it."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from syntheval_scene import chest_arrays, click_row, finish, image_of, open_window, select_point

CASES = ("Anna Ä", "Bert")
WORST = {"Anna Ä": 2, "Bert": 7}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """References, and synthetic CTs of two methods; the second one's are worst in a known slice."""
    above = tmp_path_factory.mktemp("Kohorte")
    for number, case in enumerate(CASES):
        for folder, noise in (("references", None), ("U-Net", 40.0), ("GAN", 80.0)):
            ct, synthetic = chest_arrays(seed=number, noise=noise or 0.0)
            if folder == "GAN":
                synthetic[WORST[case], 4:28, 4:32] += 400
            (above / folder).mkdir(exist_ok=True)
            sitk.WriteImage(image_of(ct if noise is None else synthetic), str(above / folder / f"{case}.nrrd"))
    sitk.WriteImage(image_of(ct), str(above / "references/only here.nrrd"))
    return above


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    widget.ui.cohortButton.collapsed = False
    yield widget
    widget.cohort.close()


def test_a_cohort_from_two_folders_to_compared_groups(slicer_host, window, folders, tmp_path):
    import slicer

    from synthct.scene.evaluation.tables import rows_of

    ui, section, node = window.cohort.ui, window.cohort, window.parameters()
    assert not ui.evaluateButton.enabled and "list" in ui.evaluateButton.toolTip and not ui.makeButton.enabled
    ui.outputPathEdit.currentPath = str(tmp_path / "out")
    ui.referencesPathEdit.currentPath = str(folders / "references")
    ui.makeBodyCheckBox.checked = False
    for group in ("U-Net", "GAN"):
        ui.syntheticsPathEdit.currentPath = str(folders / group)
        ui.groupEdit.text = group
        ui.makeButton.click()
        assert "2 pairs" in ui.statusLabel.text
    ui.makeButton.click()
    assert "already" in ui.statusLabel.text
    listed = json.loads((tmp_path / "out/pairs.json").read_text())
    assert [(entry["group"], entry["case"]) for entry in listed] == [(g, c) for g in ("U-Net", "GAN") for c in CASES]
    assert node.cohortList == str(tmp_path / "out/pairs.json")

    ui.evaluateButton.click()
    assert ui.evaluateButton.text == "Cancel" and ui.progressBar.visible
    finish(slicer_host, section, 180)
    rows = rows_of(node.cohortScores)
    with open(tmp_path / "out/scores.csv", newline="", encoding="utf-8") as file:
        assert [float(row["mae_hu"]) for row in rows] == [float(row["mae_hu"]) for row in csv.DictReader(file)]
    assert ui.casesTable.rowCount == 4 and ui.casesTable.item(3, 0).text() == "Bert"

    views = slicer.app.layoutManager()
    for row, case in ((2, "Anna Ä"), (3, "Bert")):
        click_row(slicer_host, None, ui.casesTable, row)
        offset = views.sliceWidget("Red").sliceLogic().GetSliceOffset()
        assert offset == pytest.approx(20 + 6 * WORST[case])
        assert node.caseSynthetic.GetName() == f"GAN {case} sCT"
        shown = slicer.util.arrayFromVolume(node.caseError)
        reference, synthetic = (slicer.util.arrayFromVolume(each) for each in (node.caseReference, node.caseSynthetic))
        assert np.allclose(shown, synthetic.astype(float) - reference)
    select_point(slicer_host, node.caseChart, 1)
    assert views.sliceWidget("Red").sliceLogic().GetSliceOffset() == pytest.approx(20 + 6 * 1)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 3  # the next case takes the place

    statistics = window.statistics.ui
    statistics.takeCohortButton.click()
    assert node.statisticsScores == str(tmp_path / "out/scores.csv")
    assert (node.statisticsGroup, node.statisticsUnit) == ("group", "case")
    statistics.baselineComboBox.setCurrentText("U-Net")
    window.statistics._on_columns()
    statistics.testButton.click()
    finish(slicer_host, window.statistics)
    compared = {row["score"]: row for row in rows_of(node.statisticsTests)}
    errors = {(row["group"], row["case"]): float(row["mae_hu"]) for row in rows}
    difference = np.mean([errors["GAN", case] - errors["U-Net", case] for case in CASES])
    assert float(compared["mae_hu"]["difference"]) == pytest.approx(difference)
    assert compared["mae_hu"]["group"] == "GAN" and statistics.testsTable.rowCount == len(compared)

    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    assert not ui.casesTable.visible
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and ui.casesTable.visible)
    click_row(slicer_host, None, ui.casesTable, 0)
    assert window.parameters().caseSynthetic.GetName() == "U-Net Anna Ä sCT"
    assert not [error for error in slicer_host.errors if "answer" not in error]
