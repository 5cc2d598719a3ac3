"""Single keys of a recipe set from the command line, by full or shortened name."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from synthct.errors import UserError
from synthct.options import close_match


def override(content: dict[str, Any], kind: type, key: str, value: Any) -> None:
    """Set ``key`` in ``content``, the plain values of the dataclass ``kind``, in place.

    Parameters
    ----------
    key
        Dotted; leading parts may be left out where that is unambiguous.
    value
        Plain value, checked later with the rest of the content.

    Raises
    ------
    UserError
        The key is unknown or may be more than one.
    """
    known = _known_keys(content, kind)
    parts = key.split(".")
    matches = [path for path in known if path[-len(parts) :] == parts]
    exact = [path for path in matches if path == parts]
    if not matches and len(parts) > 1:  # an option that the file leaves at its default
        entries = [path for path in known if path[-len(parts) + 1 :] == parts[:-1] and _is_entry(path)]
        matches = [[*path, parts[-1]] for path in entries]
        exact = [path for path in matches if path == parts]
    if len(exact or matches) > 1:
        raise UserError(
            f"The option --{key} is ambiguous.", f"It may be {', '.join(sorted('.'.join(path) for path in matches))}."
        )
    if not matches:
        raise UserError(
            f"There is no recipe key `{key}`.",
            close_match(key, {part for path in known for part in (path[-1], ".".join(path))}),
            "`synthct presets NAME` shows all.",
        )
    path = (exact or matches)[0]
    node = content
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise UserError(f"The recipe key `{key}` cannot be set.", f"`{part}` holds a single value.")
    node[path[-1]] = value


def _is_entry(path: list[str]) -> bool:
    """Whether only what is named knows what may stand at ``path``: options of an entry, or roles of a method."""
    return path[:-1] in (["networks"], ["optimisers"]) or path in (
        ["method"],
        ["networks"],
        ["optimisers"],
        ["data", "input_scaling"],
        ["data", "target_scaling"],
    )


def _known_keys(content: Mapping[str, Any], kind: type) -> list[list[str]]:
    """Paths of everything that the dataclasses or the file itself define."""

    def of_class(kind: type, prefix: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
        for name, hint in typing.get_type_hints(kind).items():
            yield (*prefix, name)
            if dataclasses.is_dataclass(hint):
                yield from of_class(typing.cast(type, hint), (*prefix, name))

    def of_content(node: Mapping[str, Any], prefix: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
        for name, value in node.items():
            yield (*prefix, name)
            if isinstance(value, Mapping):
                yield from of_content(value, (*prefix, name))

    return [list(path) for path in dict.fromkeys([*of_class(kind, ()), *of_content(content, ())])]
