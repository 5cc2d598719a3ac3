"""What lies over a slice's picture: outlines of segments, and control points with their labels."""

from typing import Any

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtGui
from vtk.util.numpy_support import vtk_to_numpy

_BINARY = "Binary labelmap"
_POINT = 5.0


def draw_overlays(picture: QtGui.QImage, slice_node: Any) -> None:
    """Draw the visible segmentations, in outline, and the visible markups near the slice onto its picture."""
    painter = QtGui.QPainter(picture)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    xy_to_ras = slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS())
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        display = node.GetDisplayNode()
        if display is not None and display.GetVisibility():
            _draw_segments(painter, node, display, xy_to_ras, (picture.width(), picture.height()))
    for node in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
        display = node.GetDisplayNode()
        if display is not None and display.GetVisibility():
            _draw_points(painter, node, display, xy_to_ras, picture.height())
    painter.end()


def _draw_segments(painter, node, display, xy_to_ras, size):
    width, height = size
    to_world = np.eye(4)
    if node.GetParentTransformNode() is not None:
        matrix = vtk.vtkMatrix4x4()
        node.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
        to_world = slicer.util.arrayFromVTKMatrix(matrix)
    segmentation = node.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        image = segment.GetRepresentation(_BINARY)
        if image is None or not display.GetSegmentVisibility(segmentation.GetNthSegmentID(number)):
            continue
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        to_ijk = np.linalg.inv(to_world @ slicer.util.arrayFromVTKMatrix(matrix)) @ xy_to_ras
        y, x = np.mgrid[0 : height + 1, 0 : width + 1]
        ijk = np.rint(np.einsum("ab,byx->ayx", to_ijk[:3], np.stack([x, y, 0 * x, 0 * x + 1]))).astype(int)
        extent = image.GetExtent()
        shape = tuple(reversed(image.GetDimensions()))
        voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
        place = [ijk[axis] - extent[2 * axis] for axis in (2, 1, 0)]
        known = np.logical_and.reduce(
            [(part >= 0) & (part < length) for part, length in zip(place, shape, strict=True)]
        )
        inside = np.zeros(known.shape, bool)
        inside[known] = voxels[tuple(part[known] for part in place)] == segment.GetLabelValue()
        painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*segment.GetColor()), 2))
        for row, column in np.argwhere(inside[:, 1:] != inside[:, :-1]):
            painter.drawLine(column + 1, height - row, column + 1, height - row - 1)
        for row, column in np.argwhere(inside[1:] != inside[:-1]):
            painter.drawLine(column, height - row - 1, column + 1, height - row - 1)


def _draw_points(painter, node, display, xy_to_ras, height):
    to_xy = np.linalg.inv(xy_to_ras)
    colour = QtGui.QColor.fromRgbF(*display.GetSelectedColor())
    for number in range(node.GetNumberOfControlPoints()):
        place = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(number, place)
        x, y, depth, _ = to_xy @ [*place, 1]
        if abs(depth) > 0.5:
            continue
        centre = QtCore.QPointF(x, height - 1 - y)
        painter.setPen(QtGui.QPen(colour, 2))
        painter.drawEllipse(centre, _POINT, _POINT)
        box = QtCore.QRectF(centre.x() + 10, centre.y() - 30, 220, 60)
        flags = QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.TextFlag.TextWordWrap.value
        painter.drawText(box, flags, node.GetNthControlPointLabel(number))
