"""The item of a visual Turing test that is shown: nodes whose names, files and history tell nothing."""

from __future__ import annotations

import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.nodes import node_from_image, update_node_from_image
from synthct.turing_folder import Item, TuringTest

_ATTRIBUTE = "SyntheticCT.TuringItem"


def show_item(test: TuringTest, number: int) -> None:
    """Show one item in all slice views in place of the one before, in the test's window; its mask in outline.

    The same two nodes hold every item, so that nothing in the scene grows or differs from item to item; they know no
    file.

    Raises
    ------
    UserError
        Naming the item: its image cannot be read.
    """
    item = test.items[number]
    image = _read(item, "image")
    mask = _read(item, "mask") if item.mask is not None else None
    node = _fill(_node("image"), image, "image")
    node.SetName(f"Item {number + 1}")
    low, high = test.window
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)
    display.SetInterpolate(1)
    outline = None
    if mask is not None:
        outline = _fill(_node("mask"), mask, "mask")
        outline.SetName(f"Item {number + 1} outline")
    _show(node, outline)


def remove_item() -> None:
    """Take the item shown out of the scene."""
    for kind in ("image", "mask"):
        node = _node(kind)
        if node is None:
            continue
        displays = [node.GetNthDisplayNode(place) for place in range(node.GetNumberOfDisplayNodes())]
        slicer.mrmlScene.RemoveNode(node)
        for display in displays:
            if display is not None and display.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(display)


def _read(item: Item, kind: str) -> sitk.Image:
    path = item.image if kind == "image" else item.mask
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read.", "It is damaged.", "Copy the whole folder again.") from error
    return image if kind == "image" else image != 0  # the number of a label could tell


def _node(kind: str) -> slicer.vtkMRMLVolumeNode | None:
    name = "vtkMRMLLabelMapVolumeNode" if kind == "mask" else "vtkMRMLScalarVolumeNode"
    nodes = slicer.util.getNodesByClass(name)
    return next((node for node in nodes if node.GetAttribute(_ATTRIBUTE) == kind), None)


def _fill(node: slicer.vtkMRMLVolumeNode | None, image: sitk.Image, kind: str) -> slicer.vtkMRMLVolumeNode:
    if node is None:
        node = node_from_image(image, "Item", label=kind == "mask")
        node.SetAttribute(_ATTRIBUTE, kind)
    else:
        update_node_from_image(node, image)
    return node


def _show(node: slicer.vtkMRMLScalarVolumeNode, outline: slicer.vtkMRMLLabelMapVolumeNode | None) -> None:
    """Nothing but the item in the slice views, fitted anew: where an earlier item was left must not matter."""
    scene = slicer.mrmlScene
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        view = scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        view.SetBackgroundVolumeID(node.GetID())
        view.SetForegroundVolumeID(None)
        view.SetLabelVolumeID(outline.GetID() if outline is not None else None)
        view.SetLabelOpacity(1.0)
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        scene.GetNthNodeByClass(number, "vtkMRMLSliceNode").SetUseLabelOutline(True)
    if slicer.app.layoutManager() is not None:
        slicer.util.resetSliceViews()
