"""``.ui`` files through QUiLoader, with the qMRML and ctk widgets of this host and their connections."""

import logging
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets, mrml_widgets, signals
from .attributes import read, rich_tool_tip
from .node_selector import qMRMLNodeComboBox
from .pythonqt import Proxy, wrap

WIDGETS = {**ctk_widgets.CLASSES, **mrml_widgets.CLASSES, "qMRMLNodeComboBox": qMRMLNodeComboBox}


class _Loader(QtUiTools.QUiLoader):
    def __init__(self):
        super().__init__()
        self.made = []

    def createWidget(self, class_name, parent=None, name=""):
        if class_name in WIDGETS:
            widget = WIDGETS[class_name](parent)
            widget.setObjectName(name)
        elif class_name.startswith(("qMRML", "qSlicer", "ctk")):
            raise RuntimeError(f"{class_name} is not among the host's widgets: {', '.join(sorted(WIDGETS))}")
        else:
            widget = super().createWidget(class_name, parent, name)
        self.made.append(widget)
        return widget


def load_ui(path: str) -> Proxy:
    """Return the widget described by a ``.ui`` file.

    Raises
    ------
    RuntimeError
        If the file is missing, cannot be loaded, or sets a property that the class does not have.
    """
    if not Path(path).is_file():
        raise RuntimeError(f"Could not load UI file: file not found {path}\n\n")
    root = ElementTree.parse(path).getroot()
    connections = root.find("connections")
    if connections is not None:
        root.remove(connections)
    data = QtCore.QBuffer()
    data.setData(ElementTree.tostring(root))
    data.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    loader = _Loader()
    widget = loader.load(data)
    if widget is None:
        raise RuntimeError(f"Could not load UI file: {path}\n\n{loader.errorString()}")
    named = {
        child.objectName(): child for child in [widget, *widget.findChildren(QtCore.QObject)] if child.objectName()
    }
    _require_properties(root, named, path)
    for child in [widget, *widget.findChildren(QtWidgets.QWidget)]:
        child.setToolTip(rich_tool_tip(child.toolTip()))
    for connection in connections if connections is not None else ():
        sender, signal, receiver, slot = (connection.findtext(key) for key in ("sender", "signal", "receiver", "slot"))
        if not {sender, receiver} <= named.keys():
            logging.error("%s: connection from %s to %s: no such widget", path, sender, receiver)
            continue
        target = read(named[receiver], slot.split("(")[0])
        signals.connect(named[sender], signal, target)
    return wrap(widget)


def _require_properties(root, named, path):
    for element in root.iter("widget"):
        meta = named[element.get("name")].metaObject() if element.get("name") in named else None
        for prop in element.findall("property") if meta else ():
            if prop.get("stdset") != "0" and meta.indexOfProperty(prop.get("name")) < 0:
                raise RuntimeError(f"{path}: {element.get('class')} has no property {prop.get('name')}")
