"""What LabelToCT's self-test checks inside a running Slicer: a nodule is planted by a click and the CT follows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from synthct.labels.library import add_templates
from synthct.labels.templates import Template
from synthct.scene.nodes import image_from_node, node_from_image
from synthct.scene.packages import missing
from synthct.scene.selftest import make_model

NODULE, OUTSIDE = 5, 6
_SPACING = 4.0
_LUNG, _MUSCLE = (12, 24, 18), (12, 24, 30)
"""Voxels (z, y, x) of `chest_labels`."""
_DIAMETER = 12.0
_REACH = 24.0
_PATIENCE_S = 300.0


def chest_labels() -> sitk.Image:
    """Return a made-up chest of our seven classes, uint8, 60 × 48 × 24 voxels of 4 mm: fat, muscle, bone, two lungs."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 48, 60)), indexing="ij")

    def inside(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        parts = [((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), centre, radii, strict=True)]
        return np.sum(parts, axis=0) < 1

    labels = np.full(x.shape, OUTSIDE, np.uint8)
    labels[inside((0, 0, 0), (9, 0.85, 0.9))] = 1
    labels[inside((0, 0, 0), (9, 0.72, 0.8))] = 3
    for side in (-1, 1):
        labels[inside((0, 0, 0.38 * side), (0.9, 0.5, 0.3))] = 0
    labels[inside((0, 0.5, 0), (9, 0.15, 0.1))] = 4
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((_SPACING,) * 3)
    image.SetOrigin((-120.0, -90.0, 30.0))
    return image


def check_plant_and_follow(widget: Any) -> None:
    """Plant a nodule, by a click where there is a slice view, and see the CT change near it and nowhere else."""
    if missing():
        slicer.util.delayDisplay(f"Skipped, packages are missing: {', '.join(missing())}")
        return
    labels = node_from_image(chest_labels(), "Self-test chest", label=True)
    before = slicer.util.arrayFromVolume(labels).copy()
    parameters, nodules, synthesis = widget.parameters(), widget.nodules, widget.synthesis
    with tempfile.TemporaryDirectory() as folder:
        parameters.noduleLibrary = str(_library(Path(folder) / "library"))
        parameters.labelMap = labels
        synthesis.devices.device = "cpu"
        parameters.model = str(make_model(Path(folder) / "modell mit ä", labels=True))
        synthesis.ui.applyButton.click()
        _wait(lambda: synthesis.translation is None, synthesis.run.poll)
        ct = parameters.syntheticCT
        _require(ct is not None, f"no CT was made: {synthesis.ui.statusLabel.text}")
        _require(_same_place(ct, labels), "the CT is elsewhere")
        whole = slicer.util.arrayFromVolume(ct).copy()
        _require((whole[before == OUTSIDE] <= -1000).all(), "outside the body there is something")

        _point(nodules, labels, _MUSCLE)
        _require(not nodules.ui.acceptButton.enabled, "a nodule may lie in muscle")
        nodules.ui.discardButton.click()
        _point(nodules, labels, _LUNG)
        _require(nodules.ui.acceptButton.enabled, f"no nodule in the lung: {nodules.ui.reasonLabel.text}")
        nodules.ui.acceptButton.click()
        planted = np.argwhere(slicer.util.arrayFromVolume(labels) == NODULE)
        _require(len(planted), "nothing was planted")
        _require(np.abs(planted - _LUNG).max() * _SPACING <= _DIAMETER, "the nodule is elsewhere")
        _follow(synthesis)
        changed = np.argwhere(slicer.util.arrayFromVolume(ct) != whole)
        _require(len(changed), "the CT did not follow")
        near = np.abs(changed - _LUNG).max() * _SPACING <= _DIAMETER + _REACH
        _require(near, "the CT changed far from the nodule")

        nodules.ui.undoButton.click()
        _require((slicer.util.arrayFromVolume(labels) == before).all(), "undo left something")
        _follow(synthesis)
        back = np.abs(slicer.util.arrayFromVolume(ct).astype(int) - whole).max()
        _require(back <= 1, f"the CT did not come back, by {back} HU")


def _library(folder: Path) -> Path:
    """Write a library with one ball."""
    half = int(_DIAMETER) // 2 + 1
    k, j, i = np.mgrid[-half : half + 1, -half : half + 1, -half : half + 1]
    shape = sitk.GetImageFromArray((k * k + j * j + i * i <= _DIAMETER**2 / 4).astype(np.uint8))
    shape.SetOrigin((-float(half),) * 3)
    voxels = int(sitk.GetArrayViewFromImage(shape).sum())
    facts = {"voxels": voxels, "volume_mm3": float(voxels), "equivalent_diameter_mm": _DIAMETER}
    add_templates(folder, [Template("ball", shape, facts)])
    return folder


def _point(nodules: Any, labels: slicer.vtkMRMLLabelMapVolumeNode, voxel: tuple[int, int, int]) -> None:
    """Say where the nodule shall be: by a click in the red view, or without one where there is no main window."""
    place = image_from_node(labels).TransformIndexToPhysicalPoint(tuple(reversed(voxel)))
    ras = (-place[0], -place[1], place[2])
    manager = slicer.app.layoutManager()
    if manager is None:
        nodules.candidate.placing.move_to(ras)
    else:
        view = manager.sliceWidget("Red")
        slicer.util.setSliceViewerLayers(label=labels, fit=True)
        view.mrmlSliceNode().JumpSliceByOffsetting(*ras)
        slicer.app.processEvents()
        nodules.ui.placeButton.click()
        to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(view.mrmlSliceNode().GetXYToRAS(), to_xy)
        x, y = (round(value) for value in to_xy.MultiplyPoint((*ras, 1.0))[:2])
        slicer.util.clickAndDrag(view, start=(x, y), end=(x, y), steps=2)
    for _ in range(10):  # what follows the point does so in the event loop
        slicer.app.processEvents()
        time.sleep(0.02)


def _follow(synthesis: Any) -> None:
    """Let the CT follow an edit; in a script Slicer's timers may never fire."""
    synthesis.follow()
    _require(synthesis.translation is not None, f"no edit was seen: {synthesis.ui.statusLabel.text}")
    _wait(lambda: synthesis.translation is None, synthesis.run.poll)


def _wait(done: Callable[[], bool], look: Callable[[], None]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not done():
        _require(time.monotonic() < end, "the job did not end")
        slicer.app.processEvents()
        look()
        time.sleep(0.05)


def _same_place(one: slicer.vtkMRMLVolumeNode, other: slicer.vtkMRMLVolumeNode) -> bool:
    a, b = image_from_node(one), image_from_node(other)
    last = tuple(n - 1 for n in a.GetSize())
    places = [[image.TransformIndexToPhysicalPoint(corner) for corner in ((0, 0, 0), last)] for image in (a, b)]
    return a.GetSize() == b.GetSize() and bool(np.allclose(places[0], places[1], atol=1e-3))


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)
