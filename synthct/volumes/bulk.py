"""A CT by bulk assignment: one HU per tissue. The simplest rival that every network must beat.

Only numpy, SimpleITK and the standard library are used, so that Slicer can do it in its own process.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import array_of, image_from_array
from synthct.volumes.hu import AIR_HU

SHIPPED = Path(__file__).parents[1] / "tables" / "bulk_hu.csv"
"""HU of the tissues of ICRU Reports 44 and 46 by name; its head says how they were computed."""
WATER_HU = 0
MOST_LABELS = 200
"""More values that the table does not know are those of an image, and are not listed."""
_COLUMNS = ("label", "name", "hu")


@dataclass(frozen=True)
class BulkTable:
    """HU by label number and by name; names are compared without case."""

    by_label: dict[int, float]
    by_name: dict[str, float]
    name: str
    """Where the table came from, for messages."""


def bulk_ct(labels: sitk.Image, table: BulkTable, names: Mapping[int, str] | None = None) -> sitk.Image:
    """Give every label its HU; the background, 0, is air unless the table says otherwise.

    Parameters
    ----------
    labels
        3D label map of whole numbers.
    table
        As from `read_bulk_table`; a label's number goes before its name.
    names
        What the labels are called, where the label map knows (see `segment_names`).

    Returns
    -------
    SimpleITK.Image
        int16 HU on exactly the grid of ``labels``.

    Raises
    ------
    UserError
        Values that are no labels, or labels that the table does not know: all are named.
    """
    array = array_of(labels)
    present = np.unique(array)
    if array.dtype.kind == "f" and not np.array_equal(present, np.rint(present)):
        raise UserError(
            "The label map holds values that are no whole numbers.",
            f"One is {present[present != np.rint(present)][0]:g}.",
            "Give a label map, not an image.",
        )
    names = names or {}
    hu = {0: float(AIR_HU)} | table.by_label
    unknown = []
    for label in (int(value) for value in present):
        if label not in hu:
            if _plain(names.get(label, "")) in table.by_name:
                hu[label] = table.by_name[_plain(names[label])]
            else:
                unknown.append(f"{label} ({names[label]})" if names.get(label) else str(label))
    if len(unknown) > MOST_LABELS:
        raise UserError(
            f"The label map holds {len(unknown)} values for which {table.name} has no HU: {_listed(unknown[:5])}, ….",
            "So many are no tissue labels; it may be an image.",
            "Give a label map.",
        )
    if unknown:
        raise UserError(
            f"The label map holds {_listed(unknown)}, for which {table.name} has no HU.",
            f"It knows the labels {_listed(sorted(table.by_label)) or '–'} and the names "
            f"{_listed(sorted(table.by_name)) or '–'}.",
            "Add a row label,name,hu for each to a copy of the table.",
        )
    values = np.rint([hu[int(value)] for value in present]).astype(np.int16)
    return image_from_array(values[np.searchsorted(present, array)], labels)


def water_ct(body: sitk.Image) -> sitk.Image:
    """Return a CT of water, 0 HU, inside a body mask and air outside: what is known without any network.

    int16 on the grid of ``body``.
    """
    inside = array_of(body) != 0
    return image_from_array(np.where(inside, WATER_HU, AIR_HU).astype(np.int16), body)


def segment_names(labels: sitk.Image) -> dict[int, str]:
    """Return label → segment name where the image was read from a ``.seg.nrrd`` of Slicer, else nothing."""
    names = {}
    for key in labels.GetMetaDataKeys():
        matched = re.fullmatch(r"Segment(\d+)_LabelValue", key)
        if matched and labels.HasMetaDataKey(f"Segment{matched[1]}_Name"):
            names[int(labels.GetMetaData(key))] = labels.GetMetaData(f"Segment{matched[1]}_Name").strip()
    return names


def read_bulk_table(path: Path | str = SHIPPED) -> BulkTable:
    """Read a CSV with the columns ``label``, ``name`` and ``hu``; other columns and lines with # are free.

    Either label or name may be empty in a row, not both.

    Raises
    ------
    UserError
        Naming the file and line: unreadable, a missing column, a label twice, a name with two HU, or no number.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"The table {path} does not exist.", todo="Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The table {path} cannot be read.", f"{error}.", "It must be a text file (CSV).") from error
    lines = [
        (number, next(csv.reader([line])))
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip(" ,;\t") and not line.lstrip(' "').startswith("#")
    ]
    head = [word.strip().lower() for word in lines[0][1]] if lines else []
    if not set(_COLUMNS) <= set(head):
        raise UserError(
            f"The table {path} does not begin with label,name,hu.",
            f"Its first line is {','.join(head) or 'missing'}.",
            "Start from the shipped one: `synthct bulk --show-table`.",
        )
    by_label: dict[int, float] = {}
    by_name: dict[str, float] = {}
    for number, words in lines[1:]:
        row = dict(zip(head, (word.strip() for word in words), strict=False))
        where = f"line {number} of {path}"
        hu = _number(row.get("hu", ""), "hu", where)
        if not -32768 <= hu <= 32767:
            raise UserError(f"`hu` in {where} is {hu:g}.", "HU are stored as whole numbers of 16 bits.")
        label, name = row.get("label", ""), _plain(row.get("name", ""))
        if not label and not name:
            raise UserError(f"There is neither a label nor a name in {where}.", todo="Fill in one of them.")
        if label:
            value = _number(label, "label", where)
            if value != round(value) or int(value) in by_label:
                why = "It stands there twice." if value == round(value) else "Labels are whole numbers."
                raise UserError(f"The label {label} in {where} cannot be used.", why, "Correct the table.")
            by_label[int(value)] = hu
        if name and by_name.setdefault(name, hu) != hu:
            raise UserError(f"The name {name} has another HU in {where} than before.", todo="Correct the table.")
    if not by_label and not by_name:
        raise UserError(f"The table {path} has no rows.", todo="Add a row label,name,hu per tissue.")
    return BulkTable(by_label, by_name, str(path))


def _number(word: str, column: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"`{column}` in {where} is no number.", f"It is {word!r}.", "Correct the table.")
    return value


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _listed(entries: list[str] | list[int]) -> str:
    return ", ".join(str(entry) for entry in entries)
