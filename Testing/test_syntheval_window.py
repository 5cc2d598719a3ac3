"""The window of SynthEval in the embedded Slicer."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_module_opens(slicer_host):
    window = slicer_host.open_module(ROOT / "SynthEval/SynthEval.py")
    assert window.ui.pairButton.text == "One pair" and not window.ui.pairButton.collapsed
    assert not slicer_host.errors
