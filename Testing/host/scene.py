"""The MRML scene as the application sets it up: colours, data cache, slice nodes, subject hierarchy."""

from pathlib import Path
from typing import Any

import slicer
import vtk

_IN_TREE = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLModelNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
)
ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


def make_scene(temporary: Path) -> tuple[Any, Any]:
    """Return the scene and the application logic, also as ``slicer.mrmlScene``.

    Parameters
    ----------
    temporary
        Folder for what MRML writes while it reads and writes scene bundles.
    """
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(str(temporary / "cache"))
    (temporary / "cache").mkdir(parents=True, exist_ok=True)
    data_manager = slicer.vtkDataIOManager()
    data_manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(data_manager)
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetTemporaryPath(str(temporary))
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.SetModuleLogic("Colors", logic.GetColorLogic())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    _add_slice_logics(scene, logic)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, _on_node_added)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, _on_node_about_to_be_removed)
    scene.GetSubjectHierarchyNode()
    return scene, logic


def _add_slice_logics(scene, logic):
    logics = vtk.vtkCollection()
    for name, orientation in ORIENTATIONS.items():
        slice_logic = slicer.vtkMRMLSliceLogic()
        slice_logic.SetMRMLApplicationLogic(logic)
        slice_logic.SetMRMLScene(scene)
        node = slice_logic.AddSliceNode(name)
        node.SetOrientation(orientation)
        node.SetName(name)
        logics.AddItem(slice_logic)
    logic.SetSliceLogics(logics)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_node_added(scene, event, node):
    """Put data nodes into the subject hierarchy, which Slicer's Qt plugins do."""
    if scene.IsBatchProcessing() or node.GetHideFromEditors() or not any(node.IsA(kind) for kind in _IN_TREE):
        return
    tree = scene.GetSubjectHierarchyNode()
    if tree is not None and not tree.GetItemByDataNode(node):
        tree.CreateItem(tree.GetSceneItemID(), node)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _on_node_about_to_be_removed(scene, event, node):
    if node.IsA("vtkMRMLSubjectHierarchyNode"):  # a loaded scene's, merged into the one that is there
        return
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if tree is not None and not scene.IsClosing() and tree.GetItemByDataNode(node):
        tree.RemoveItem(tree.GetItemByDataNode(node), False, False)
