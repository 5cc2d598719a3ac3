"""``slicer.parameterNodeWrapper``: typed attributes stored in a ``vtkMRMLScriptedModuleNode``, connected to widgets."""

import enum
import pathlib
import types
import typing
import weakref
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from .parameter_validators import (
    Choice,
    Decimals,
    Default,
    Exclude,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

SlicerParameterNamePropertyName = "SlicerParameterName"
_DEFAULTS = {str: "", int: 0, float: 0.0, bool: False}


@dataclass
class Parameter:
    """One typed attribute: how it is checked, written as text and read back."""

    name: str
    kind: Any
    optional: bool
    annotations: tuple[Any, ...]
    default: Any

    @property
    def is_node(self) -> bool:
        """Whether the value is an MRML node (kept as a node reference)."""
        return all(issubclass(kind, slicer.vtkMRMLNode) for kind in self.kinds)

    @property
    def kinds(self) -> tuple[type, ...]:
        """The classes that a value may have."""
        return self.kind if isinstance(self.kind, tuple) else (self.kind,)

    def find(self, annotation: type) -> Any:
        """Return the first annotation of a class, or None."""
        return next((item for item in self.annotations if isinstance(item, annotation)), None)

    @property
    def keys(self) -> list[str]:
        """What it is called in the node: of several types each has a name of its own, and so has None."""
        if not isinstance(self.kind, tuple):
            return [self.name]
        return [f"{self.name}.{number}" for number in range(len(self.kind) + self.optional)]

    def is_in(self, node: Any) -> bool:
        """Return whether the node holds this parameter."""
        return any(node.HasParameter(key) for key in self.keys)

    def read(self, node: Any) -> Any:
        """Return the value kept in the node (the default is written first where there is none)."""
        if not self.is_in(node):
            self.write(node, self.default)
        if self.is_node:
            return node.GetNodeReference(next(key for key in self.keys if node.HasParameter(key)))
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        return self.kind[text] if issubclass(self.kind, enum.Enum) else self.kind(text)

    def write(self, node: Any, value: Any) -> None:
        """Check ``value`` and keep it; TypeError or ValueError where it does not fit."""
        accepted = (int, float) if self.kind is float else self.kinds
        if value is None and isinstance(self.kind, tuple) and not self.optional:
            raise TypeError(f"Unable to write value 'None': {self.name} is a Union without None")
        if value is None and not self.is_node:
            raise ValueError("Value must not be None")
        if value is not None and not isinstance(value, accepted):
            raise TypeError(f"Value must be of type '{self.kind}', is type '{type(value)}' value '{value}'")
        for validator in self.annotations:
            if isinstance(validator, Validator):
                validator.validate(value)
        with slicer.util.NodeModify(node):
            if self.is_node:
                for key in self.keys if isinstance(self.kind, tuple) else ():
                    node.UnsetParameter(key)
                    node.RemoveNodeReferenceIDs(key)
                kind = next((n for n, kind in enumerate(self.kinds) if isinstance(value, kind)), -1)
                node.SetParameter(self.keys[kind], "")
                node.SetNodeReferenceID(self.keys[kind], value.GetID() if value is not None else None)
            else:
                node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))


def _parameter(owner, name, annotated):
    annotations = annotated.__metadata__ if hasattr(annotated, "__metadata__") else ()
    kind = annotated.__origin__ if annotations else annotated
    optional = False
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = typing.get_args(kind)
        optional = type(None) in members
        kind = tuple(member for member in members if member is not type(None))
        kind = kind[0] if len(kind) == 1 else kind
    kinds = kind if isinstance(kind, tuple) else (kind,)
    nodes = all(isinstance(item, type) and issubclass(item, slicer.vtkMRMLNode) for item in kinds)
    plain = isinstance(kind, type) and (kind in _DEFAULTS or issubclass(kind, enum.Enum | pathlib.PurePath))
    if not nodes and (not plain or optional):
        raise TypeError(f"{owner.__name__}.{name}: the host does not imitate parameters of type {annotated}")
    given = [item for item in annotations if isinstance(item, Default)]
    if hasattr(owner, name):
        default = getattr(owner, name)
    elif given:
        default = given[0].value
    elif nodes:
        default = None
    else:
        default = _DEFAULTS[kind] if kind in _DEFAULTS else next(iter(kind)) if issubclass(kind, enum.Enum) else kind()
    return Parameter(name, kind, optional, annotations, default)


class _Wrapper:
    """What the decorator adds to the class."""

    allParameters: typing.ClassVar[dict[str, Parameter]] = {}

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._guis = {}
        self._next_tag = 0
        self._updating = False
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)
        self._values = {}
        self._keep()
        keeper = weakref.WeakMethod(self._keep)
        parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: keeper() and keeper()())

    def _keep(self):
        """Read all values: as in Slicer what was read stays until the node says that it was changed."""
        self._values = {name: parameter.read(self.parameterNode) for name, parameter in self.allParameters.items()}

    def _checked(self, name):
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name} (found {sorted(self.allParameters)})")
        return self.allParameters[name]

    def getValue(self, name):
        return self._values[self._checked(name).name]

    def setValue(self, name, value):
        with slicer.util.NodeModify(self.parameterNode):
            self._checked(name).write(self.parameterNode, value)
            self._values[name] = self._checked(name).read(self.parameterNode)

    def default(self, name):
        return Default(self._checked(name).default)

    def connectGui(self, gui):
        """Connect every widget whose ``SlicerParameterName`` property names a parameter.

        Before Slicer 5.10 the tag that `disconnectGui` needs does not come back, and so it does not here.
        """
        import qt

        widgets = gui.findChildren(qt.QWidget) if hasattr(gui, "findChildren") else vars(gui).values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        from .parameter_widgets import Connector

        connectors = {name: Connector(widget, self._checked(name)) for name, widget in mapping.items()}
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(lambda name=name, connector=connector: self._from_widget(name, connector))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._to_widgets())
        self._guis[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag):
        if tag in self._guis:
            connectors, observer = self._guis.pop(tag)
            for connector in connectors.values():
                connector.disconnect()
            self.RemoveObserver(observer)

    def _from_widget(self, name, connector):
        if not self._updating:
            with slicer.util.NodeModify(self):
                self.setValue(name, connector.read())

    def _to_widgets(self):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for connectors, _ in self._guis.values():
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified):
        return self.parameterNode.EndModify(was_modified)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        return self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        return self.parameterNode.Modified()


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Make a class with annotated attributes a typed view of a parameter node (a class decorator)."""
    if classtype is None:
        return parameterNodeWrapper
    parameters = {
        name: _parameter(classtype, name, annotated)
        for name, annotated in typing.get_type_hints(classtype, include_extras=True).items()
    }
    for name, member in vars(_Wrapper).items():
        if name in parameters or (not name.startswith("__") and name != "allParameters" and name in vars(classtype)):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        if name == "__init__" or not name.startswith("__"):
            setattr(classtype, name, member)
    classtype.allParameters = parameters
    for name in parameters:
        getter = lambda self, name=name: self.getValue(name)  # noqa: E731
        setter = lambda self, value, name=name: self.setValue(name, value)  # noqa: E731
        setattr(classtype, name, property(getter, setter))
    return classtype


def isParameterNodeWrapper(thing: Any) -> bool:
    """Return whether a class or object was made by :func:`parameterNodeWrapper`."""
    return isinstance(getattr(thing, "allParameters", None), dict)
