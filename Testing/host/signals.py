"""Connections in PythonQt's manner: ``connect("clicked(bool)", f)``, ``b.clicked.connect(f)``, spare values dropped."""

import inspect
import logging
import re
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore
from shibokensupport.signature import get_signature

from . import attributes, pythonqt

errors: list[str] = []
_connections: dict[int, list[tuple[str, int, Any, Any]]] = {}
_declared: dict[type, list[str]] = {}
_BY_ARITY = (
    lambda f: lambda: f(),
    lambda f: lambda a: f(a),
    lambda f: lambda a, b: f(a, b),
    lambda f: lambda a, b, c: f(a, b, c),
)


class SignalOf:
    """``b.clicked``: connect, disconnect, and emit by calling it."""

    def __init__(self, real, name):
        self.real, self.name = real, name

    def connect(self, receiver: Any) -> bool:
        """Connect a callable to the signal's first overload."""
        return connect(self.real, _signatures(self.real, self.name)[0], receiver)

    def disconnect(self, receiver: Any) -> bool:
        """Disconnect a callable connected by :meth:`connect`."""
        return disconnect(self.real, _signatures(self.real, self.name)[0], receiver)

    def __call__(self, *args):
        getattr(self.real, self.name).emit(*args)


def _signatures(real, name):
    """Return the signatures of the signals called ``name``, in their order of declaration."""
    if type(real) not in _declared:
        meta = real.metaObject()
        methods = [meta.method(index) for index in range(meta.methodCount())]
        kind = QtCore.QMetaMethod.MethodType.Signal
        signatures = [m.methodSignature().data().decode() for m in methods if m.methodType() == kind]
        _declared[type(real)] = [*getattr(type(real), "SIGNAL_OVERLOADS", {}), *signatures]
    return [signature for signature in _declared[type(real)] if signature.split("(")[0] == name]


def has_signal(real: QtCore.QObject, name: str) -> bool:
    """Return whether ``name`` is a signal of the object."""
    return bool(_signatures(real, name))


def _resolve(real, signature):
    """Return the PySide6 signal and the number of its arguments, or None for a signal that does not exist."""
    signature = re.sub(r"\s|const(?=\s)|&", "", signature)
    name = signature.split("(")[0]
    if signature not in _signatures(real, name):
        logging.error("%s has no signal %s", type(real).__name__, signature)
        return None
    attribute = getattr(type(real), "SIGNAL_OVERLOADS", {}).get(signature, name)
    types_text = signature[len(name) + 1 : -1]
    return getattr(real, attribute), types_text.count(",") + 1 if types_text else 0


def guarded(function: Callable) -> Callable:
    """Return ``function`` so that an exception is printed and kept in ``errors`` rather than lost inside Qt."""

    def run(*args):
        try:
            return function(*args)
        except Exception:
            report_exception()

    return run


def report_exception() -> None:
    """Print the exception being handled as Slicer's console does, and keep it for the tests."""
    errors.append(traceback.format_exc())
    sys.stderr.write(errors[-1])


def _accepted_arguments(receiver):
    """Return how many positional arguments PythonQt passes to a callable (None: all)."""
    if isinstance(receiver, pythonqt.BoundMethod):
        found = get_signature(receiver.function) or []
        overloads = found if isinstance(found, list) else [found]
        return max((len([p for p in one.parameters if p != "self"]) for one in overloads), default=None)
    function = receiver.__func__ if isinstance(receiver, types.MethodType) else receiver
    if not isinstance(function, types.FunctionType) or function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - isinstance(receiver, types.MethodType)


def connect(real: QtCore.QObject, signature: str, receiver: Any, slot: str | None = None) -> bool:
    """Connect a callable, or the slot of another object, to a signal; True on success as in PythonQt."""
    if slot is not None:
        receiver = attributes.read(pythonqt.unwrap(receiver), slot.split("(")[0])
    if not callable(receiver):
        raise ValueError(f"connect({signature}): {receiver!r} is not callable")
    resolved = _resolve(real, signature)
    if resolved is None:
        return False
    signal, count = resolved
    accepted = _accepted_arguments(receiver)

    def deliver(*args):
        receiver(*(pythonqt.wrap(argument) for argument in args[:accepted]))

    shim = _BY_ARITY[count](guarded(deliver))
    pointer = shiboken6.getCppPointer(real)[0]
    if pointer not in _connections:
        _connections[pointer] = []
        real.destroyed.connect(lambda: _connections.pop(pointer, None))
    _connections[pointer].append((re.sub(r"\s", "", signature), count, receiver, shim))
    signal.connect(shim)
    return True


def disconnect(real: QtCore.QObject, signature: str, receiver: Any) -> bool:
    """Disconnect what :func:`connect` connected; False when there was no such connection."""
    resolved = _resolve(real, signature)
    known = _connections.get(shiboken6.getCppPointer(real)[0], [])
    for entry in known if resolved else []:
        if entry[0] == re.sub(r"\s", "", signature) and entry[2] == receiver:
            resolved[0].disconnect(entry[3])
            known.remove(entry)
            return True
    return False
