"""The point that a nodule is planted at: a markup, placed by a click in a slice view and dragged as all markups are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer

Point = tuple[float, float, float]


class NodulePlacing:
    """A point list with one point, in Slicer's own place mode; it is not saved with the scene.

    Parameters
    ----------
    moved
        Called without arguments after the point was placed, dragged, moved or removed, or another node was removed:
        once per turn of the event loop, however often the mouse moves.
    """

    def __init__(self, moved: Callable[[], None]) -> None:
        self._moved = moved
        self._node: slicer.vtkMRMLMarkupsFiducialNode | None = None
        self._tags: list[int] = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._on_timer)
        self._tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._on_point)

    @property
    def node(self) -> slicer.vtkMRMLMarkupsFiducialNode | None:
        """The point list, while it is in the scene."""
        return self._node if self._node is not None and self._node.GetScene() is not None else None

    @property
    def position(self) -> Point | None:
        """mm (right, anterior, superior) in the world, also of a point that only follows the mouse yet."""
        node = self.node
        if node is None or node.GetNumberOfControlPoints() == 0:
            return None
        place = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(0, place)
        return place[0], place[1], place[2]

    @property
    def placed(self) -> bool:
        """Whether the point was clicked or set, and is more than a preview under the mouse."""
        node = self.node
        return node is not None and node.GetNumberOfDefinedControlPoints() > 0

    def start(self) -> None:
        """Wait for a click in a slice view."""
        node = self._made()
        node.RemoveAllControlPoints()
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
        selection.SetActivePlaceNodeID(node.GetID())
        slicer.modules.markups.logic().StartPlaceMode(0)

    def move_to(self, point: Sequence[float]) -> None:
        """Put the point somewhere without a click."""
        node = self._made()
        if node.GetNumberOfControlPoints() == 0:
            node.AddControlPointWorld(*point)
        else:
            node.SetNthControlPointPositionWorld(0, *point)

    def say(self, text: str, colour: Sequence[float]) -> None:
        """Write a short text beside the point, both in a colour."""
        node = self.node
        if node is None or node.GetNumberOfControlPoints() == 0:
            return
        if node.GetNthControlPointLabel(0) != text:
            node.SetNthControlPointLabel(0, text)
        display = node.GetDisplayNode()
        if tuple(display.GetSelectedColor()) != tuple(colour):
            display.SetSelectedColor(*colour)
            display.SetColor(*colour)

    def stop(self) -> None:
        """Leave place mode and take the point out of the scene."""
        self._timer.stop()
        node, self._node = self.node, None
        if node is None:
            return
        for tag in self._tags:
            node.RemoveObserver(tag)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if selection.GetActivePlaceNodeID() == node.GetID():
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            selection.SetActivePlaceNodeID(None)
        slicer.mrmlScene.RemoveNode(node)

    def close(self) -> None:
        """Take the point out of the scene, and watch this no more."""
        self.stop()
        slicer.mrmlScene.RemoveObserver(self._tag)

    def scene_closing(self) -> None:
        """Forget the point: its scene is going."""
        self._timer.stop()
        self._node = None
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _made(self) -> slicer.vtkMRMLMarkupsFiducialNode:
        node = self.node
        if node is not None:
            return node
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodule to plant")
        node.SetSaveWithScene(False)
        node.SetMaximumNumberOfControlPoints(1)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetTextScale(2.5)
        events = slicer.vtkMRMLMarkupsNode
        watched = (events.PointModifiedEvent, events.PointPositionDefinedEvent, events.PointRemovedEvent)
        self._tags = [node.AddObserver(event, self._on_point) for event in watched]
        self._node = node
        return node

    def _on_point(self, _caller: object = None, _event: object = None) -> None:
        self._timer.start()

    def _on_timer(self) -> None:
        self._moved()
