"""The classes of a label map in Slicer: a colour table with terminology, kept with the node, shown in outline."""

from __future__ import annotations

import json

import slicer

from synthct.errors import UserError
from synthct.labels.classes import ClassTable, TissueClass, parse_class_table

CLASSES_ATTRIBUTE = "SyntheticCT.Classes"
"""Of a label map node: its table of classes as JSON."""

_Code = tuple[str, str, str]
_TISSUE: _Code = ("SCT", "85756007", "Tissue")
_SUBSTANCE: _Code = ("SCT", "91720002", "Body Substance")
_ANATOMY: _Code = ("SCT", "123037004", "Anatomical Structure")
_ALTERED: _Code = ("SCT", "49755003", "Morphologically Altered Structure")
_SOURCES: dict[str, tuple[_Code, _Code]] = {
    "rest": (_TISSUE, _TISSUE),
    "nodules": (_ALTERED, ("SCT", "27925004", "Nodule")),
    "outside": (_TISSUE, ("DCM", "125040", "Background")),
    "airways": (_ANATOMY, ("SCT", "44567001", "Trachea")),
}
_NAMES: dict[str, tuple[_Code, _Code]] = {
    "fat": (_TISSUE, ("SCT", "55603005", "Adipose tissue")),
    "water": (_SUBSTANCE, ("SCT", "32457005", "Body fluid")),
    "muscle and soft tissue": (_TISSUE, ("SCT", "87784001", "Soft tissue")),
    "bone": (_TISSUE, ("SCT", "272673000", "Bone")),
}
NODULE_TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^27925004^Nodule~^^"
    "~Anatomic codes - DICOM master list~^^~^^"
)
"""Of a nodule's segment, as segments keep it."""


def codes_of(entry: TissueClass) -> tuple[_Code, _Code]:
    """Return category and type (scheme, value, meaning) of a class in SNOMED CT or DICOM; what is not known: tissue."""
    return _SOURCES.get(entry.source) or _NAMES.get(entry.name.casefold(), (_TISSUE, _TISSUE))


def set_classes(node: slicer.vtkMRMLLabelMapVolumeNode, table: ClassTable) -> None:
    """Give a label map node its classes: written into it, and as a colour table of its own.

    What no other class takes, and what is outside the body, is transparent. A Slicer whose colour tables know no
    terminology gets names and colours alone.
    """
    node.SetAttribute(CLASSES_ATTRIBUTE, json.dumps(table.to_dict(), ensure_ascii=False))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    colours = display.GetColorNode()
    if colours is None or colours.GetAttribute(CLASSES_ATTRIBUTE) is None:
        name = slicer.mrmlScene.GenerateUniqueName(f"{node.GetName()} classes")
        colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
        colours.SetAttribute(CLASSES_ATTRIBUTE, table.name)
    state = colours.StartModify()
    try:
        colours.SetTypeToUser()
        colours.HideFromEditorsOff()
        colours.SetNumberOfColors(max(entry.index for entry in table.classes) + 1)
        for entry in table.classes:
            opacity = 0.0 if entry.source in ("rest", "outside") else 1.0
            colours.SetColor(entry.index, entry.name, *(value / 255 for value in entry.colour), opacity)
            if hasattr(colours, "SetTerminology"):
                category, kind = codes_of(entry)
                colours.SetTerminology(entry.index, *category, *kind)
        if hasattr(colours, "NamesInitialisedOn"):
            colours.NamesInitialisedOn()
    finally:
        colours.EndModify(state)
    display.SetAndObserveColorNodeID(colours.GetID())


def classes_of(node: slicer.vtkMRMLLabelMapVolumeNode) -> ClassTable | None:
    """Return the classes that are written into a label map node, or None where none are.

    Raises
    ------
    UserError
        Naming the node, where what is written there is damaged.
    """
    text = node.GetAttribute(CLASSES_ATTRIBUTE)
    if not text:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"The classes of {node.GetName()} are damaged.", f"{error}.", "Make it anew.") from error
    return parse_class_table(content, f"the label map {node.GetName()}")


def show_labels(
    labels: slicer.vtkMRMLLabelMapVolumeNode, ct: slicer.vtkMRMLScalarVolumeNode | None, outline: bool, opacity: float
) -> None:
    """Show a label map over its CT in all slice views, in outline or filled; empty views are fitted to it."""
    scene = slicer.mrmlScene
    empty = False
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        view = scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        empty = empty or (view.GetBackgroundVolumeID() is None and view.GetLabelVolumeID() is None)
        if ct is not None:
            view.SetBackgroundVolumeID(ct.GetID())
        view.SetLabelVolumeID(labels.GetID())
        view.SetLabelOpacity(opacity)
    set_outline(outline)
    if empty and slicer.app.layoutManager() is not None:
        slicer.util.resetSliceViews()


def set_outline(outline: bool) -> None:
    """Show label maps in outline, or filled, in all slice views."""
    scene = slicer.mrmlScene
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        scene.GetNthNodeByClass(number, "vtkMRMLSliceNode").SetUseLabelOutline(outline)
