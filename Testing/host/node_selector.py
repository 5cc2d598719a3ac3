"""``qMRMLNodeComboBox``: a combo box that follows the nodes of a scene."""

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .dialogs import get_text
from .node_filter import NodeFilter

_NO_NODE = ""
_ACTION = QtCore.Qt.ItemDataRole.UserRole + 1


def _flag(name):
    def write(self, value):
        if self._flags[name] != bool(value):
            self._flags[name] = bool(value)
            self._rebuild()

    return QtCore.Property(bool, lambda self: self._flags[name], write)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Select, create, rename and delete nodes of some classes."""

    SIGNAL_OVERLOADS = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "currentNodeValidityChanged",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    currentNodeChanged = QtCore.Signal(object)
    currentNodeValidityChanged = QtCore.Signal(bool)
    currentNodeIDChanged = QtCore.Signal(str)
    currentNodeRenamed = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)

    addEnabled = _flag("addEnabled")
    noneEnabled = _flag("noneEnabled")
    removeEnabled = _flag("removeEnabled")
    renameEnabled = _flag("renameEnabled")
    selectNodeUponCreation = _flag("selectNodeUponCreation")

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene: Any = None
        self._filter = NodeFilter()
        self._observed: list[tuple[Any, int]] = []
        self._node_tags: dict[str, tuple[Any, int]] = {}
        self._requested_id = _NO_NODE
        self._current_id = _NO_NODE
        self._base_names: dict[str, str] = {}
        names = ("addEnabled", "noneEnabled", "removeEnabled", "renameEnabled", "selectNodeUponCreation")
        self._flags = {name: name not in ("noneEnabled", "renameEnabled") for name in names}
        self._none_display = "None"
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._combo.setMinimumContentsLength(10)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._on_activated)
        self.setEnabled(False)
        self.destroyed.connect(self._forget_scene)

    def mrmlScene(self) -> Any:
        """Return the scene, or None."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Follow ``scene``; a node asked for before is selected now."""
        if scene is self._scene:
            return
        self._forget_scene()
        self._scene = scene
        self.setEnabled(scene is not None)
        for event, method in (
            (slicer.vtkMRMLScene.NodeAddedEvent, self._on_node_added),
            (slicer.vtkMRMLScene.NodeRemovedEvent, self._on_scene_changed),
            (slicer.vtkMRMLScene.EndBatchProcessEvent, self._on_scene_changed),
        ):
            if scene is not None:
                self._observed.append((scene, scene.AddObserver(event, method)))
        requested, self._requested_id = self._requested_id, _NO_NODE
        self._rebuild()
        if requested:
            self.setCurrentNodeID(requested)

    def _forget_scene(self):
        for observed, tag in [*self._observed, *self._node_tags.values()]:
            observed.RemoveObserver(tag)
        self._observed.clear()
        self._node_tags.clear()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, caller, event, node):
        if not self._scene.IsBatchProcessing() and self._filter.accepts(node):
            self._rebuild()

    def _on_scene_changed(self, caller=None, event=None):
        if not self._scene.IsBatchProcessing():
            self._rebuild()

    def nodeCount(self) -> int:
        """Return the number of nodes to choose from."""
        return len(self._filter.nodes(self._scene))

    def nodeFromIndex(self, index: int) -> Any:
        """Return the ``index``-th node, or None."""
        nodes = self._filter.nodes(self._scene)
        return nodes[index] if 0 <= index < len(nodes) else None

    def nodeTypeLabel(self, node_type: str) -> str:
        """Return the word for nodes of ``node_type`` in the menu."""
        known = self._scene.GetTypeDisplayNameByClassName(node_type) if self._scene and node_type else ""
        return known or "node"

    def _actions(self):
        kinds = self._filter.node_types
        label = self.nodeTypeLabel(kinds[0] if len(kinds) == 1 else "")
        if self._flags["renameEnabled"]:
            yield f"Rename current {label}", self.renameCurrentNode
        for kind in kinds if self._flags["addEnabled"] else ():
            yield f"Create new {self.nodeTypeLabel(kind)}", lambda kind=kind: self.addNode(kind)
            if self._flags["renameEnabled"]:
                yield f"Create new {self.nodeTypeLabel(kind)} as...", lambda kind=kind: self._create_as(kind)
        if self._flags["removeEnabled"]:
            yield f"Delete current {label}", self.removeCurrentNode

    def _rebuild(self):
        nodes = self._filter.nodes(self._scene)
        actions = list(self._actions()) if self._scene is not None else []
        with QtCore.QSignalBlocker(self._combo):
            self._combo.clear()
            self._combo.setPlaceholderText(f"Select a {self.nodeTypeLabel((self._filter.node_types or [''])[0])}")
            if self._flags["noneEnabled"]:
                self._combo.addItem(self._none_display, _NO_NODE)
            for node in nodes:
                self._combo.addItem(node.GetName() or "", node.GetID())
            if actions:
                self._combo.insertSeparator(self._combo.count())
            for text, action in actions:
                self._combo.addItem(text, None)
                self._combo.setItemData(self._combo.count() - 1, action, _ACTION)
        ids = [node.GetID() for node in nodes]
        self._observe_names(nodes, ids)
        if self._current_id in ids:
            wanted = self._current_id
        elif not self._flags["noneEnabled"] and ids and (self._current_id or not actions):
            wanted = ids[-1]  # the current node went away, or this is the first entry of an empty list
        else:
            wanted = _NO_NODE
        self._select(wanted)

    def _observe_names(self, nodes, ids):
        for node in nodes:
            if node.GetID() not in self._node_tags:
                tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_node_modified)
                self._node_tags[node.GetID()] = (node, tag)
        for gone in [node_id for node_id in self._node_tags if node_id not in ids]:
            node, tag = self._node_tags.pop(gone)
            node.RemoveObserver(tag)

    def _on_node_modified(self, node, event):
        index = self._combo.findData(node.GetID())
        if index >= 0 and self._combo.itemText(index) != (node.GetName() or ""):
            self._combo.setItemText(index, node.GetName() or "")

    def _select(self, node_id):
        index = self._combo.findData(node_id) if node_id or self._flags["noneEnabled"] else -1
        with QtCore.QSignalBlocker(self._combo):
            self._combo.setCurrentIndex(index)
        if node_id == self._current_id:
            return
        self._current_id = node_id
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self.currentNodeValidityChanged.emit(node is not None)
        self.currentNodeIDChanged.emit(node_id)

    def currentNode(self) -> Any:
        """Return the selected node, or None."""
        return self._scene.GetNodeByID(self._current_id) if self._scene is not None and self._current_id else None

    def setCurrentNode(self, node: Any) -> None:
        """Select ``node``; None, or a node that is not listed, selects nothing."""
        self.setCurrentNodeID(node.GetID() if node is not None else _NO_NODE)

    def setCurrentNodeID(self, node_id: str | None) -> None:
        """Select the node with this ID."""
        if self._scene is None:
            self._requested_id = node_id or _NO_NODE
            return
        listed = node_id and self._combo.findData(node_id) >= 0
        self._select(node_id if listed else _NO_NODE)

    def setCurrentNodeIndex(self, index: int) -> None:
        """Select the ``index``-th node; nothing when there is none."""
        self.setCurrentNode(self.nodeFromIndex(index))

    def _on_activated(self, index):
        action = self._combo.itemData(index, _ACTION)
        if action is None:
            self._select(self._combo.itemData(index) or _NO_NODE)
            self.nodeActivated.emit(self.currentNode())
        else:
            self._select(self._current_id)
            action()

    def addNode(self, node_type: str | None = None) -> Any:
        """Create a node of ``node_type`` (the first type), name it after ``baseName`` and select it."""
        node_type = node_type or (self._filter.node_types or [None])[0]
        if node_type not in self._filter.node_types or self._scene is None:
            return None
        node = self._scene.CreateNodeByClass(node_type)
        node.UnRegister(None)
        base_name = self._base_names.get(node_type) or node.GetName() or node.GetDefaultNodeNamePrefix()
        node.SetName(self._scene.GetUniqueNameByString(base_name))
        node = self._scene.AddNode(node)
        if self._flags["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _create_as(self, node_type):
        name = get_text(None, self, f"Create new {self.nodeTypeLabel(node_type)}", "New name:")
        if name:
            self.addNode(node_type).SetName(name)

    def renameCurrentNode(self) -> None:
        """Ask for a new name."""
        node = self.currentNode()
        name = get_text(None, self, f"Rename {self.nodeTypeLabel(node.GetClassName())}", "New name:") if node else ""
        if name:
            node.SetName(name)
            self.currentNodeRenamed.emit(name)

    def removeCurrentNode(self) -> None:
        """Delete the selected node from the scene."""
        if self.currentNode() is not None:
            self._scene.RemoveNode(self.currentNode())

    def _refiltered(self, name, value):
        setattr(self._filter, name, value)
        self._rebuild()

    def _set_base_name(self, name):
        self._base_names.update(dict.fromkeys(self._filter.node_types, name))

    def _set_none_display(self, text):
        self._none_display = text
        self._rebuild()

    nodeTypes = QtCore.Property(
        "QStringList",
        lambda self: self._filter.node_types,
        lambda self, value: self._refiltered("node_types", [kind for kind in value if kind]),
    )
    showChildNodeTypes = QtCore.Property(
        bool, lambda self: self._filter.child_types, lambda self, value: self._refiltered("child_types", bool(value))
    )
    showHidden = QtCore.Property(
        bool, lambda self: self._filter.hidden, lambda self, value: self._refiltered("hidden", bool(value))
    )
    baseName = QtCore.Property(
        str, lambda self: self._base_names.get((self._filter.node_types or [""])[0], ""), _set_base_name
    )
    noneDisplay = QtCore.Property(str, lambda self: self._none_display, _set_none_display)
    currentNodeID = QtCore.Property(str, lambda self: self._current_id, setCurrentNodeID)
