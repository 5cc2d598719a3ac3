"""What cannot be judged in SynthEval is refused by name; other grids, masks and NaN as the user chooses."""

import math

import numpy as np
import pytest
from syntheval_scene import add_pair, finish, open_window


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


def test_other_grids_and_masks_and_what_is_refused(slicer_host, window):
    import slicer

    from synthct.scene.evaluation.tables import rows_of
    from synthct.scene.nodes import image_from_node

    parts = add_pair(shift=6.0)
    ui, node = window.pair.ui, window.parameters()
    node.pairReference = node.pairSynthetic = parts["reference"]
    ui.evaluateButton.click()
    assert "same volume" in ui.statusLabel.text and window.pair.job is None
    node.pairSynthetic, node.pairResample = parts["synthetic"], False
    evaluate(slicer_host, window)
    assert parts["synthetic"].GetName() in ui.statusLabel.text and node.pairScores is None
    node.pairResample = True
    evaluate(slicer_host, window)
    assert "another grid" in ui.statusLabel.text and score(window, "mae_hu") > 0
    first = node.pairScores

    other = add_pair(name="Zweiter", hole=True)
    node.pairReference, node.pairSynthetic = other["reference"], other["synthetic"]
    evaluate(slicer_host, window)
    assert "NaN" in ui.statusLabel.text and node.pairScores is first
    node.pairLeaveOut, node.pairBody, node.pairMask = True, False, other["mask"]
    evaluate(slicer_host, window)
    assert "left out" in ui.statusLabel.text and node.pairScores is not first and first.GetScene() is not None
    lungs = slicer.util.arrayFromVolume(other["mask"]) != 0
    error = slicer.util.arrayFromVolume(other["synthetic"]) - slicer.util.arrayFromVolume(other["reference"])
    assert score(window, "mae_hu") == pytest.approx(np.nanmean(np.abs(error[lungs])), abs=1e-3)

    node.pairSynthetic = other["reference"]
    copy = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, other["reference"], "identical")
    node.pairSynthetic = copy
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Verschiebung")
    matrix = np.eye(4)
    matrix[:3, 3] = (5, -7, 11)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    for each in (other["reference"], other["mask"], copy):
        each.SetAndObserveTransformNodeID(transform.GetID())
    evaluate(slicer_host, window)
    assert image_from_node(node.pairError).GetOrigin() == image_from_node(copy).GetOrigin()  # where it is seen
    assert float(rows_of(node.pairSlices)[0]["S"]) == 20 + 11
    assert score(window, "mae_hu") == 0 and math.isinf(score(window, "psnr_2500_db"))
    assert not [error for error in slicer_host.errors if "answer" not in error]
