"""``qMRMLWidget`` and the frame that a scripted module's widget gets from Slicer."""

from typing import Any

from PySide6 import QtCore, QtWidgets


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene and tells its children through ``mrmlSceneChanged``."""

    SIGNAL_OVERLOADS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}  # noqa: RUF012
    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        """Return the scene, or None."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene and tell the children."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):
    """The same under the name used in some ``.ui`` files."""


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The widget that Slicer hands to a scripted module as ``parent``."""

    def __init__(self, module: Any, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._module = module
        self._python_widget: Any = None
        self._entered = False
        QtWidgets.QVBoxLayout(self)

    def self(self) -> Any:
        """Return the Python object of the module's widget class."""
        return self._python_widget

    def reload(self) -> None:
        """Build the module's widget anew, as the Reload button does."""
        self._module.build_widget(self)

    def module(self) -> Any:
        """Return the module."""
        return self._module

    moduleName = QtCore.Property(str, lambda self: self._module.name)

    def isEntered(self) -> bool:
        """Return whether the module is the one shown."""
        return self._entered

    def enter(self) -> None:
        """Tell the module that it is shown."""
        self._entered = True
        if hasattr(self._python_widget, "enter"):
            self._python_widget.enter()

    def exit(self) -> None:
        """Tell the module that another one is shown."""
        self._entered = False
        if hasattr(self._python_widget, "exit"):
            self._python_widget.exit()


CLASSES = {kind.__name__: kind for kind in (qMRMLWidget, qSlicerWidget)}
