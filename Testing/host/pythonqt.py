"""PySide6 objects shown in PythonQt's manner: properties are values, enums are plain ints, nothing else is allowed."""

import enum
import keyword
import types
from functools import cache
from pathlib import PurePath
from typing import Any
from weakref import WeakValueDictionary

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from shibokensupport.signature import get_signature

from . import facts, signals

_Wrapped = shiboken6.Shiboken.Object
_alive: WeakValueDictionary[int, "Proxy"] = WeakValueDictionary()
_overrides: dict[tuple[str, str], Any] = {}


def override(class_name: str, attribute: str):
    """Register ``function(real, *args)`` to be called in place of a Qt method (``real`` is None when static)."""

    def register(function):
        _overrides[class_name, attribute] = function
        return function

    return register


class _ProxyType(type):
    """The type of proxy classes: calling one makes a Qt object, its attributes are enums and static functions."""

    def __call__(cls, *args, **kwargs):
        if kwargs:
            raise TypeError(f"{cls.__name__}: PythonQt takes no keyword arguments")
        return wrap(call(cls.__name__, cls._real_type, args))

    def __getattr__(cls, name):
        if name.startswith("__") or name == "_real_type":
            raise AttributeError(name)
        _require_shown(cls._real_type, name)
        found = class_attribute(cls._real_type, name)
        if found is None:
            raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")
        return found

    def __setattr__(cls, name, value):
        raise AttributeError(f"no new attribute '{name}' on {cls.__name__}")


class Proxy(metaclass=_ProxyType):
    """A Qt object as PythonQt shows it."""

    __slots__ = ("__weakref__", "_real")
    _real_type = _Wrapped

    def __init_subclass__(cls, **kwargs):
        if "_real_type" not in cls.__dict__:
            raise TypeError(f"{cls.__name__}: the host does not imitate Python subclasses of Qt classes")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return read_attribute(self._real, name)

    def __setattr__(self, name, value):
        write_attribute(self._real, name, value)

    def __dir__(self):
        shown = _shown(type(self._real))
        return sorted(shown[0]) if shown else object.__dir__(self)

    def __eq__(self, other):
        if not isinstance(other, Proxy):
            return NotImplemented
        return self._real is other._real or (not isinstance(self._real, QtCore.QObject) and self._real == other._real)

    def __hash__(self):
        return hash(id(self._real))

    def __repr__(self):
        return f"{type(self).__name__} ({type(self).__name__} at: {hex(id(self._real))})"


class BoundMethod:
    """A method of a Qt object, comparable so that ``disconnect`` finds it again."""

    def __init__(self, real, name, function):
        self.real, self.name, self.function = real, name, function

    def __call__(self, *args, **kwargs):
        if kwargs:
            raise TypeError(f"{self.name}: PythonQt takes no keyword arguments")
        _require_alive(self.real, self.name)
        return wrap(call(f"{type(self.real).__name__}.{self.name}", self.function, args))

    def __eq__(self, other):
        return isinstance(other, BoundMethod) and (self.real, self.name) == (other.real, other.name)

    def __hash__(self):
        return hash((id(self.real), self.name))


@cache
def proxy_class(real_type: type) -> type:
    """Return the proxy class of a PySide6 class (or of a class of this host derived from one)."""
    bases = tuple(proxy_class(base) for base in real_type.__bases__ if issubclass(base, _Wrapped) and base != _Wrapped)
    return _ProxyType(real_type.__name__, bases or (Proxy,), {"__slots__": (), "_real_type": real_type})


def wrap(value: Any) -> Any:
    """Return a Python value as PythonQt would hand it out: proxies, ints for enums, tuples for lists."""
    if isinstance(value, enum.Enum):
        return int(value.value)
    if isinstance(value, _Wrapped):
        proxy = _alive.get(id(value))
        if proxy is None:
            proxy = object.__new__(proxy_class(type(value)))
            object.__setattr__(proxy, "_real", value)
            _alive[id(value)] = proxy
        return proxy
    if isinstance(value, list | tuple):
        return tuple(wrap(item) for item in value)
    if isinstance(value, dict):
        return {key: wrap(item) for key, item in value.items()}
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return value


def unwrap(value: Any) -> Any:
    """Return the PySide6 value behind what a module passes to Qt."""
    if isinstance(value, Proxy):
        return value._real
    if isinstance(value, _ProxyType):
        return value._real_type
    if isinstance(value, list | tuple):
        return [unwrap(item) for item in value]
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, PurePath):
        raise ValueError(f"Qt takes a string, not {value!r}: PythonQt does not convert paths")
    if isinstance(value, BoundMethod | types.FunctionType | types.MethodType):
        return signals.guarded(value)
    return value


def call(label: str, function: Any, args: tuple) -> Any:
    """Call a PySide6 function with PythonQt's conversions; a wrong argument is a ValueError as there."""
    plain = [unwrap(argument) for argument in args]
    try:
        return function(*plain)
    except TypeError as error:
        for candidate in _with_enums(function, plain):
            try:
                return function(*candidate)
            except TypeError:
                continue
        raise ValueError(f"Called {label} with wrong arguments: {args!r}") from error


def _with_enums(function, args):
    """Yield the argument lists in which ints became the enums that PySide6's signatures ask for."""
    found = get_signature(function)
    for signature in found if isinstance(found, list) else [found] if found else []:
        parameters = [p.annotation for p in signature.parameters.values() if p.name != "self"]
        if len(args) > len(parameters):
            continue
        yield [
            kind(value) if isinstance(kind, enum.EnumMeta) and type(value) is int else value
            for value, kind in zip(args, parameters, strict=False)
        ]


def _shown(real_type):
    for base in real_type.__mro__:
        if (found := facts.shown(base.__name__)) is not None:
            return found if base.__name__ not in ("QObject", "QWidget") or base is real_type else None
    return None


def _require_shown(real_type, name):
    shown = _shown(real_type)
    if shown is not None and name not in shown[0]:
        raise AttributeError(f"'{real_type.__name__}' object has no attribute '{name}' in Slicer")


def _require_alive(real, name):
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
    shown = _shown(type(real))
    if shown is not None and name not in shown[1]:
        return -1
    return real.metaObject().indexOfProperty(name)


def class_attribute(real_type, name):
    """Return the flat enum value, static function or unbound method of a class, or None."""
    for base in real_type.__mro__:
        for value in vars(base).values():
            if isinstance(value, enum.EnumMeta) and name in value.__members__:
                return int(value.__members__[name].value)
        if isinstance(vars(base).get(name), enum.EnumMeta):
            return type(name, (int,), {})
        if (base.__name__, name) in _overrides:
            return lambda *args: wrap(_overrides[base.__name__, name](None, *args))
    function = getattr(real_type, name, None)
    if callable(function):
        return lambda *args: wrap(call(f"{real_type.__name__}.{name}", function, args))
    return None


def read_attribute(real: Any, name: str) -> Any:
    """Return what ``object.name`` is in PythonQt."""
    name = _qt_name(real, name)
    _require_alive(real, name)
    _require_shown(type(real), name)
    if isinstance(real, QtCore.QObject):
        if (special := _OBJECT_METHODS.get(name)) is not None:
            return lambda *args: wrap(special(real, *args))
        if _property_index(real, name) >= 0:
            return wrap(_property_value(real, name))
        if signals.has_signal(real, name):
            return signals.SignalOf(real, name)
    for base in type(real).__mro__:
        if (base.__name__, name) in _overrides:
            return lambda *args: wrap(_overrides[base.__name__, name](real, *args))
    function = getattr(real, name + "_" if keyword.iskeyword(name) else name, None)
    if callable(function) and not isinstance(function, enum.EnumMeta):
        return BoundMethod(real, name, function)
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


def write_attribute(real: Any, name: str, value: Any) -> None:
    """Set a Qt property; anything else is an AttributeError, as with PythonQt."""
    name = _qt_name(real, name)
    _require_alive(real, name)
    _require_shown(type(real), name)
    index = _property_index(real, name)
    if index < 0:
        raise AttributeError(f"'{type(real).__name__}': '{name}' is no property, it cannot be set on a C++ object")
    meta = real.metaObject().property(index)
    if not meta.isWritable():
        raise AttributeError(f"Property '{name}' of '{type(real).__name__}' object is not writable")
    accepted = _ACCEPTED.get(meta.typeName(), object)
    if not isinstance(value, accepted) or not _set_property(real, name, unwrap(value)):
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
    kind = kind if isinstance(kind, str) else kind._real_type.__name__ if isinstance(kind, _ProxyType) else ""
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

for _widget_type in (QtWidgets.QWidget, QtCore.QObject):
    proxy_class(_widget_type)
