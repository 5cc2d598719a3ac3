"""A nodule's voxels as a segment of a segmentation node, on the grid of its label map."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from synthct.scene.label_map.class_colours import NODULE_TERMINOLOGY
from synthct.scene.nodules.planted import Nodule

SEGMENTATION_REFERENCE = "SyntheticCTNoduleSegments"
"""From a label map to the segmentation of its planted nodules."""
NAME = "Nodules"
GREEN, RED = (0.36, 0.89, 0.49), (0.91, 0.2, 0.16)


def add_segment(labels: slicer.vtkMRMLLabelMapVolumeNode, nodule: Nodule) -> None:
    """Add a nodule to the segmentation of a label map, which is made where there is none."""
    remove_segment(labels, nodule)
    node = segmentation_of(labels)
    image = oriented_image(labels, nodule.voxels)
    segment = slicer.vtkSegment()
    segment.SetName(nodule.name)
    segment.SetColor(*GREEN)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), NODULE_TERMINOLOGY)
    segment.AddRepresentation(binary_labelmap(), image)
    node.GetSegmentation().AddSegment(segment, nodule.id)


def remove_segment(labels: slicer.vtkMRMLLabelMapVolumeNode, nodule: Nodule) -> None:
    """Remove a nodule's segment, where it is still there."""
    node = labels.GetNodeReference(SEGMENTATION_REFERENCE)
    if node is not None and node.GetSegmentation().GetSegment(nodule.id) is not None:
        node.GetSegmentation().RemoveSegment(nodule.id)


def segmentation_of(labels: slicer.vtkMRMLLabelMapVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    """Return the segmentation of a label map's planted nodules, made and shown in outline where there is none."""
    node = labels.GetNodeReference(SEGMENTATION_REFERENCE)
    if node is None:
        taken = slicer.mrmlScene.GetFirstNodeByName(NAME) is not None
        node = new_segmentation(labels, slicer.mrmlScene.GenerateUniqueName(NAME) if taken else NAME)
        labels.SetNodeReferenceID(SEGMENTATION_REFERENCE, node.GetID())
    node.SetAndObserveTransformNodeID(labels.GetTransformNodeID())
    return node


def new_segmentation(labels: slicer.vtkMRMLLabelMapVolumeNode, name: str) -> slicer.vtkMRMLSegmentationNode:
    """Add an empty segmentation on the grid of a label map, in outline."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility2DFill(False)
    node.SetReferenceImageGeometryParameterFromVolumeNode(labels)
    node.SetAndObserveTransformNodeID(labels.GetTransformNodeID())
    segmentation = node.GetSegmentation()
    if hasattr(segmentation, "SetSourceRepresentationName"):
        segmentation.SetSourceRepresentationName(binary_labelmap())
    else:  # before 5.4
        segmentation.SetMasterRepresentationName(binary_labelmap())
    return node


def oriented_image(labels: slicer.vtkMRMLLabelMapVolumeNode, voxels: np.ndarray) -> slicer.vtkOrientedImageData:
    """Return voxels (z, y, x) of a label map, which may lie outside it, as a mask of the box around them."""
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    mask = np.zeros(tuple(high - low + 1), np.uint8)
    mask[tuple((voxels - low).T)] = 1
    first = np.array(labels.GetImageData().GetExtent()[0::2])
    start, stop = low[::-1] + first, high[::-1] + first
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(int(value) for pair in zip(start, stop, strict=True) for value in pair))
    matrix = vtk.vtkMatrix4x4()
    labels.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    scalars = numpy_support.numpy_to_vtk(mask.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def binary_labelmap() -> str:
    """Name of the representation by voxels."""
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())
