"""Segmentations and label maps of the scene as one image of labels with their names."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from synthct.errors import UserError
from synthct.scene.nodes import image_from_node

_MOST_LABELS = 256


def labels_from_node(node: slicer.vtkMRMLNode) -> tuple[sitk.Image, dict[int, str]]:
    """Return the labels of a segmentation or label-map node, and what they are called.

    A segmentation is drawn on the grid of the volume that it was made on, with its transforms; its segments get the
    labels 1, 2, ... in their order, and where they overlap the later one counts. A label map's names come from a
    colour table of its own; Slicer's general tables name nothing.

    Raises
    ------
    UserError
        Naming the node: no segments, or as :func:`synthct.scene.nodes.image_from_node`.
    """
    if not node.IsA("vtkMRMLSegmentationNode"):
        return image_from_node(node), _colour_names(node)
    segmentation = node.GetSegmentation()
    ids = vtk.vtkStringArray()
    segmentation.GetSegmentIDs(ids)
    if ids.GetNumberOfValues() == 0:
        raise UserError(f"The segmentation {node.GetName()} has no segments.", todo="Draw some, or choose another.")
    names = {
        number + 1: str(segmentation.GetSegment(ids.GetValue(number)).GetName())
        for number in range(ids.GetNumberOfValues())
    }
    scene = slicer.mrmlScene
    drawn = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", f"{node.GetName()} labels")
    try:
        done = slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
            node, ids, drawn, None, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        )
        if not done:
            raise UserError(
                f"The segmentation {node.GetName()} cannot be drawn as a label map.",
                "Slicer could not convert its segments.",
                "Set its reference volume, or export it as a label map (Segmentations module).",
            )
        return image_from_node(drawn), names
    finally:
        display = drawn.GetDisplayNode()
        colours = display.GetColorNode() if display is not None else None
        scene.RemoveNode(drawn)
        if display is not None:
            scene.RemoveNode(display)
        if colours is not None and not colours.GetSingletonTag():  # Slicer made it for the segments
            scene.RemoveNode(colours)


def label_names(node: slicer.vtkMRMLNode) -> dict[int, str]:
    """Return the labels of a segmentation or label-map node and what they are called, drawing nothing.

    Those of a label map are the values that it holds, but for 0, called by their number where they have no name.

    Raises
    ------
    UserError
        Naming the node: as :func:`synthct.scene.nodes.image_from_node`, values that are no labels, or too many.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        count = range(segmentation.GetNumberOfSegments())
        return {number + 1: str(segmentation.GetNthSegment(number).GetName()) for number in count}
    values = np.unique(sitk.GetArrayFromImage(image_from_node(node)))
    if len(values) > _MOST_LABELS or np.any(values != np.rint(values)):
        raise UserError(f"{node.GetName()} is no label map.", f"It holds {len(values)} values.", "Choose another.")
    names = _colour_names(node)
    return {int(value): names.get(int(value)) or str(int(value)) for value in values if value}


def volume_of(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the volume that a segmentation was made on, where it is in the scene."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return None
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def _colour_names(node: slicer.vtkMRMLNode) -> dict[int, str]:
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None
    if colours is None or colours.GetSingletonTag():
        return {}
    names = {number: colours.GetColorName(number) for number in range(colours.GetNumberOfColors())}
    return {number: name for number, name in names.items() if name}
