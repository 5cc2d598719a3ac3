"""A label map and its CT in linked slice views beside each other, and the views before put back afterwards."""

from __future__ import annotations

from typing import Any

import slicer

from synthct.scene.view_looks import ViewLook, look_of, restore_look

_VIEWS = ("Red", "Yellow", "Green", "Slice4")
_LAYOUTS = (
    slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView,
    slicer.vtkMRMLLayoutNode.SlicerLayoutTwoOverTwoView,
)
"""Of two views, and with the original CT of four."""
_OVER_CT = 0.5
"""Opacity of the label map where the original CT lies below it."""


class SideBySide:
    """The layout with label map and CT; nothing is done where there is no main window.

    Attributes
    ----------
    shown
        Whether the views are beside each other now.
    """

    def __init__(self) -> None:
        self.shown = False
        self._volumes: tuple[str | None, ...] = ()
        self._layout = 0
        self._before: dict[str, ViewLook] = {}

    def show(
        self,
        labels: slicer.vtkMRMLLabelMapVolumeNode | None,
        ct: slicer.vtkMRMLScalarVolumeNode,
        original: slicer.vtkMRMLScalarVolumeNode | None = None,
    ) -> None:
        """Show the label map at the left and the CT at the right, axial and linked.

        With the original CT there are four views: the label map over the original, the synthetic CT, the original, and
        the synthetic CT with the label map's outlines. Called again with other volumes these change and the rest stays.
        """
        manager = slicer.app.layoutManager()
        chosen = tuple(node.GetID() if node is not None else None for node in (labels, ct, original))
        if manager is None or (self.shown and chosen == self._volumes):
            return
        layout = _LAYOUTS[original is not None]
        anew = not self._volumes or int(manager.layout) != layout
        if not self.shown:
            self._layout = int(manager.layout)
            self._before = {name: look_of(*nodes) for name, nodes in _views()}
        if anew:
            manager.setLayout(layout)
        over = _OVER_CT if original is not None else 1.0
        layers = {
            "Red": (original, labels, over, 0),
            "Yellow": (ct, None, 1.0, 0),
            "Green": (original if original is not None else ct, None, 1.0, 0),
            "Slice4": (ct, labels, 1.0, 1),
        }
        for name, (view, volumes) in _views():
            background, label, opacity, outline = layers[name]
            volumes.SetLinkedControl(0)  # else each view's volumes would go to all
            volumes.SetBackgroundVolumeID(background.GetID() if background is not None else None)
            volumes.SetForegroundVolumeID(None)
            volumes.SetLabelVolumeID(label.GetID() if label is not None else None)
            volumes.SetLabelOpacity(opacity)
            view.SetUseLabelOutline(outline)
            if anew:
                view.SetOrientation("Axial")
        if anew:
            self._same_place()
        for _, (_, volumes) in _views():
            volumes.SetLinkedControl(1)
            volumes.SetHotLinkedControl(1)
        self.shown, self._volumes = True, chosen

    def back(self) -> None:
        """Put layout, volumes and directions of the views back as they were."""
        manager = slicer.app.layoutManager()
        if manager is None or not self.shown:
            return
        self.shown, self._volumes = False, ()
        for name, (view, volumes) in _views():
            volumes.SetLinkedControl(0)
            if name in self._before:
                restore_look(self._before[name], view, volumes)
        if int(manager.layout) in _LAYOUTS:  # else the user has chosen another one meanwhile
            manager.setLayout(self._layout)

    def forget(self) -> None:
        """Put the views back and forget what they showed: the scene closes, but its views' directions would stay."""
        self.back()
        self._before = {}

    def _same_place(self) -> None:
        """Fit the views to the volumes and let all show the first one's slice."""
        slicer.util.resetSliceViews()
        offset = None
        for name in _VIEWS:
            logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)
            if logic is not None:
                offset = logic.GetSliceOffset() if offset is None else offset
                logic.SetSliceOffset(offset)


def _views() -> list[tuple[str, tuple[Any, Any]]]:
    """Name, slice node and composite node of the views that there are."""
    logics = [(name, slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)) for name in _VIEWS]
    return [(name, (logic.GetSliceNode(), logic.GetSliceCompositeNode())) for name, logic in logics if logic]
