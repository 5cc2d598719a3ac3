"""What tests of SynthEval have in the scene: a small chest, its synthetic CT, and clicks on rows."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).parents[1]
SPACING = (4.0, 4.0, 6.0)


def open_window(slicer_host):
    """Open SynthEval with nothing chosen."""
    window = slicer_host.open_module(ROOT / "SynthEval/SynthEval.py")
    window.setParameterNode(None)
    window.initializeParameterNode()
    return window


def finish(slicer_host, section, seconds=120):
    """Wait for the section's job."""
    slicer_host.wait_until(lambda: section.job is None, seconds)


def chest_arrays(seed=0, noise=60.0, shape=(10, 32, 36)):
    """HU of a made-up chest and of a synthetic CT of it, int16, (z, y, x)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")

    def inside(centre, radii):
        return sum(((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), centre, radii, strict=True)) < 1

    ct = np.full(shape, -1000, np.int16)
    ct[inside((0, 0, 0), (9, 0.85, 0.9))] = 40
    for side in (-1, 1):
        ct[inside((0, 0, 0.38 * side), (0.95, 0.5, 0.3))] = -800
    ct[inside((0, 0.55, 0), (9, 0.15, 0.12))] = 600
    synthetic = ct + np.random.default_rng(seed).normal(0, noise, shape) * (ct > -1000)
    return ct, np.rint(synthetic).astype(np.int16)


def image_of(array, shift=0.0):
    """An image of the chest's grid, moved by ``shift`` mm along x."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin((-70.0 + shift, -60.0, 20.0))
    return image


def add_pair(name="Anna Ä", shift=0.0, hole=False, regions=False, line=False):
    """Add reference and synthetic CT, and what is asked for, to the scene; ``hole``: some voxels are NaN."""
    import slicer

    from synthct.scene.nodes import node_from_image

    ct, synthetic = chest_arrays()
    if hole:
        synthetic = synthetic.astype(np.float32)
        synthetic[4, 10:12, 14:17] = np.nan
    found = {
        "reference": node_from_image(image_of(ct), f"{name} CT"),
        "synthetic": node_from_image(image_of(synthetic, shift), f"{name} sCT"),
    }
    labels = np.zeros(ct.shape, np.uint8)
    labels[ct == -800], labels[ct == 600] = 1, 2
    found["mask"] = node_from_image(image_of((ct > -1000).astype(np.uint8)), f"{name} mask", label=True)
    if regions:
        organs = node_from_image(image_of(labels), f"{name} organs", label=True)
        segments = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} organs")
        segments.SetReferenceImageGeometryParameterFromVolumeNode(found["reference"])
        logic = slicer.modules.segmentations.logic()
        logic.ImportLabelmapToSegmentationNode(organs, segments)
        logic.ImportLabelmapToSegmentationNode(found["mask"], segments)
        for number, text in enumerate(("lungs", "spine & so on", "whole")):
            segments.GetSegmentation().GetNthSegment(number).SetName(text)
        slicer.mrmlScene.RemoveNode(organs)
        found["regions"] = segments
    if line:
        ruler = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "Lineal")
        ruler.AddControlPoint(-50.0, 0.0, 50.0)
        ruler.AddControlPoint(50.0, 0.00001, 50.0)
        found["line"] = ruler
    return found


def click_row(slicer_host, tabs, table, row, page=None):
    """Click a row of a table with the mouse, on the page of the tabs that shows it."""
    from host.pythonqt import unwrap
    from PySide6 import QtCore, QtTest

    if page is not None:
        tabs.setCurrentIndex(page)
    slicer_host.process_events()
    real = unwrap(table)
    real.scrollToItem(real.item(row, 0))
    place = real.visualItemRect(real.item(row, 0)).center()
    QtTest.QTest.mouseClick(real.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=place)
    slicer_host.process_events()


def select_point(slicer_host, chart, row):
    """Have the plot view say that a point of the chart's first series was clicked, as a real one does."""
    import slicer
    import vtk
    from host.pythonqt import unwrap

    ids, rows, selections = vtk.vtkStringArray(), vtk.vtkIdTypeArray(), vtk.vtkCollection()
    ids.InsertNextValue(chart.GetNthPlotSeriesNodeID(0))
    rows.InsertNextValue(row)
    selections.AddItem(rows)
    unwrap(slicer.app.layoutManager().plotWidget(0).plotView()).dataSelected.emit(ids, selections)
    slicer_host.process_events()
