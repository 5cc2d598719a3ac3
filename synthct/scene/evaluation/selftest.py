"""What SynthEval's self-test checks inside a running Slicer: scores and places of a pair, and a blinded test."""

from __future__ import annotations

import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from synthct.scene.evaluation.tables import number_in, rows_of
from synthct.scene.nodes import image_from_node, node_from_image
from synthct.scene.packages import missing
from synthct.turing_folder import ITEMS, TEST, read_answers

_OFFSET = 20
"""HU by which the made-up synthetic CT is too dense in the body."""
_SPACING = (3.0, 3.0, 5.0)
_PATIENCE_S = 300.0


def sample_pair() -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """Return a made-up CT with a bone, a synthetic CT that is `_OFFSET` HU too dense, and the bone's label map."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 40, 40)), indexing="ij")
    body = (x / 0.85) ** 2 + (y / 0.7) ** 2 < 1
    bone = ((x - 0.2) / 0.2) ** 2 + ((y - 0.2) / 0.2) ** 2 + ((z - 0.4) / 0.3) ** 2 < 1
    ct = np.where(body, 40, -1000).astype(np.int16)
    ct[bone] = 700
    images = []
    for array in (ct, np.where(body, ct + _OFFSET, ct).astype(np.int16), bone.astype(np.uint8)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(_SPACING)
        image.SetOrigin((-50.0, 20.0, -200.0))
        images.append(image)
    return images[0], images[1], images[2]


def check_pair(widget: Any) -> None:
    """Press Evaluate in the window of SynthEval: scores, error map and regions are where and what they must be."""
    if missing():
        slicer.util.delayDisplay(f"Skipped, packages are missing: {', '.join(missing())}")
        return
    ct, synthetic, bone = sample_pair()
    parameters, pair = widget.parameters(), widget.pair
    parameters.pairReference = node_from_image(ct, "Self-test CT")
    parameters.pairSynthetic = node_from_image(synthetic, "Self-test sCT")
    parameters.pairRegions = node_from_image(bone, "Self-test bone", label=True)
    parameters.pairBody = False
    pair.ui.evaluateButton.click()
    _wait(pair)
    scores = {row["score"]: number_in(row["value"]) for row in rows_of(parameters.pairScores)}
    _require(scores, f"nothing was found: {pair.ui.statusLabel.text}")
    body = sitk.GetArrayFromImage(ct) > -1000
    _require(math.isclose(scores["mae_hu"], _OFFSET * body.mean(), rel_tol=1e-5), f"the MAE is {scores['mae_hu']}")
    error = image_from_node(parameters.pairError)
    _require((sitk.GetArrayFromImage(error) == _OFFSET * body).all(), "the error map is wrong")
    corner = error.TransformIndexToPhysicalPoint((39, 39, 11))
    _require(np.allclose(corner, ct.TransformIndexToPhysicalPoint((39, 39, 11)), atol=1e-3), "the map is elsewhere")
    region = rows_of(parameters.pairRegionScores)[0]
    _require(math.isclose(number_in(region["me_hu"]), _OFFSET, rel_tol=1e-6), "the region's error is wrong")
    place = [int(each) for each in np.argwhere(sitk.GetArrayFromImage(bone)).mean(axis=0).round()]
    x, y, z = ct.TransformIndexToPhysicalPoint(place[::-1])
    found = [number_in(region[axis]) for axis in "RAS"]
    _require(np.abs(np.subtract(found, (-x, -y, z))).max() <= max(_SPACING), "the region is elsewhere")


def check_turing_test(widget: Any) -> None:
    """Rate a test of two items: each answer is on the disk at once, and nothing in the scene names a file."""
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / "Prüfung"
        (folder / ITEMS).mkdir(parents=True)
        names = ["001", "002"]
        for number, name in enumerate(names):
            image = sitk.GetImageFromArray(np.full((8, 9, 10), 100 * number, np.int16))
            sitk.WriteImage(image, str(folder / ITEMS / f"{name}.nii.gz"))
        (folder / TEST).write_text(json.dumps({"format": 1, "items": names, "window": [-1000, 600]}))
        turing, ui = widget.turing, widget.turing.ui
        ui.testPathEdit.currentPath = str(folder)
        ui.raterComboBox.setCurrentText("Self-test")
        ui.beginButton.click()
        _require(turing.test is not None, f"the test did not begin: {ui.statusLabel.text}")
        for number, name in enumerate(names):
            node = slicer.util.getNode(f"Item {number + 1}")
            _require(node.GetStorageNode() is None, "the item knows its file")
            _require((slicer.util.arrayFromVolume(node) == 100 * number).all(), "another item is shown")
            ui.ratingSlider.value = 3 + number
            _require(read_answers(folder, "Self-test")[name].rating == 3 + number, "the answer is not on the disk")
            ui.nextButton.click()
        ui.beginButton.click()
        _require(turing.test is None, "the test did not end")
        ui.testPathEdit.currentPath = ""


def _wait(section: Any) -> None:
    """Keep the window alive until a section's job has ended; in a script Slicer's timers may never fire."""
    end = time.monotonic() + _PATIENCE_S
    while section.job is not None:
        _require(time.monotonic() < end, "the job did not end")
        slicer.app.processEvents()
        section.poll()
        time.sleep(0.05)


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)
