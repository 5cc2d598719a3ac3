"""What a result says of itself, and where it goes in Slicer's Data tree: into the study of the volume it came from."""

from __future__ import annotations

import slicer

MODEL_ATTRIBUTE = "SyntheticCT.Model"
USE_ATTRIBUTE = "SyntheticCT.Use"
USE = "Research only. Not for clinical use: this is not a medical device."
INPUT_REFERENCE = "SyntheticCTInput"


def sign(
    node: slicer.vtkMRMLVolumeNode,
    model: str,
    name: str,
    source: slicer.vtkMRMLVolumeNode | None,
    what: str = "Synthetic CT",
) -> None:
    """Write into a result which model made it, from what, that it is in HU and that it is for research only.

    Parameters
    ----------
    name
        Of the volume that was translated.
    source
        That volume, where it is still in the scene: the result joins its study.
    what
        The result is, for its description.
    """
    node.SetAttribute(MODEL_ATTRIBUTE, model)
    node.SetAttribute(USE_ATTRIBUTE, USE)
    node.SetDescription(f"{what} of {name} by {model}. {USE}")
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    if source is not None:
        node.SetNodeReferenceID(INPUT_REFERENCE, source.GetID())
        place_beside(node, source)


def place_beside(node: slicer.vtkMRMLNode, reference: slicer.vtkMRMLNode) -> None:
    """Put ``node`` into the subject-hierarchy folder (study, patient) that ``reference`` is in.

    A node that the user has already put into a folder stays there.
    """
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if tree is None:
        return
    item = _item(tree, node)
    if tree.GetItemParent(item) == tree.GetSceneItemID():
        tree.SetItemParent(item, tree.GetItemParent(_item(tree, reference)))


def of_another(result: slicer.vtkMRMLVolumeNode | None, source: slicer.vtkMRMLVolumeNode | None) -> bool:
    """Whether ``result`` was made of another volume than ``source``: it is another patient's and is not replaced."""
    made_of = result.GetNodeReference(INPUT_REFERENCE) if result is not None else None
    return made_of is not None and source is not None and made_of.GetID() != source.GetID()


def _item(tree: slicer.vtkMRMLSubjectHierarchyNode, node: slicer.vtkMRMLNode) -> int:
    """The node's item, made where no plugin has done so yet."""
    item = tree.GetItemByDataNode(node)
    return item or tree.CreateItem(tree.GetSceneItemID(), node)
