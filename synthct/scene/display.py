"""How a synthetic CT is shown: a CT window, in grey, over the MR that it was made from."""

from __future__ import annotations

import slicer

CT_WINDOWS = {
    "Soft tissue": (350.0, 40.0),
    "Bone": (1500.0, 300.0),
    "Lung": (1500.0, -500.0),
    "Whole range": (4000.0, 1000.0),
}
"""Window and level in HU."""


def set_ct_window(node: slicer.vtkMRMLScalarVolumeNode, name: str = "Soft tissue") -> None:
    """Show ``node`` in grey with one of `CT_WINDOWS`."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    window, level = CT_WINDOWS[name]
    display.AutoWindowLevelOff()
    display.SetWindowLevel(window, level)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")


def show_over(
    foreground: slicer.vtkMRMLVolumeNode, background: slicer.vtkMRMLVolumeNode | None, opacity: float = 0.5
) -> None:
    """Show ``foreground`` over ``background`` in all slice views.

    Views that show this foreground already keep the opacity that the user has set; empty views are fitted to it.
    """
    scene = slicer.mrmlScene
    empty = False
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        view = scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        empty = empty or view.GetBackgroundVolumeID() is None
        if background is not None:
            view.SetBackgroundVolumeID(background.GetID())
        if view.GetForegroundVolumeID() != foreground.GetID():
            view.SetForegroundVolumeID(foreground.GetID())
            view.SetForegroundOpacity(opacity)
    if empty and slicer.app.layoutManager() is not None:
        slicer.util.resetSliceViews()
