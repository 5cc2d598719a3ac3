"""``slicer.app.coreIOManager()``: volumes and scenes from and to files, through MRML's own storage nodes."""

from pathlib import Path
from typing import Any

import slicer
import vtk

from .facade import Facade


class CoreIOManager(Facade):
    """Reads and writes for ``slicer.util``."""

    FACTS = "slicer.qSlicerCoreIOManager"

    def fileType(self, filename: str) -> str:
        """Return the kind of file: a scene or a volume."""
        return "SceneFile" if str(filename).lower().endswith((".mrml", ".mrb")) else "VolumeFile"

    def fileWriterFileType(self, node: Any) -> str:
        """Return how a node is written: by its storage node."""
        return "NodeFile"

    def loadNodes(self, file_type: str, properties: dict, loaded: Any, messages: Any = None) -> bool:
        """Load a file into the scene; the nodes are added to the collection ``loaded``."""
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return _load_scene(path, bool(properties.get("clear")))
        if file_type != "VolumeFile":
            raise RuntimeError(f"the host does not read a {file_type}")
        node = _load_volume(path, properties)
        if node is not None:
            loaded.AddItem(node)
        elif messages is not None:
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"cannot read {path} as a volume")
        return node is not None

    def saveNodes(self, file_type: str, properties: dict, messages: Any = None) -> bool:
        """Write a node, or the scene, to a file."""
        path = str(properties["fileName"])
        scene = slicer.mrmlScene
        if file_type == "SceneFile":
            if path.lower().endswith(".mrb"):
                return bool(scene.WriteToMRB(path))
            scene.SetURL(path)
            scene.SetRootDirectory(str(Path(path).parent))
            return bool(scene.Commit())
        node = scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(int(properties.get("useCompression", True)))
        return bool(storage.WriteData(node))


def _load_scene(path, clear):
    scene = slicer.mrmlScene
    if path.lower().endswith(".mrb"):
        return bool(scene.ReadFromMRB(path, clear))
    scene.SetURL(path)
    scene.SetRootDirectory(str(Path(path).parent))
    return bool(scene.Connect() if clear else scene.Import())


def _load_volume(path, properties):
    flags = {"labelmap": 1, "center": 2, "singleFile": 4, "autoWindowLevel": 8, "discardOrientation": 16}
    options = sum(bit for name, bit in flags.items() if properties.get(name, name == "autoWindowLevel"))
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    name = properties.get("name") or storage.GetFileNameWithoutExtension(Path(path).name)
    node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
    if node is not None and properties.get("show", True):
        logic = slicer.app.applicationLogic()
        if properties.get("labelmap"):
            logic.GetSelectionNode().SetActiveLabelVolumeID(node.GetID())
        else:
            logic.GetSelectionNode().SetActiveVolumeID(node.GetID())
        logic.PropagateVolumeSelection()
    return node
