"""Differences in diverging colours: blue below zero, red above, nothing where there is hardly any; gamma beside it."""

from __future__ import annotations

from collections.abc import Sequence

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
NOT_JUDGED = -1.0
"""In a gamma map, where the dose is too low to be judged: nothing is seen there."""
MOST_GAMMA = 2.0
"""At the end of the scale; a gamma above 1 does not pass."""
_GAMMA = "SyntheticCT.Gamma"
_PASSING = ((0.12, 0.35, 0.25), (0.30, 0.65, 0.42), (0.80, 0.93, 0.75))
_FAILING = ((1.00, 0.85, 0.30), (0.90, 0.35, 0.10), (0.55, 0.00, 0.15))
"""From 0 to 1, and from 1 to the end: the step is at 1."""


def diverging_colours() -> slicer.vtkMRMLColorTableNode:
    """Return the scene's diverging colour table, made where there is none; it is saved with the scene."""

    def colour(share: float) -> tuple[float, ...]:
        opacity = min(max((abs(share) - _UNSEEN) / _UNSEEN, 0.0), 1.0)
        return (*_between(_WARM if share > 0 else _COLD, abs(share)), opacity)

    places = [2 * place / (_COLOURS - 1) - 1 for place in range(_COLOURS)]
    return _table(_ATTRIBUTE, "Difference, blue to red", [(f"{share:+.2f}", colour(share)) for share in places])


def gamma_colours() -> slicer.vtkMRMLColorTableNode:
    """Return the scene's colours of gamma, greens to 1 and from there yellow to red, made where there are none."""
    count = _COLOURS + 1  # an even number: the step lies in the middle
    gammas = [MOST_GAMMA * (place + 0.5) / count for place in range(count)]
    colours = [
        (f"{gamma:.3f}", (*_between(_PASSING if gamma < 1 else _FAILING, gamma if gamma < 1 else gamma - 1), 1.0))
        for gamma in gammas
    ]
    return _table(_GAMMA, "Gamma, passing to 1", colours)


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


def show_as_gamma(node: slicer.vtkMRMLScalarVolumeNode, criterion: str) -> None:
    """Give a gamma map its colours from 0 to `MOST_GAMMA` and a scale; what is not judged is not seen."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(gamma_colours().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevel(MOST_GAMMA, MOST_GAMMA / 2)
    display.AutoThresholdOff()
    display.SetThreshold(0.0, 32767.0)
    display.ApplyThresholdOn()
    display.SetInterpolate(0)  # between a judged voxel and one that is not lies nothing
    scale = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    if scale is not None:
        scale.SetTitleText(f"gamma, {criterion}")


def _table(attribute: str, name: str, colours: Sequence[tuple[str, tuple[float, ...]]]) -> slicer.vtkMRMLColorTableNode:
    """Return the colour table that has an attribute, or a new one; it is saved with the scene."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetAttribute(attribute):
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetAttribute(attribute, "1")
    state = node.StartModify()
    try:
        node.SetTypeToUser()
        node.HideFromEditorsOff()
        node.SetNumberOfColors(len(colours))
        for place, (title, colour) in enumerate(colours):
            node.SetColor(place, title, *colour)
    finally:
        node.EndModify(state)
    return node


def _between(colours: tuple, share: float) -> tuple[float, ...]:
    near, middle, far = colours
    first, second, part = (near, middle, 2 * share) if share < 0.5 else (middle, far, 2 * share - 1)
    return tuple(a + part * (b - a) for a, b in zip(first, second, strict=True))
