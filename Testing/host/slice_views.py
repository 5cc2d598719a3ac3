"""Slice views without OpenGL: the picture of a ``vtkMRMLSliceLogic`` in a label that maps clicks to RAS."""

from typing import Any

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from .overlays import draw_overlays

COLOURS = {"Red": "#f34a33", "Green": "#6eb04b", "Yellow": "#edd54c"}
_REACH = 8
"""Pixels around a control point in which it can be dragged."""
ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class qMRMLSliceView(QtWidgets.QLabel):
    """The picture of one slice."""

    def __init__(self, logic: Any, parent: QtWidgets.QWidget):
        super().__init__(parent)
        self._logic = logic
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._style = vtk.vtkInteractorStyleUser()
        self._style.SetInteractor(self._interactor)
        self._interactor.Enable()
        self._dragged: tuple[Any, int] | None = None
        self._interactor.AddObserver(vtk.vtkCommand.LeftButtonPressEvent, self._on_left_press)
        self._interactor.AddObserver(vtk.vtkCommand.MouseMoveEvent, self._on_mouse_move)
        self._interactor.AddObserver(vtk.vtkCommand.LeftButtonReleaseEvent, self._on_left_release)
        self._update = QtCore.QTimer(self, interval=0, singleShot=True)
        self._update.timeout.connect(self.show_picture)
        self.setMinimumSize(120, 120)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Ignored)
        self.setStyleSheet("background: black")
        self._tag = logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.scheduleRender())

    def mrmlSliceNode(self) -> Any:
        """Return the slice node."""
        return self._logic.GetSliceNode()

    def scheduleRender(self) -> None:
        """Show the picture anew at the next turn of the event loop."""
        self._update.start()

    def forceRender(self) -> None:
        """Show the picture now."""
        self.show_picture()

    def show_picture(self) -> None:
        """Fetch the slice from the logic and show it."""
        self._logic.UpdatePipeline()
        connection = self._logic.GetImageDataConnection()
        if connection is None:
            self.clear()
            return
        connection.GetProducer().Update()
        image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
        width, height, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
        pixels = np.ascontiguousarray(pixels[::-1, :, :3], dtype=np.uint8)
        picture = QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888)
        picture = picture.copy()
        draw_overlays(picture, self._logic.GetSliceNode())
        self.setPixmap(QtGui.QPixmap.fromImage(picture))

    def resizeEvent(self, event):
        node = self._logic.GetSliceNode()
        old = node.GetDimensions()
        new = (max(self.width(), 1), max(self.height(), 1))
        if old[:2] != new:
            field = node.GetFieldOfView()
            node.SetDimensions(*new, 1)
            scale = field[0] / max(old[0], 1)
            node.SetFieldOfView(scale * new[0], scale * new[1], field[2])
        self.scheduleRender()
        super().resizeEvent(event)

    def convertDeviceToXYZ(self, xy: Any) -> tuple[float, float, float]:
        """Return the view coordinates (origin at the bottom left) of VTK's display coordinates."""
        return float(xy[0]), float(xy[1]), 0.0

    def convertXYZToRAS(self, xyz: Any) -> tuple[float, float, float]:
        """Return the world coordinates in mm of view coordinates."""
        return tuple(self._logic.GetSliceNode().GetXYToRAS().MultiplyPoint((*xyz[:3], 1.0))[:3])

    def mousePressEvent(self, event):
        position = event.position()
        self._interactor.SetEventPosition(int(position.x()), self.height() - 1 - int(position.y()))
        self._interactor.InvokeEvent(vtk.vtkCommand.LeftButtonPressEvent)

    def wheelEvent(self, event):
        step = self._logic.GetLowestVolumeSliceSpacing()[2] or 1.0
        self._logic.SetSliceOffset(self._logic.GetSliceOffset() + step * np.sign(event.angleDelta().y()))

    def _on_left_press(self, interactor, event):
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            self._dragged = self._control_point_at(interactor.GetEventPosition())
            return
        markups = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID() or "")
        if markups is not None:
            world = self.convertXYZToRAS(self.convertDeviceToXYZ(interactor.GetEventPosition()))
            markups.AddControlPointWorld(vtk.vtkVector3d(*world))
            if not interaction.GetPlaceModePersistence():
                interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _on_mouse_move(self, interactor, event):
        if self._dragged is not None:
            markups, number = self._dragged
            world = self.convertXYZToRAS(self.convertDeviceToXYZ(interactor.GetEventPosition()))
            markups.SetNthControlPointPositionWorld(number, *world)

    def _on_left_release(self, interactor, event):
        self._dragged = None

    def _control_point_at(self, position):
        """Return the markup and the number of the unlocked control point under the mouse, or None."""
        to_view = np.linalg.inv(slicer.util.arrayFromVTKMatrix(self._logic.GetSliceNode().GetXYToRAS()))
        for markups in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
            for number in range(markups.GetNumberOfControlPoints()):
                place = [0.0, 0.0, 0.0]
                markups.GetNthControlPointPositionWorld(number, place)
                x, y, depth, _ = to_view @ [*place, 1]
                if np.hypot(x - position[0], y - position[1]) < _REACH and abs(depth) < 1 and not markups.GetLocked():
                    return markups, number
        return None

    def interactorStyle(self) -> Any:
        """Return the interactor style, whose interactor takes ``slicer.util.clickAndDrag``."""
        return self._style


class qMRMLSliceControllerWidget(QtWidgets.QWidget):
    """The bar above a slice view: its colour, name and the slice's offset."""

    def __init__(self, logic: Any, name: str, parent: QtWidgets.QWidget):
        super().__init__(parent)
        self._logic = logic
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 0)
        self._label = QtWidgets.QLabel(name[0], self)
        self._offset = QtWidgets.QLabel("", self)
        layout.addWidget(self._label)
        layout.addStretch()
        layout.addWidget(self._offset)
        self.setStyleSheet(f"background: {COLOURS[name]}; color: black")
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_StyledBackground)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._show_offset())

    def _show_offset(self):
        letter = {"Axial": "S", "Coronal": "A", "Sagittal": "R"}.get(self.mrmlSliceNode().GetOrientation(), "")
        self._offset.setText(f"{letter}: {self._logic.GetSliceOffset():.1f} mm")

    def mrmlSliceNode(self) -> Any:
        """Return the slice node."""
        return self._logic.GetSliceNode()

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        """Move the slice to ``offset`` mm."""
        self._logic.SetSliceOffset(offset)


class qMRMLSliceWidget(QtWidgets.QFrame):
    """A slice view with its bar."""

    def __init__(self, logic: Any, name: str, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._logic = logic
        self._controller = qMRMLSliceControllerWidget(logic, name, self)
        self._view = qMRMLSliceView(logic, self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._controller)
        layout.addWidget(self._view, 1)

    def sliceLogic(self) -> Any:
        """Return the slice logic."""
        return self._logic

    def mrmlSliceNode(self) -> Any:
        """Return the slice node."""
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        """Return the node that says which volumes are shown."""
        return self._logic.GetSliceCompositeNode()

    def sliceController(self) -> QtWidgets.QWidget:
        """Return the bar above the view."""
        return self._controller

    def sliceView(self) -> QtWidgets.QWidget:
        """Return the view."""
        return self._view

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._logic.FitSliceToBackground()

    def interactorStyle(self) -> Any:
        """Return the view's interactor style."""
        return self._view.interactorStyle()
