"""``slicer.modules``: the logics of Slicer's own modules, and scripted modules read from their files."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer

from .facade import Facade
from .mrml_widgets import qSlicerScriptedLoadableModuleWidget
from .pythonqt import wrap

LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}
"""Modules of Slicer whose logic is in slicer-core and used here."""


class LoadableModule(Facade):
    """A module of Slicer that is only a logic here."""

    FACTS = "slicer.qSlicerScriptedLoadableModule"

    def __init__(self, name: str, application_logic: Any):
        self.name = name
        self._logic = getattr(slicer, LOGICS[name])()
        self._logic.SetMRMLApplicationLogic(application_logic)
        application_logic.SetModuleLogic(name, self._logic)
        self._logic.SetMRMLScene(slicer.mrmlScene)

    def logic(self) -> Any:
        """Return the module's logic."""
        return self._logic


class ScriptedModule(Facade):
    """A scripted module: what its class gets as ``parent`` and what ``slicer.modules.<name>`` is."""

    FACTS = "slicer.qSlicerScriptedLoadableModule"

    def __init__(self, path: Path):
        self.path = str(path)
        self.name = path.stem
        self.title = ""
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.helpText = ""
        self.acknowledgementText = ""
        self.hidden = False
        self.icon = None
        self._frame: Any = None

    def widgetRepresentation(self) -> Any:
        """Return the module's panel, built at the first call."""
        if self._frame is None:
            self._frame = qSlicerScriptedLoadableModuleWidget(self)
            self._frame.setObjectName(f"{self.name}ModuleWidget")
            self.build_widget(self._frame)
        return wrap(self._frame)

    def build_widget(self, frame: qSlicerScriptedLoadableModuleWidget) -> None:
        """Make the Python widget of the module in its frame."""
        widget_class = getattr(sys.modules[self.name], f"{self.name}Widget")
        widget = widget_class(wrap(frame))
        frame._python_widget = widget
        setattr(slicer.modules, f"{self.name}Widget", widget)
        widget.setup()
        frame.setMRMLScene(slicer.mrmlScene)

    def logic(self) -> Any:
        """Return the C++ logic, of which a scripted module has none here."""
        return None


class Modules:
    """``slicer.modules``: one attribute per module, in lower case."""

    def __init__(self, application_logic: Any):
        for name in LOGICS:
            setattr(self, name.lower(), LoadableModule(name, application_logic))


class ModuleManager(Facade):
    """``slicer.app.moduleManager()``."""

    FACTS = "slicer.qSlicerModuleManager"

    def module(self, name: str) -> Any:
        """Return a module by its name, or None."""
        return getattr(slicer.modules, name.lower(), None)

    def factoryManager(self) -> "ModuleManager":
        """Return what knows the names of the modules."""
        return self

    def loadedModuleNames(self) -> tuple[str, ...]:
        """Return the names of all modules."""
        modules = (LoadableModule, ScriptedModule)
        return tuple(module.name for module in vars(slicer.modules).values() if isinstance(module, modules))


def load_module(path: str | Path) -> ScriptedModule:
    """Read a scripted module's file and make its module object, as Slicer does at start-up."""
    path = Path(path).resolve()
    known = getattr(slicer.modules, path.stem.lower(), None)
    if known is not None:
        return known
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    python_module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = python_module
    spec.loader.exec_module(python_module)
    module = ScriptedModule(path)
    instance = getattr(python_module, path.stem)(module)
    setattr(slicer.modules, f"{path.stem}Instance", instance)
    setattr(slicer.modules, path.stem.lower(), module)
    return module
