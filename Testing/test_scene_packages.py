"""What jobs need in Slicer: the list agrees with the package's own, and versions are compared as numbers."""

import tomllib
from pathlib import Path

import pytest

pytest.importorskip("slicer")

from synthct.scene import packages
from synthct.scene.cards import card_html, device_text, score_rows


def test_the_list_agrees_with_pyproject():
    content = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    wanted = dict(entry.split(">=") for entry in content["project"]["dependencies"])
    slicers_own = {"numpy", "SimpleITK"}
    assert packages.requirements() == {name: least for name, least in wanted.items() if name not in slicers_own}


def test_missing_looks_at_versions(monkeypatch):
    have = {"torch": "2.10.0+cu128", "monai": "1.4.0", "psutil": "7.0", "safetensors": "0.4.10", "pyyaml": "6.0.2"}

    def version(name):
        if name not in have:
            raise packages.importlib.metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(packages.importlib.metadata, "version", version)
    assert packages.missing() == [
        f"{name}>={least}"
        for name, least in packages.requirements().items()
        if name not in ("torch", "psutil", "safetensors", "pyyaml")
    ]
    assert packages._numbers("2.9.0a1") == (2, 9, 0)


def test_cards_and_scores_as_text():
    card = {
        "name": "Pelvis <1>",
        "sequence": "T2w",
        "target": "CT",
        "hu_range": [-1024, 2000],
        "training": {"preset": "synthct-unet", "cohort": {"cases": 20}, "scores": {"mae_hu": 41.234, "note": "x"}},
    }
    text = card_html(card)
    assert "Pelvis &lt;1&gt;" in text and "T2w to CT" in text and "cases: 20" in text and "41.2 HU" in text
    rows = score_rows({"dice_bone": 0.5, "mae_hu": 3, "unknown": 7, "dice_air": None, "notes": []})
    assert [key for key, _, _ in rows] == ["mae_hu", "dice_bone", "unknown"]


def test_devices_as_text():
    gpu = {"name": "cuda:0", "label": "NVIDIA H200", "free_bytes": 2**37, "total_bytes": 2**37 + 2**30, "reason": ""}
    assert device_text(gpu) == "NVIDIA H200 (cuda:0), 128.0 of 129.0 GiB free"
    cpu = {"name": "cpu", "label": "CPU, 8 threads", "free_bytes": None, "reason": "No GPU was found."}
    assert device_text(cpu) == "CPU, 8 threads. No GPU was found."
