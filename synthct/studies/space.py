"""What a search varies: recipe keys with the values or the range that each may have."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from synthct.errors import UserError
from synthct.recipe import plain_yaml

Choice = str | int | float | bool | None
"""One value of a key; lists and entries are kept as their JSON text, which is YAML too."""
FORMS = "1e-4,2e-4,4e-4 or {unet,pix2pix-unet} for values, 2..8 or 1e-5..1e-3:log for a range"
_RANGE = re.compile(r"^\s*(?P<low>[^\s,{}\[\]]+?)\.\.(?P<high>[^\s,:{}\[\]]+)(?P<log>:log)?\s*$")


@dataclass(frozen=True)
class Values:
    """A key that has one of some values."""

    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Range:
    """A key that lies between ``low`` and ``high``, both included; of whole numbers where both are."""

    low: float
    high: float
    log: bool = False
    """Every ratio is as likely as any other of the same size."""

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Space = dict[str, Values | Range]


def read_space(words: Sequence[str], file: Path | None = None) -> Space:
    """Return the space that ``KEY=SPEC`` words and a YAML file (key → spec, list or {low, high, log}) give together.

    Raises
    ------
    UserError
        Nothing to vary, a word without ``=``, a key that comes twice, a file or a spec that cannot be read.
    """
    specs: list[tuple[str, Any]] = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(
                f"--vary {word} is not understood.", "It has no `=`.", f"Give KEY=SPEC, SPEC being {FORMS}."
            )
        specs.append((key.strip().removeprefix("--"), text))
    if file is not None:
        try:
            content = plain_yaml(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"The space {file} cannot be read.", f"{error}.", "Correct the file.") from error
        if not isinstance(content, Mapping):
            raise UserError(f"The space {file} is not a list of keys and values.", todo=f"Give KEY: SPEC, {FORMS}.")
        specs.extend(content.items())
    if not specs:
        raise UserError("There is nothing to search.", "No recipe key varies.", "Give --vary KEY=SPEC or --space FILE.")
    space: Space = {}
    for key, spec in specs:
        if key in space:
            raise UserError(f"The key `{key}` is varied twice.", todo="Give it once.")
        space[key] = _parsed(str(key), spec)
    return space


def grid_points(space: Space) -> list[dict[str, Choice]]:
    """Return every combination, the last key changing fastest.

    Raises
    ------
    UserError
        A key has a range in place of values.
    """
    for key, domain in space.items():
        if isinstance(domain, Range):
            raise UserError(
                f"The grid has no values for `{key}`.",
                f"It is given as a range from {domain.low:g} to {domain.high:g}.",
                "List its values, or search with --sampler tpe or random.",
            )
    columns = [domain.choices for domain in space.values() if isinstance(domain, Values)]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*columns)]


def ends(domain: Values | Range) -> tuple[Choice, ...]:
    """Return the values that must be possible for all others to be: every one, or both ends of a range."""
    return domain.choices if isinstance(domain, Values) else (domain.low, domain.high)


def _parsed(key: str, spec: Any) -> Values | Range:
    if isinstance(spec, Mapping) and "low" in spec and "high" in spec and set(spec) <= {"low", "high", "log"}:
        return _range(key, spec["low"], spec["high"], bool(spec.get("log", False)), str(dict(spec)))
    if isinstance(spec, str):
        found = _RANGE.match(spec)
        if found:
            return _range(key, plain_yaml(found["low"]), plain_yaml(found["high"]), bool(found["log"]), spec)
        inner = spec.strip()
        inner = inner[1:-1] if inner.startswith("{") and inner.endswith("}") else inner
        try:
            spec = plain_yaml(f"[{inner}]")
        except yaml.YAMLError as error:
            raise UserError(f"The values of `{key}` cannot be read: {inner}", f"{error}.", f"Give {FORMS}.") from error
    values = list(spec) if isinstance(spec, list | tuple) else [spec]
    choices = tuple(dict.fromkeys(json.dumps(value) if isinstance(value, list | dict) else value for value in values))
    if not choices:
        raise UserError(f"`{key}` has no values to be searched.", todo=f"Give {FORMS}.")
    return Values(choices)


def _range(key: str, low: Any, high: Any, log: bool, text: str) -> Range:
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not low < high or (log and low <= 0):
        why = "Both ends must be numbers, the lower first" + (" and above 0." if log else ".")
        raise UserError(f"The range of `{key}` cannot be used: {text}", why, f"Give {FORMS}.")
    return Range(low, high, log)
