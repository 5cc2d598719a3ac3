"""The compare layout: reference, synthetic CT and their difference in linked axial views beside a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
import vtk

from synthct.scene.display import set_ct_window
from synthct.scene.view_looks import ViewLook, look_of, restore_look

PointListener = Callable[[slicer.vtkMRMLPlotSeriesNode, int], None]
_VIEWS = ("Red", "Green", "Yellow")
"""Those of the reference, the synthetic CT and the difference."""
_SELECTED = "dataSelected(vtkStringArray*,vtkCollection*)"
_OPACITY = 0.85
"""Of the difference over the reference."""


class CompareViews:
    """Three linked views and the plot; nothing is done where there is no main window.

    Attributes
    ----------
    shown
        Whether the views are shown like that now.
    point_listeners
        Called with a series and the row of its table when a point of the plot is selected by a click.
    """

    def __init__(self) -> None:
        self.shown = False
        self.point_listeners: list[PointListener] = []
        self._heard: Any = None
        self._picture = False
        self._layout = 0
        self._before: dict[str, ViewLook] = {}

    def show(
        self,
        reference: slicer.vtkMRMLScalarVolumeNode,
        synthetic: slicer.vtkMRMLScalarVolumeNode,
        difference: slicer.vtkMRMLScalarVolumeNode | None,
        same_window: bool = True,
    ) -> None:
        """Show the three; the first time axial, fitted, and the two CTs in one window.

        Parameters
        ----------
        same_window
            Give both the soft tissue window of a CT; else both keep theirs.
        """
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        fresh = not self.shown
        if fresh:
            self._layout = int(manager.layout)
            self._before = {name: look_of(*nodes) for name, nodes in _views()}
            self.shown = True
        if same_window:
            for node in (reference, synthetic):
                set_ct_window(node)
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)
        self.listen()
        layers = {"Red": (reference, None), "Green": (synthetic, None), "Yellow": (reference, difference)}
        for name, (view, volumes) in _views():
            background, foreground = layers[name]
            volumes.SetLinkedControl(0)  # else each view's volumes would go to all
            volumes.SetBackgroundVolumeID(background.GetID())
            volumes.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
            volumes.SetForegroundOpacity(_OPACITY if foreground is not None else 0.0)
            volumes.SetLabelVolumeID(None)
            if fresh:
                view.SetOrientation("Axial")
        if fresh:
            slicer.util.resetSliceViews()
            qt.QTimer.singleShot(0, self._fit)  # once the views have their new sizes
        elif self._picture:
            slicer.app.applicationLogic().GetSliceLogicByLayoutName("Yellow").FitSliceToBackground()
        self._picture = False
        self._link()

    def listen(self) -> None:
        """Hear which point of the plot is selected, where there is a plot view by now."""
        manager = slicer.app.layoutManager()
        widget = manager.plotWidget(0) if manager is not None and manager.plotViewCount > 0 else None
        view = widget.plotView() if widget is not None else None
        if view is not None and view != self._heard:
            view.connect(_SELECTED, self._on_points)
            self._heard = view

    def _on_points(self, series_ids: vtk.vtkStringArray, selections: vtk.vtkCollection) -> None:
        for number in range(series_ids.GetNumberOfValues()):
            series = slicer.mrmlScene.GetNodeByID(series_ids.GetValue(number))
            rows = selections.GetItemAsObject(number)
            if series is not None and rows is not None and rows.GetNumberOfValues():
                for listener in self.point_listeners:
                    listener(series, int(rows.GetValue(0)))
                return

    def show_picture(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Show a picture that is no part of the patient in place of the difference, until the next :meth:`show`."""
        self._picture = True
        for name, (view, volumes) in _views():
            volumes.SetLinkedControl(0)
            if name == "Yellow":
                volumes.SetBackgroundVolumeID(node.GetID())
                volumes.SetForegroundVolumeID(None)
                view.SetOrientation("Axial")
                slicer.app.applicationLogic().GetSliceLogicByLayoutName(name).FitSliceToBackground()

    def jump(self, ras: Sequence[float]) -> None:
        """Move all slice views to a place in the world, mm."""
        for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
            slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSliceNode").JumpSliceByOffsetting(*ras)

    def back(self) -> None:
        """Put layout, volumes and directions of the views back as they were."""
        manager = slicer.app.layoutManager()
        if manager is None or not self.shown:
            return
        self.shown = self._picture = False
        for name, (view, volumes) in _views():
            if name in self._before:
                restore_look(self._before[name], view, volumes)
        manager.setLayout(self._layout)

    def forget(self) -> None:
        """Put the views back and forget what they showed: the scene closes."""
        self.back()
        self._before = {}

    def close(self) -> None:
        """Let go of the plot view: the module's window goes."""
        if self._heard is not None:
            self._heard.disconnect(_SELECTED, self._on_points)
            self._heard = None

    def _fit(self) -> None:
        """Fit the views to the volumes where they are; the slice that is shown stays."""
        if not self.shown:
            return
        logics = [slicer.app.applicationLogic().GetSliceLogicByLayoutName(name) for name in _VIEWS]
        offset = logics[0].GetSliceOffset()
        for logic in logics:
            logic.FitSliceToBackground()
            logic.SetSliceOffset(offset)

    def _link(self) -> None:
        offset = None
        for name, (_, volumes) in _views():
            logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)
            offset = logic.GetSliceOffset() if offset is None else offset
            logic.SetSliceOffset(offset)
            volumes.SetLinkedControl(1)
            volumes.SetHotLinkedControl(1)


def _views() -> list[tuple[str, tuple[Any, Any]]]:
    """Name, slice node and composite node of the views that there are."""
    logics = [(name, slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)) for name in _VIEWS]
    return [(name, (logic.GetSliceNode(), logic.GetSliceCompositeNode())) for name, logic in logics if logic]
