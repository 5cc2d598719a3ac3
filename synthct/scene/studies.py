"""Where a result goes in Slicer's Data tree: into the study of the volume that it was made from."""

from __future__ import annotations

import slicer


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


def _item(tree: slicer.vtkMRMLSubjectHierarchyNode, node: slicer.vtkMRMLNode) -> int:
    """The node's item, made where no plugin has done so yet."""
    item = tree.GetItemByDataNode(node)
    return item or tree.CreateItem(tree.GetSceneItemID(), node)
