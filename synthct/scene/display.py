"""How results are shown: a CT in its window over the MR that it was made from, its uncertainty in warm colours."""

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


DEVIATION_HU = 200.0
"""Standard deviation at the upper end of the colour scale."""
_WARM = "vtkMRMLPETProceduralColorNodePET-Heat"
_SEEN_HU = 1.0


def set_deviation_colours(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a standard deviation from 0 to `DEVIATION_HU` in warm colours with a scale; below 1 HU nothing is seen."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(DEVIATION_HU, DEVIATION_HU / 2)
    display.SetAndObserveColorNodeID(_WARM)
    display.AutoThresholdOff()
    display.SetThreshold(_SEEN_HU, 32767.0)
    display.ApplyThresholdOn()
    scale = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    if scale is not None:
        scale.SetTitleText("SD, HU")


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
