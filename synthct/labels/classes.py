"""The classes of a label map, an editable YAML table: name, index, colour, range of HU, order (row B3)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from synthct.errors import UserError
from synthct.options import close_match, typed

SHIPPED = {name: Path(__file__).parents[1] / "tables" / f"classes_{name}.yaml" for name in ("eight", "seven", "six")}
"""Ours with classes for windpipe and what lies outside the body, with the latter alone, and the published table."""
_INT16 = np.iinfo(np.int16)
_RANGE = re.compile(r"([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class HuRange:
    """HU between two ends, each of which belongs to the range or not; ``str`` writes it as ``[-200, 0)``."""

    low: float
    high: float
    low_included: bool
    high_included: bool

    def contains(self, hu: np.ndarray) -> np.ndarray:
        """Return, as bool of the same shape, which values lie in the range."""
        above = hu >= self.low if self.low_included else hu > self.low
        return above & (hu <= self.high if self.high_included else hu < self.high)

    def __str__(self) -> str:
        return f"{'(['[self.low_included]}{self.low:g}, {self.high:g}{')]'[self.high_included]}"


@dataclass(frozen=True)
class TissueClass:
    """One class: either a range of HU, or what is given in another way (``source``)."""

    name: str
    index: int
    """0 to 255, the voxels' value."""
    colour: tuple[int, int, int]
    """Red, green, blue, 0 to 255."""
    hu: HuRange | None
    source: Literal["hu", "rest", "nodules", "outside", "airways"]
    """``rest``: what no other class takes; ``nodules``, ``outside``: from a mask; ``airways``: of the rest what
    `synthct.labels.airways` finds."""


@dataclass(frozen=True)
class ClassTable:
    """Classes in the order of the file: each goes over those before it."""

    name: str
    classes: tuple[TissueClass, ...]

    def of_source(self, source: str) -> TissueClass | None:
        """Return the class with this source, or None: there is at most one of each but ``hu``."""
        return next((entry for entry in self.classes if entry.source == source), None)

    @property
    def rest(self) -> TissueClass:
        """The class of whatever no other takes."""
        return next(entry for entry in self.classes if entry.source == "rest")

    def named(self, name: str, where: str) -> TissueClass:
        """Return the class called ``name`` (letter case does not count); UserError naming ``where`` if none is."""
        for entry in self.classes:
            if entry.name.casefold() == name.strip().casefold():
                return entry
        known = [entry.name for entry in self.classes]
        raise UserError(
            f"There is no class {name!r} ({where}).",
            close_match(name, known),
            f"The table {self.name} knows: {', '.join(known)}.",
        )

    def label_hu(self, hu: np.ndarray) -> np.ndarray:
        """Return each value's class by HU alone, uint8 indices of the same shape; masks are not looked at.

        Whole numbers of 16 bits go through a look-up table.
        """
        if hu.dtype == np.int16:
            steps = self.label_hu(np.arange(_INT16.min, _INT16.max + 1, dtype=np.int32))
            return np.roll(steps, _INT16.min)[hu.view(np.uint16)]  # a negative HU's bits count from the far end
        labels = np.full(hu.shape, self.rest.index, np.uint8)
        for entry in self.classes:
            if entry.hu is not None:
                labels[entry.hu.contains(hu)] = entry.index
        return labels

    def to_dict(self) -> dict[str, Any]:
        """Return the table as `parse_class_table` reads it: plain values for YAML or JSON."""
        return {
            "name": self.name,
            "classes": [
                {"name": entry.name, "index": entry.index, "colour": "#{:02x}{:02x}{:02x}".format(*entry.colour)}
                | ({"hu": str(entry.hu)} if entry.hu else {"from": entry.source})
                for entry in self.classes
            ],
        }


def read_class_table(source: Path | str = "eight") -> ClassTable:
    """Read a table of classes: ``eight``, ``seven``, ``six``, or a YAML file like those in ``synthct/tables``.

    Raises
    ------
    UserError
        Naming the file and the class: unreadable, an index or name twice, a range that is none, no or several classes
        for the rest, nodules that are not last.
    """
    import yaml  # not in every Slicer, which loads this file

    path = SHIPPED.get(str(source)) or Path(source).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(SHIPPED)
        raise UserError(
            f"The table of classes {path} does not exist.", todo=f"Give a file, or one of {known}."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"The table of classes {path} cannot be read.",
            f"{error}.",
            "It is YAML: `synthct labels --show-table` prints one to copy.",
        ) from error
    return parse_class_table(content, str(path))


def parse_class_table(content: Any, origin: str) -> ClassTable:
    """Check what a table's file holds; see `read_class_table`."""
    rows = content.get("classes") if isinstance(content, Mapping) else None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{origin} holds no classes.", todo=f"Start from a copy of {SHIPPED['eight']}.")
    classes = tuple(_class(row, f"class {number} of {origin}") for number, row in enumerate(rows, 1))
    for what in ("index", "name"):
        values = [getattr(entry, what) for entry in classes]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UserError(f"The {what} {twice} stands twice in {origin}.", "Every class has one of its own.")
    for source in ("rest", "nodules", "outside", "airways"):
        count = sum(entry.source == source for entry in classes)
        if count > 1 or (source == "rest" and count == 0):
            raise UserError(
                f"{count} classes of {origin} have `from: {source}`.",
                "Exactly one takes what is left over." if source == "rest" else "At most one can have it.",
            )
    if any(entry.source == "nodules" for entry in classes[:-1]):
        raise UserError(f"The nodules' class of {origin} is not the last.", "Nodules go over everything else (B3).")
    return ClassTable(str(content.get("name", Path(origin).stem)), classes)


@dataclass(frozen=True)
class _Row:
    name: str
    index: int
    colour: str
    hu: str | list[float] | None = None
    source: Literal["rest", "nodules", "outside", "airways"] | None = None


def _class(content: Any, where: str) -> TissueClass:
    if isinstance(content, Mapping):
        content = {("source" if key == "from" else key): value for key, value in content.items()}
    row: _Row = typed(_Row, content, where)
    if not 0 <= row.index <= 255 or not row.name.strip():
        raise UserError(f"{where} cannot be used.", f"It is called {row.name!r}, its index is {row.index} (0 to 255).")
    if not _COLOUR.fullmatch(row.colour):
        raise UserError(f"The colour of {where} is {row.colour!r}.", 'It is written "#rrggbb".')
    if (row.hu is None) == (row.source is None):
        raise UserError(f"{where} ({row.name}) needs either `hu` or `from`.", "It has both or neither.")
    red, green, blue = (int(row.colour[at : at + 2], 16) for at in (1, 3, 5))
    hu = None if row.hu is None else _range(row.hu, f"{where} ({row.name})")
    return TissueClass(row.name.strip(), row.index, (red, green, blue), hu, row.source or "hu")


def _range(content: str | list[float], where: str) -> HuRange:
    text = str(content).replace("−", "-").replace("∞", "inf")
    matched = _RANGE.fullmatch(text.strip())
    try:
        low, high = (float(matched[2]), float(matched[3])) if matched else (math.nan, math.nan)
    except ValueError:
        low = high = math.nan
    if matched is None or not low <= high:
        raise UserError(
            f"`hu` of {where} is {content!r}.", 'Expected "[-200, 0)": lower end first; -inf and inf are possible.'
        )
    return HuRange(low, high, matched[1] == "[", matched[4] == "]")
