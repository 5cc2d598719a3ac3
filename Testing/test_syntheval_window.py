"""The window of SynthEval in the embedded Slicer: it opens, and its self-test passes and can fail."""

import sys

import pytest
from syntheval_scene import finish, open_window


def test_the_self_test_passes(slicer_host):
    window = open_window(slicer_host)
    assert window.ui.pairButton.text.startswith("One pair") and not window.ui.pairButton.collapsed
    sys.modules["SynthEval"].SynthEvalTest().runTest()
    assert not slicer_host.errors


def test_what_a_job_finds_is_kept_while_another_module_is_shown(slicer_host, tmp_path):
    from synthct.scene.evaluation.tables import rows_of

    window = open_window(slicer_host)
    (tmp_path / "scores.csv").write_text("group,case,mae\na,1,3\na,2,4\nb,1,5\nb,2,7\n")
    window.statistics.ui.scoresPathEdit.currentPath = str(tmp_path / "scores.csv")
    window.statistics.ui.testButton.click()
    window.exit()
    finish(slicer_host, window.statistics)
    window.enter()
    assert float(rows_of(window.parameters().statisticsTests)[0]["difference"]) == 2.5
    assert window.statistics.ui.testsTable.rowCount == 1
    window.exit()
    assert window.parameters() is None  # no job: nothing is followed
    window.enter()
    assert not slicer_host.errors


def test_the_self_test_sees_a_wrong_score(slicer_host, monkeypatch):
    from synthct.scene.evaluation import selftest as evaluation_selftest

    window = open_window(slicer_host)
    monkeypatch.setattr(evaluation_selftest, "_OFFSET", 20)
    pair = evaluation_selftest.sample_pair()
    monkeypatch.setattr(evaluation_selftest, "sample_pair", lambda: (pair[0], pair[1] + 1, pair[2]))
    with pytest.raises(AssertionError, match="the MAE is"):
        evaluation_selftest.check_pair(window)
