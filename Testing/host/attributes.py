"""What ``object.name`` is in PythonQt: a property's value, a signal, a method, an enum value, or an AttributeError."""

import enum
import keyword
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui

from . import facts, pythonqt, signals

_overrides: dict[tuple[str, str], Any] = {}


def override(class_name: str, attribute: str) -> Callable[[Callable], Callable]:
    """Register ``function(real, *args)`` to be called in place of a Qt method (``real`` is None when static)."""

    def register(function):
        _overrides[class_name, attribute] = function
        return function

    return register


def shown(real_type: type) -> tuple[frozenset[str], frozenset[str] | None] | None:
    """Return the facts of the nearest class that has some, None where anything may be read."""
    for base in real_type.__mro__:
        if (found := facts.shown(base.__name__)) is not None:
            return found if base.__name__ not in ("QObject", "QWidget") or base is real_type else None
    return None


def require_shown(real_type: type, name: str) -> None:
    """Raise AttributeError where a real Slicer does not show ``name``."""
    known = shown(real_type)
    if known is not None and name not in known[0]:
        raise AttributeError(f"'{real_type.__name__}' object has no attribute '{name}' in Slicer")


def require_alive(real: Any, name: str) -> None:
    """Raise ValueError, as PythonQt does, where the C++ object has gone."""
    if isinstance(real, QtCore.QObject) and not shiboken6.isValid(real):
        raise ValueError(f"Trying to read '{name}' of a destroyed {type(real).__name__} object")


def _qt_name(real, name):
    """PythonQt's aliases: ``exec_`` for exec, ``raise_`` for raise, ``name`` for objectName."""
    if name.endswith("_") and (keyword.iskeyword(name[:-1]) or name in ("exec_", "print_")):
        name = name[:-1]
    if name == "name" and isinstance(real, QtCore.QObject) and real.metaObject().indexOfProperty("name") < 0:
        name = "objectName"
    return name


def _property_index(real, name):
    if not isinstance(real, QtCore.QObject):
        return -1
    known = shown(type(real))
    if known is not None and known[1] is not None and name not in known[1]:
        return -1
    return real.metaObject().indexOfProperty(name)


def class_attribute(real_type: type, name: str) -> Any:
    """Return the flat enum value, static function or unbound method of a class, or None."""
    for base in real_type.__mro__:
        for value in vars(base).values():
            if isinstance(value, enum.EnumMeta) and name in value.__members__:
                return int(value.__members__[name].value)
        if isinstance(vars(base).get(name), enum.EnumMeta):
            return type(name, (int,), {})
        if (base.__name__, name) in _overrides:
            return lambda *args: pythonqt.wrap(_overrides[base.__name__, name](None, *args))
    function = getattr(real_type, name, None)
    if callable(function):
        return lambda *args: pythonqt.wrap(pythonqt.call(f"{real_type.__name__}.{name}", function, args))
    return None


def read(real: Any, name: str) -> Any:
    """Return what ``object.name`` is in PythonQt."""
    name = _qt_name(real, name)
    require_alive(real, name)
    require_shown(type(real), name)
    if isinstance(real, QtCore.QObject):
        if (special := _OBJECT_METHODS.get(name)) is not None:
            return lambda *args: pythonqt.wrap(special(real, *args))
        if _property_index(real, name) >= 0:
            return pythonqt.wrap(_property_value(real, name))
        if signals.has_signal(real, name):
            return signals.SignalOf(real, name)
    for base in type(real).__mro__:
        if (base.__name__, name) in _overrides:
            return lambda *args: pythonqt.wrap(_overrides[base.__name__, name](real, *args))
    function = getattr(real, name + "_" if keyword.iskeyword(name) else name, None)
    if callable(function) and not isinstance(function, enum.EnumMeta):
        return pythonqt.BoundMethod(real, name, function)
    if (constant := class_attribute(type(real), name)) is not None:
        return constant
    raise AttributeError(f"'{type(real).__name__}' object has no attribute '{name}' (in Qt 6 or in this host)")


def _property_value(real, name):
    try:
        return real.property(name)
    except RuntimeError:  # a flags type that PySide6 cannot take out of a QVariant
        for getter in (name, f"is{name[0].upper()}{name[1:]}", f"has{name[0].upper()}{name[1:]}"):
            if callable(getattr(real, getter, None)):
                return getattr(real, getter)()
        raise


_ACCEPTED = {"QString": str, "bool": (bool, int), "int": int, "double": (int, float), "QStringList": (list, tuple)}


def write(real: Any, name: str, value: Any) -> None:
    """Set a Qt property; anything else is an AttributeError, as with PythonQt."""
    name = _qt_name(real, name)
    require_alive(real, name)
    require_shown(type(real), name)
    index = _property_index(real, name)
    if index < 0:
        raise AttributeError(f"'{type(real).__name__}': '{name}' is no property, it cannot be set on a C++ object")
    meta = real.metaObject().property(index)
    if not meta.isWritable():
        raise AttributeError(f"Property '{name}' of '{type(real).__name__}' object is not writable")
    accepted = _ACCEPTED.get(meta.typeName(), object)
    if not isinstance(value, accepted) or not _set_property(real, name, pythonqt.unwrap(value)):
        raise AttributeError(
            f"Property '{name}' of type '{meta.typeName()}' does not accept an object of type "
            f"{type(value).__name__} ({value!r})"
        )


def _set_property(real, name, value):
    if isinstance(getattr(type(real), name, None), QtCore.Property):
        setattr(real, name, value)
        return True
    return real.setProperty(name, rich_tool_tip(value) if name == "toolTip" else value)


def rich_tool_tip(text: str) -> str:
    """Return a tool tip as Slicer stores it: plain text becomes a paragraph, so that it wraps."""
    return text if not text or QtGui.Qt.mightBeRichText(text) else f"<p>{text}</p>"


@override("QWidget", "setToolTip")
def _set_tool_tip(real, text):
    real.setToolTip(rich_tool_tip(text))


def _find(real, kind, name, one):
    kind = kind if isinstance(kind, str) else kind._real_type.__name__ if isinstance(kind, pythonqt.ProxyType) else ""
    found = [
        child
        for child in real.findChildren(QtCore.QObject)
        if (not kind or any(base.__name__ == kind for base in type(child).__mro__))
        and (not name or child.objectName() == name)
    ]
    return (found[0] if found else None) if one else found


_OBJECT_METHODS = {
    "connect": lambda real, signature, *receiver: signals.connect(real, signature, *receiver),
    "disconnect": lambda real, signature, *receiver: signals.disconnect(real, signature, *receiver),
    "className": lambda real: type(real).__name__,
    "delete": lambda real: shiboken6.delete(real),
    "findChild": lambda real, kind=None, name="": _find(real, kind, name, True),
    "findChildren": lambda real, kind=None, name="": _find(real, kind, name, False),
    "inherits": lambda real, name: any(base.__name__ == name for base in type(real).__mro__),
}
