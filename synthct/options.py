"""Plain values (YAML, command line) checked against type hints: dataclasses and the signatures of what is named."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from synthct.errors import UserError

Options = dict[str, Any]
"""An entry ``{"name": ..., option: value, ...}`` whose options are checked by what the name stands for."""

Built = TypeVar("Built")


def typed(kind: Any, content: Any, origin: str, key: str = "") -> Any:
    """Convert plain values to ``kind``: a dataclass, a tuple, list, dict, ``Literal``, union, path or plain type.

    Raises
    ------
    UserError
        Naming ``origin`` and the dotted key that is unknown, missing or of the wrong type.
    """
    where = f"`{key}` of {origin}" if key else origin
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast(type, kind), content, origin, key, where)
    origin_type, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin_type in (typing.Union, types.UnionType):
        return _union(arguments, content, origin, key, where)
    if origin_type is typing.Literal:
        if content in arguments and type(content) in {type(argument) for argument in arguments}:
            return content
        choices = [str(argument) for argument in arguments]
        raise UserError(
            f"{where} cannot be {content!r}.", close_match(str(content), choices), f"Known: {', '.join(choices)}."
        )
    if origin_type in (tuple, list):
        if isinstance(content, Mapping) or not isinstance(content, Iterable):
            raise UserError(f"{where} must be a list.", f"It is {content!r}.")
        items = _listed(content) if isinstance(content, str) else list(content)
        if origin_type is tuple and arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise UserError(f"{where} must have {len(arguments)} entries.", f"It is {content!r}.")
        return origin_type(typed(arguments[0], item, origin, key) for item in items)
    if origin_type is dict or kind is dict:
        if not isinstance(content, Mapping):
            raise UserError(f"{where} must hold keys and values.", f"It is {content!r}.")
        value_kind = arguments[1] if arguments else Any
        return {name: typed(value_kind, value, origin, f"{key}.{name}") for name, value in content.items()}
    if kind is Path and isinstance(content, str):
        return Path(content)
    if kind is float and isinstance(content, int | float) and not isinstance(content, bool):
        return float(content)
    if kind is Any or (isinstance(content, kind) and not (kind is int and isinstance(content, bool))):
        return content
    raise UserError(f"{where} must be of type {kind.__name__}.", f"It is {content!r}.")


def build(builders: Mapping[str, Callable[..., Built]], entry: Mapping[str, Any], where: str, *given: Any) -> Built:
    """Call what ``entry["name"]`` names with ``given`` and the entry's other keys as keyword arguments.

    The keyword-only arguments of the builder are its options; their type hints are what is checked.

    Raises
    ------
    UserError
        Naming ``where`` and the name or option that is unknown, missing or of the wrong type.
    """
    options = dict(entry)
    name = options.pop("name", None)
    if name not in builders:
        raise UserError(
            f"{where} has no name." if name is None else f"{where}: there is none named `{name}`.",
            close_match(str(name), builders),
            f"Known: {', '.join(sorted(builders))}.",
        )
    builder = builders[name]
    hints = typing.get_type_hints(builder.__init__ if isinstance(builder, type) else builder)  # type: ignore[misc]
    parameters = [p for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY]
    known = [parameter.name for parameter in parameters]
    for option in options:
        if option not in known:
            raise UserError(
                f"{where} (`{name}`) has no option `{option}`.",
                close_match(str(option), known),
                f"Known: {', '.join(known)}." if known else "It has no options.",
            )
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in options]
    if missing:
        raise UserError(f"{where} (`{name}`) lacks `{', '.join(missing)}`.", todo="Add it, or start from a preset.")
    values = {option: typed(hints[option], value, where, option) for option, value in options.items()}
    return builder(*given, **values)


def close_match(word: str, known: Iterable[str]) -> str:
    """Return "Did you mean ...?" where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"Did you mean {near[0]}?" if near else ""


def _listed(text: str) -> list[Any]:
    """Split ``2,2,3`` as a command line gives it."""

    def value(part: str) -> Any:
        for kind in (int, float):
            try:
                return kind(part)
            except ValueError:
                continue
        return part

    return [value(part.strip()) for part in text.split(",")]


def _dataclass(kind: type, content: Any, origin: str, key: str, where: str) -> Any:
    if not isinstance(content, Mapping):
        raise UserError(f"{where} must hold keys and values.", f"It is {content!r}.")
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    names = [entry.name for entry in fields]
    for name in content:
        if name not in names:
            raise UserError(
                f"{where} has no key `{name}`.", close_match(str(name), names), f"Known: {', '.join(names)}."
            )
    missing = [
        entry.name
        for entry in fields
        if entry.name not in content
        and entry.default is dataclasses.MISSING
        and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{where} lacks `{', '.join(missing)}`.", todo="Add it, or start from a preset.")
    return kind(
        **{
            name: typed(hints[name], value, origin, f"{key}.{name}" if key else str(name))
            for name, value in content.items()
        }
    )


def _union(kinds: tuple[Any, ...], content: Any, origin: str, key: str, where: str) -> Any:
    if content is None and type(None) in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return typed(kind, content, origin, key)
        except UserError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    names = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise UserError(f"{where} must be {names}.", f"It is {content!r}.")
