"""The outline of a nodule that is not planted yet: green where it fits, red where it does not."""

from __future__ import annotations

import numpy as np
import slicer

from synthct.scene.nodules.segments import GREEN, RED, binary_labelmap, new_segmentation, oriented_image

_SEGMENT = "preview"


class NodulePreview:
    """A segmentation of one segment, as large as the nodule and no larger; it is not saved with the scene."""

    def __init__(self) -> None:
        self._node: slicer.vtkMRMLSegmentationNode | None = None

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation, while it is in the scene."""
        return self._node if self._node is not None and self._node.GetScene() is not None else None

    def show(self, labels: slicer.vtkMRMLLabelMapVolumeNode, voxels: np.ndarray, fits: bool) -> None:
        """Show the outline around voxels (z, y, x) of a label map, shape (n, 3), which may lie outside it."""
        node = self.node
        if node is None:
            node = self._node = new_segmentation(labels, "Nodule preview")
            node.SetSaveWithScene(False)
            node.SetHideFromEditors(True)
            node.GetDisplayNode().SetSaveWithScene(False)
        elif node.GetTransformNodeID() != labels.GetTransformNodeID():
            node.SetAndObserveTransformNodeID(labels.GetTransformNodeID())
        image = oriented_image(labels, voxels)
        segment = node.GetSegmentation().GetSegment(_SEGMENT)
        if segment is None:
            segment = slicer.vtkSegment()
            segment.SetName("Nodule to plant")
            segment.SetColor(*(GREEN if fits else RED))
            segment.AddRepresentation(binary_labelmap(), image)
            node.GetSegmentation().AddSegment(segment, _SEGMENT)
            return
        colour = GREEN if fits else RED
        if tuple(segment.GetColor()) != colour:
            segment.SetColor(*colour)
        shown = segment.GetRepresentation(binary_labelmap())
        shown.DeepCopy(image)
        shown.Modified()

    def hide(self) -> None:
        """Take the outline out of the scene."""
        node, self._node = self.node, None
        if node is not None:
            display = node.GetDisplayNode()
            slicer.mrmlScene.RemoveNode(node)
            if display is not None and display.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(display)

    def scene_closing(self) -> None:
        """Forget the outline: its scene is going."""
        self._node = None
