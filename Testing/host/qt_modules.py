"""The ``qt`` and ``ctk`` modules: the classes a real Slicer shows, and no others."""

import sys
import types

from PySide6 import QtCore, QtGui, QtWidgets

from . import ctk_widgets, facts
from .attributes import override
from .pythonqt import proxy_class
from .signals import guarded

# In PythonQt, and called by slicer.util, though no facts were recorded for them.
_UNRECORDED = ("Qt", "QCursor", "QFile", "QLocale", "QStatusBar", "QSysInfo", "QDockWidget", "QToolBar", "QMenuBar")


class _QtModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if f"qt.{name}" not in facts.facts() and name not in _UNRECORDED:
            raise AttributeError(f"module 'qt' has no attribute '{name}' among the facts recorded from Slicer")
        for module in (QtCore, QtGui, QtWidgets):
            if hasattr(module, name):
                return proxy_class(getattr(module, name))
        raise AttributeError(f"'qt.{name}' exists in Qt 5 only")


class _CtkModule(types.ModuleType):
    def __getattr__(self, name):
        if name in ctk_widgets.CLASSES:
            return proxy_class(ctk_widgets.CLASSES[name])
        raise AttributeError(f"module 'ctk' has no attribute '{name}' in this host")


@override("QTimer", "singleShot")
def _single_shot(real, msec, function):
    QtCore.QTimer.singleShot(msec, guarded(function))


def install() -> None:
    """Make ``import qt`` and ``import ctk`` work."""
    sys.modules["qt"] = _QtModule("qt")
    sys.modules["ctk"] = _CtkModule("ctk")
