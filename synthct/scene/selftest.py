"""What the modules' self-tests check inside a running Slicer: places are kept, Apply makes a CT."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.launch import environment, python
from synthct.scene.nodes import image_from_node, node_from_image
from synthct.scene.packages import missing

_MODEL = """
import sys
import torch
from synthct.networks.registry import build_network
from synthct.synthesis.model_file import save_model
torch.manual_seed(0)
network = {"name": "unet", "depth": 2, "width": 4}
save_model(sys.argv[1], build_network(network, 1, 1), {
    "name": "Self-test", "network": network, "in_channels": 1, "out_channels": 1, "size": [32, 32],
    "input_scaling": {"name": "mr-percentile"}, "target_scaling": {"name": "ct-window", "low": -1024, "high": 2000},
    "planes": ["axial"], "neighbours": 0, "spacing": None, "hu_range": [-1024, 2000], "anatomy": "none",
    "sequence": "none", "intended_use": "Untrained: it shows that the tool works."})
"""


_LABEL_MODEL = """
import sys
import torch
from synthct.networks.one_hot import LabelChannels
from synthct.networks.registry import build_network
from synthct.synthesis.model_file import save_model
torch.manual_seed(0)
network = {"name": "unet", "width": "4-8", "norm": "none"}
save_model(sys.argv[1], build_network(network, 1, 1, seed=0, labels=LabelChannels(1, 7)), {
    "name": "Self-test", "task": "label-to-ct", "input": "label map", "network": network, "in_channels": 7,
    "out_channels": 1, "size": [32, 32], "input_scaling": {"name": "one-hot", "classes": 7},
    "target_scaling": {"name": "ct-window", "low": -1000, "high": 1000}, "planes": ["axial"], "neighbours": 0,
    "spacing": None, "hu_range": [-1000, 1000], "intended_use": "Untrained: it shows that the tool works."})
"""


def make_model(folder: Path, labels: bool = False) -> Path:
    """Write an untrained model, by a child process (Slicer imports no torch), and return its folder.

    With ``labels`` it makes a CT of a label map of seven classes.
    """
    program = _LABEL_MODEL if labels else _MODEL
    subprocess.run([python(), "-c", program, str(folder)], env=environment(), check=True, timeout=300)
    return folder


def oblique_image(size: tuple[int, int, int] = (28, 24, 10), seed: int = 0) -> sitk.Image:
    """Return an MR-like int16 image with a random oblique, anisotropic and perhaps left-handed grid."""
    random = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(random.normal(size=(3, 3)))
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in reversed(size)), indexing="ij")
    body = (i**2 + j**2 < 0.7) & (abs(k) <= 1)
    voxels = np.where(body, 400 + 100 * i + 60 * j + 200 * (abs(i - 0.3) < 0.2), 5) + random.normal(0, 4, body.shape)
    image = sitk.GetImageFromArray(voxels.astype(np.int16))
    image.SetSpacing(random.uniform(0.7, 4.0, 3).tolist())
    image.SetOrigin(random.uniform(-200, 200, 3).tolist())
    image.SetDirection(directions.ravel().tolist())
    return image


def check_geometry() -> None:
    """Node to image and back: every voxel keeps its value and its place, under a transform too."""
    for seed in range(5):
        image = oblique_image(seed=seed)
        node = node_from_image(image, "MR")
        again = image_from_node(node)
        _require(np.allclose(_corners(again), _corners(image), atol=1e-6), "a corner has moved")
        _require((sitk.GetArrayFromImage(again) == sitk.GetArrayFromImage(image)).all(), "a voxel has changed")
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
        matrix = np.eye(4)
        matrix[:3, 3] = (5, -7, 11)
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(transform.GetID())
        shift = np.array((-5, 7, 11))  # RAS to LPS
        _require(np.allclose(_corners(image_from_node(node)), _corners(image) + shift, atol=1e-6), "transform not seen")


def check_apply(widget: Any) -> None:
    """Press Apply in the window of MRtoCT: a CT appears in the place of the MR, and a bad input says so."""
    if missing():
        slicer.util.delayDisplay(f"Skipped, packages are missing: {', '.join(missing())}")
        return
    image = oblique_image()
    node = node_from_image(image, "Self-test MR")
    with tempfile.TemporaryDirectory() as folder:
        widget.models.path = str(make_model(Path(folder) / "modell mit ä"))
        widget.ui.inputSelector.setCurrentNode(node)
        widget.ui.outputSelector.setCurrentNode(None)
        widget.ui.applyButton.click()
        wait_for(widget)
    result = slicer.util.getNode("Self-test MR sCT")
    _require(np.allclose(_corners(image_from_node(result)), _corners(image), atol=1e-3), "the CT is elsewhere")
    voxels = slicer.util.arrayFromVolume(result)
    _require(voxels.dtype == np.int16 and voxels.min() >= -1024 and voxels.max() <= 2000, "not HU as int16")
    try:
        image_from_node(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing"))
        _require(False, "an empty volume was accepted")
    except UserError as error:
        _require("Nothing" in str(error), "the message does not name the volume")


def wait_for(widget: Any, patience_s: float = 300.0) -> None:
    """Keep the window alive until its job has ended; in a script Slicer's timers may never fire."""
    end = time.monotonic() + patience_s
    while widget.translation is not None:
        _require(time.monotonic() < end, "the job did not end")
        slicer.app.processEvents()
        widget.synthesis.run.poll()
        time.sleep(0.05)


def _corners(image: sitk.Image) -> np.ndarray:
    """LPS places in mm of the first voxel and of the last one along each axis."""
    ends = [(0, 0, 0)] + [tuple((n - 1) * (axis == a) for a, n in enumerate(image.GetSize())) for axis in range(3)]
    return np.array([image.TransformIndexToPhysicalPoint(end) for end in ends])


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)
