"""Which widget can show which parameter, and how it is read and written."""

import enum
import pathlib
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .parameter_nodes import Choice, Decimals, Maximum, Minimum, Parameter, SingleStep, WithinRange


class Connector:
    """One widget bound to one parameter.

    Raises
    ------
    RuntimeError
        If Slicer has no connection between this kind of widget and this type.
    """

    def __init__(self, widget: Any, parameter: Parameter):
        self.widget, self.parameter = widget, parameter
        self._callback: Callable[[], None] | None = None
        self._choices: list[Any] = []
        self._value: str | None = None  # name of the Qt property that holds the value
        kind, widget_type = parameter.kind, type(widget)
        if kind is bool and widget_type is qt.QCheckBox:
            self._value, self._signal = "checked", "stateChanged"
        elif kind is bool and widget_type is qt.QPushButton:
            widget.checkable = True
            self._value, self._signal = "checked", "toggled"
        elif kind is int and widget_type in (qt.QSlider, qt.QSpinBox):
            self._value, self._signal = "value", "valueChanged"
            self._bound(qt.QSlider, -(2**31), 2**31 - 1)
        elif kind in (int, float) and widget_type is qt.QDoubleSpinBox:
            self._value, self._signal = "value", "valueChanged"
            self._bound((), float("-inf"), float("inf"))
        elif widget_type in (qt.QComboBox, ctk.ctkComboBox) and (kind in (int, float, str, bool) or self._is_enum):
            self._signal = "currentIndexChanged"
            self._fill()
        elif kind is str and widget_type is qt.QLineEdit:
            self._value, self._signal = "text", "textChanged"
        elif kind is str and widget_type is qt.QLabel:
            self._value, self._signal = "text", ""
        elif isinstance(kind, type) and issubclass(kind, pathlib.PurePath) and widget_type is ctk.ctkPathLineEdit:
            self._value, self._signal = "currentPath", "currentPathChanged"
        elif parameter.is_node and widget_type is slicer.qMRMLNodeComboBox:
            self._signal = "currentNodeChanged"
            widget.nodeTypes = tuple(node_class().GetClassName() for node_class in parameter.kinds)
        else:
            raise RuntimeError(f"Unable to create GUI connector from datatype '{kind}' to widget type '{widget_type}'.")

    @property
    def _is_enum(self):
        return isinstance(self.parameter.kind, type) and issubclass(self.parameter.kind, enum.Enum)

    def _bound(self, needs_bounds, lowest, highest):
        step, decimals, span = (self.parameter.find(item) for item in (SingleStep, Decimals, WithinRange))
        low, high = self.parameter.find(Minimum), self.parameter.find(Maximum)
        if isinstance(self.widget, needs_bounds) and span is None and (low is None or high is None):
            raise RuntimeError("Cannot have a connection to QSlider where the int type is unbounded.")
        if step is not None:
            self.widget.singleStep = step.value
        if type(self.widget) is qt.QDoubleSpinBox and (self.parameter.kind is int or decimals is not None):
            self.widget.decimals = 0 if self.parameter.kind is int else decimals.value
        self.widget.minimum = span.minimum if span else low.minimum if low else lowest
        self.widget.maximum = span.maximum if span else high.maximum if high else highest

    def _fill(self):
        choice = self.parameter.find(Choice)
        if choice is None and not self._is_enum:
            raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
        self._choices = list(self.parameter.kind) if self._is_enum else list(choice.choices)
        self.widget.clear()
        for item in self._choices:
            label = (
                getattr(self.parameter.kind, "label", lambda member: member.name)(item) if self._is_enum else str(item)
            )
            self.widget.addItem(label)

    def connect(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the user changes the widget."""
        self._callback = callback
        if self._signal:
            getattr(self.widget, self._signal).connect(self._changed)

    def disconnect(self) -> None:
        """Forget the callback."""
        if self._signal:
            getattr(self.widget, self._signal).disconnect(self._changed)
        self._callback = None

    def _changed(self):
        if self._callback is not None:
            self._callback()

    def read(self) -> Any:
        """Return the widget's value as the parameter's type."""
        if self.parameter.is_node:
            return self.widget.currentNode()
        if self._value is None:
            return self._choices[self.widget.currentIndex]
        return self.parameter.kind(getattr(self.widget, self._value))

    def write(self, value: Any) -> None:
        """Show ``value``."""
        if self.parameter.is_node:
            self.widget.setCurrentNode(value)
        elif self._value is None:
            self.widget.currentIndex = self._choices.index(value)
        else:
            shown = str(value) if isinstance(value, pathlib.PurePath) else value
            if getattr(self.widget, self._value) != shown:
                setattr(self.widget, self._value, shown)
