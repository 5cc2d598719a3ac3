"""PySide6 objects shown in PythonQt's manner: properties are values, enums are plain ints, nothing else is allowed."""

import enum
import types
import typing
from functools import cache
from pathlib import PurePath
from typing import Any
from weakref import WeakValueDictionary

import shiboken6
from PySide6 import QtCore
from shibokensupport.signature import get_signature

from . import attributes, signals

_Wrapped = shiboken6.Shiboken.Object
_alive: WeakValueDictionary[int, "Proxy"] = WeakValueDictionary()


class ProxyType(type):
    """The type of proxy classes: calling one makes a Qt object, its attributes are enums and static functions."""

    def __call__(cls, *args, **kwargs):
        if kwargs:
            raise TypeError(f"{cls.__name__}: PythonQt takes no keyword arguments")
        return wrap(call(cls.__name__, cls._real_type, args))

    def __getattr__(cls, name):
        if name.startswith("__") or name == "_real_type":
            raise AttributeError(name)
        attributes.require_shown(cls._real_type, name)
        found = attributes.class_attribute(cls._real_type, name)
        if found is None:
            raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")
        return found

    def __setattr__(cls, name, value):
        raise AttributeError(f"no new attribute '{name}' on {cls.__name__}")


class Proxy(metaclass=ProxyType):
    """A Qt object as PythonQt shows it."""

    __slots__ = ("__weakref__", "_real")
    _real_type = _Wrapped

    def __init_subclass__(cls, **kwargs):
        if "_real_type" not in cls.__dict__:
            raise TypeError(f"{cls.__name__}: the host does not imitate Python subclasses of Qt classes")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return attributes.read(self._real, name)

    def __setattr__(self, name, value):
        attributes.write(self._real, name, value)

    def __dir__(self):
        shown = attributes.shown(type(self._real))
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
        attributes.require_alive(self.real, self.name)
        return wrap(call(f"{type(self.real).__name__}.{self.name}", self.function, args))

    def __eq__(self, other):
        return isinstance(other, BoundMethod) and (self.real, self.name) == (other.real, other.name)

    def __hash__(self):
        return hash((id(self.real), self.name))


@cache
def proxy_class(real_type: type) -> type:
    """Return the proxy class of a PySide6 class (or of a class of this host derived from one)."""
    bases = tuple(proxy_class(base) for base in real_type.__bases__ if issubclass(base, _Wrapped) and base != _Wrapped)
    return ProxyType(real_type.__name__, bases or (Proxy,), {"__slots__": (), "_real_type": real_type})


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
    if isinstance(value, ProxyType):
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
        wanted = [_enum_in(p.annotation) for p in signature.parameters.values() if p.name != "self"]
        if len(args) <= len(wanted):
            yield [kind(item) if kind and type(item) is int else item for item, kind in zip(args, wanted, strict=False)]


def _enum_in(annotation):
    kinds = (annotation, *typing.get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, enum.EnumMeta)), None)
