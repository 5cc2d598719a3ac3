"""The window of SynthEval in the embedded Slicer: it opens, and its self-test passes and can fail."""

import sys

import pytest
from syntheval_scene import open_window


def test_the_self_test_passes(slicer_host):
    window = open_window(slicer_host)
    assert window.ui.pairButton.text.startswith("One pair") and not window.ui.pairButton.collapsed
    sys.modules["SynthEval"].SynthEvalTest().runTest()
    assert not slicer_host.errors


def test_the_self_test_sees_a_wrong_score(slicer_host, monkeypatch):
    from synthct.scene.evaluation import selftest as evaluation_selftest

    window = open_window(slicer_host)
    monkeypatch.setattr(evaluation_selftest, "_OFFSET", 20)
    pair = evaluation_selftest.sample_pair()
    monkeypatch.setattr(evaluation_selftest, "sample_pair", lambda: (pair[0], pair[1] + 1, pair[2]))
    with pytest.raises(AssertionError, match="the MAE is"):
        evaluation_selftest.check_pair(window)
