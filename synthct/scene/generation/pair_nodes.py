"""A generated pair in the scene: a volume in a CT window, and its mask as a segmentation that is known by it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util import numpy_support

from synthct.scene.display import set_ct_window
from synthct.scene.nodes import node_from_image, update_node_from_image
from synthct.scene.nodules.segments import binary_labelmap, new_segmentation
from synthct.scene.studies import place_beside, sign

PAIR_ATTRIBUTE = "SyntheticCT.Pair"
"""Of a volume that was made from noise: the file, or the seeds, that it is from."""
MASK_REFERENCE = "SyntheticCTMask"
"""From such a volume to the segmentation of its mask."""
WINDOW = "Lung"
COLOUR = (0.95, 0.55, 0.16)
_SEGMENT = "mask"


def find_pair(origin: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the volume that was put into the scene from ``origin``, where it is still there."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(PAIR_ATTRIBUTE) == origin:
            return node
    return None


def put_pair(
    image: sitk.Image,
    mask: sitk.Image | None,
    name: str,
    model: str,
    origin: str,
    volume: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Put a pair into ``volume`` and its segmentation, or into new nodes named after it; return the volume.

    Display, colour and names that the user has given to existing nodes stay.
    """
    if volume is None or volume.GetScene() is None:
        volume = node_from_image(image, name)
        set_ct_window(volume, WINDOW)
    else:
        update_node_from_image(volume, image)
    sign(volume, model, "noise", None, "Image made")
    volume.SetAttribute(PAIR_ATTRIBUTE, origin)
    segmentation = volume.GetNodeReference(MASK_REFERENCE)
    if mask is None:
        if segmentation is not None:
            slicer.mrmlScene.RemoveNode(segmentation)
        return volume
    if segmentation is None:
        segmentation = new_segmentation(volume, slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} mask"))
        segmentation.GetDisplayNode().SetVisibility2DFill(True)
        segmentation.GetDisplayNode().SetOpacity2DFill(0.3)
        volume.SetNodeReferenceID(MASK_REFERENCE, segmentation.GetID())
        place_beside(segmentation, volume)
    _set_mask(segmentation, volume, mask)
    return volume


def mask_of(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode | None:
    """Return the segmentation of a pair's mask, or None where it has none."""
    return volume.GetNodeReference(MASK_REFERENCE)


def show_pair(volume: slicer.vtkMRMLScalarVolumeNode, fit: bool = True) -> None:
    """Show one pair alone in the slice views; all pairs lie in the same place."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        segmentation = mask_of(node)
        if segmentation is not None and segmentation.GetDisplayNode() is not None:
            segmentation.GetDisplayNode().SetVisibility(node is volume)
    slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, fit=fit)


def is_shown(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a slice view has the volume as its background."""
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return any(view.GetBackgroundVolumeID() == volume.GetID() for view in views)


def _set_mask(node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode, mask: sitk.Image) -> None:
    """Replace the mask's segment: one that is added anew is drawn by every view, however long it was there."""
    segmentation = node.GetSegmentation()
    before = segmentation.GetSegment(_SEGMENT)
    name, colour = (before.GetName(), before.GetColor()) if before is not None else ("Mask", COLOUR)
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    in_3d = before is not None and before.GetRepresentation(surface) is not None
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*colour)
    segment.AddRepresentation(binary_labelmap(), _oriented(volume, sitk.GetArrayViewFromImage(mask)))
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    if before is not None:
        segmentation.RemoveSegment(_SEGMENT)
    segmentation.AddSegment(segment, _SEGMENT)
    if in_3d:
        node.CreateClosedSurfaceRepresentation()


def _oriented(volume: slicer.vtkMRMLScalarVolumeNode, mask: np.ndarray) -> slicer.vtkOrientedImageData:
    """Return a mask (z, y, x) on the grid of a volume."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*(int(length) for length in reversed(mask.shape)))
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    scalars = numpy_support.numpy_to_vtk(
        np.ascontiguousarray(mask, np.uint8).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR
    )
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image
