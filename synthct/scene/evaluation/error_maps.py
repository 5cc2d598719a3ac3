"""Differences in diverging colours: blue below zero, red above, nothing where there is hardly any."""

from __future__ import annotations

import slicer

ERROR_HU = 300.0
"""HU at both ends of the colour scale of an error map."""
_ATTRIBUTE = "SyntheticCT.Diverging"
_COLOURS = 255
_COLD = ((0.65, 0.83, 0.97), (0.13, 0.40, 0.87), (0.03, 0.10, 0.45))
_WARM = ((0.99, 0.80, 0.62), (0.88, 0.20, 0.15), (0.45, 0.02, 0.05))
"""From near zero to the end of the scale."""
_UNSEEN = 0.04
"""Share of the scale around zero that is transparent; above twice that nothing shines through."""


def diverging_colours() -> slicer.vtkMRMLColorTableNode:
    """Return the scene's diverging colour table, made where there is none; it is saved with the scene."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetAttribute(_ATTRIBUTE):
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Difference, blue to red")
    node.SetAttribute(_ATTRIBUTE, "1")
    state = node.StartModify()
    try:
        node.SetTypeToUser()
        node.HideFromEditorsOff()
        node.SetNumberOfColors(_COLOURS)
        for place in range(_COLOURS):
            share = 2 * place / (_COLOURS - 1) - 1
            opacity = min(max((abs(share) - _UNSEEN) / _UNSEEN, 0.0), 1.0)
            node.SetColor(place, f"{share:+.2f}", *_between(_WARM if share > 0 else _COLD, abs(share)), opacity)
    finally:
        node.EndModify(state)
    return node


def show_as_difference(node: slicer.vtkMRMLScalarVolumeNode, most: float, title: str) -> None:
    """Give a volume the diverging colours from −``most`` to ``most``, with a scale of that ``title``."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(diverging_colours().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevel(2 * most, 0.0)
    display.SetInterpolate(1)
    scale = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    if scale is not None:
        scale.SetTitleText(title)


def _between(colours: tuple, share: float) -> tuple[float, ...]:
    near, middle, far = colours
    first, second, part = (near, middle, 2 * share) if share < 0.5 else (middle, far, 2 * share - 1)
    return tuple(a + part * (b - a) for a, b in zip(first, second, strict=True))
