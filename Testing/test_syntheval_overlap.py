"""Segmentations in SynthEval: masks scored by a real job, a click shows both and where they differ; bad input."""

import numpy as np
import pytest
import SimpleITK as sitk
from syntheval_scene import click_row, finish, image_of, open_window

SHAPE = (8, 20, 20)


def mask(low, high):
    """A cube of ones, (z, y, x)."""
    array = np.zeros(SHAPE, np.uint8)
    array[2:6, low:high, low:high] = 1
    return array


@pytest.fixture
def folders(tmp_path):
    """Masks of three patients: one found in part and with a slice too much, one missed, one without a lesion."""
    more = mask(6, 10)
    more[6, 6:14, 6:14] = 1
    pairs = {"Anna Ä": (mask(6, 14), more), "Bert": (mask(4, 8), mask(0, 0)), "Carl": (mask(0, 0), mask(0, 0))}
    for name, arrays in pairs.items():
        for folder, array in zip(("true", "found"), arrays, strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            sitk.WriteImage(image_of(array), str(tmp_path / folder / f"{name}.nii.gz"))
    return tmp_path


@pytest.fixture
def window(slicer_host, folders):
    widget = open_window(slicer_host)
    widget.ui.overlapButton.collapsed = False
    ui = widget.overlap.ui
    assert not ui.scoreButton.enabled and not ui.resultsTabs.visible
    ui.referencePathEdit.currentPath, ui.predictedPathEdit.currentPath = (
        str(folders / name) for name in ("true", "found")
    )
    yield widget
    widget.overlap.close()


def test_masks_are_scored_and_shown(slicer_host, window, folders, tmp_path):
    import slicer

    from synthct.scene.evaluation.tables import rows_of

    ui, node, manager = window.overlap.ui, window.parameters(), slicer.app.layoutManager()
    ui.scoreButton.click()
    assert ui.scoreButton.text == "Cancel"
    finish(slicer_host, window.overlap)
    rows = {row["patient"]: row for row in rows_of(node.overlapScores)}
    hit, true, found = 4 * 4 * 4, 4 * 8 * 8, 4 * 4 * 4 + 8 * 8
    assert float(rows["Anna Ä"]["dice_percent"]) == pytest.approx(100 * 2 * hit / (true + found))
    assert float(rows["Bert"]["dice_percent"]) == 0 and rows["Carl"]["dice_percent"] == "nan"
    assert "3 patients, 2 with a lesion" in ui.statusLabel.text
    assert [ui.patientsTable.item(row, 1).text() for row in range(3)][1:] == ["0.0", "–"]
    assert (
        "No lesion" in ui.patientsTable.item(2, 0).toolTip()
        and "TP" in ui.patientsTable.horizontalHeaderItem(1).toolTip()
    )
    dice = [row for row in rows_of(node.overlapSummary) if row["score"] == "dice_percent"]
    assert [row["patients"] for row in dice] == ["all patients", "patients with a lesion"]
    assert float(dice[1]["mean"]) == pytest.approx(float(rows["Anna Ä"]["dice_percent"]) / 2)

    click_row(slicer_host, ui.resultsTabs, ui.patientsTable, 0, page=0)
    difference = slicer.util.arrayFromVolume(node.overlapDifference)
    assert (difference == -1).sum() == true - hit and (difference == 1).sum() == found - hit
    assert (
        manager.sliceWidget("Yellow").mrmlSliceCompositeNode().GetForegroundVolumeID() == node.overlapDifference.GetID()
    )
    assert manager.sliceWidget("Red").sliceLogic().GetSliceOffset() == pytest.approx(20 + 6 * 6)  # most differs there
    click_row(slicer_host, ui.resultsTabs, ui.patientsTable, 1, page=0)
    assert node.overlapReference.GetName() == "Bert reference"
    click_row(slicer_host, ui.resultsTabs, ui.patientsTable, 2, page=0)  # nothing in either: no place to go to
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 3
    ui.backButton.click()
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView

    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    assert not ui.resultsTabs.visible
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and ui.resultsTabs.visible)
    assert ui.patientsTable.rowCount == 3 and "TP" in ui.patientsTable.horizontalHeaderItem(1).toolTip()
    assert not slicer_host.errors
    (folders / "found/Anna Ä.nii.gz").unlink()
    click_row(slicer_host, ui.resultsTabs, ui.patientsTable, 0, page=0)
    assert "no mask of Anna Ä any more" in ui.statusLabel.text


def test_masks_that_cannot_be_compared_are_named(slicer_host, window, folders):
    ui, node = window.overlap.ui, window.parameters()
    (folders / "found/Bert.nii.gz").unlink()
    ui.scoreButton.click()
    finish(slicer_host, window.overlap)
    assert "Bert" in ui.statusLabel.text and node.overlapScores is None
    sitk.WriteImage(image_of(mask(3, 7), shift=5.0), str(folders / "found/Bert.nii.gz"))
    ui.scoreButton.click()
    finish(slicer_host, window.overlap)
    assert "Bert" in ui.statusLabel.text and "Try" not in ui.statusLabel.text and node.overlapScores is None
    assert not [error for error in slicer_host.errors if "answer" not in error]
