"""HU to mass density, relative electron density and proton stopping-power ratio, by an editable table."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.geometry import array_of, image_from_array

SHIPPED = Path(__file__).parents[1] / "tables" / "hu_to_density.csv"
"""A generic 120 kV table computed from the tissues of ICRU Reports 44 and 46; a department replaces it by its own."""

QUANTITIES = {
    "mass_density_g_cm3": "mass density in g/cm³",
    "relative_electron_density": "electron density, water = 1",
    "stopping_power_ratio": "proton stopping power, water = 1",
}
"""Columns of a table beside ``hu``, and what they are."""


@dataclass(frozen=True)
class DensityTable:
    """Values at ascending HU, linear in between; beyond the ends the first and last ones hold.

    Attributes
    ----------
    hu
        Strictly ascending, shape (rows,).
    values
        Column name (see `QUANTITIES`) → values, same shape, never falling.
    name
        Where the table came from, for messages and reports.
    """

    hu: np.ndarray
    values: dict[str, np.ndarray]
    name: str

    def apply(self, ct: np.ndarray, quantity: str) -> np.ndarray:
        """Return ``quantity`` (see `QUANTITIES`) of every HU value, float32, same shape."""
        if quantity not in QUANTITIES:
            raise ValueError(f"there is no quantity {quantity!r}")
        array = np.asarray(ct)
        column = self.values[quantity]
        if array.dtype.itemsize <= 2 and array.dtype.kind in "iu":  # by look-up: HU are few whole numbers
            low = int(array.min(initial=0))
            steps = np.interp(np.arange(low, int(array.max(initial=0)) + 1), self.hu, column).astype(np.float32)
            return steps[array.astype(np.int32) - low]
        return np.interp(array, self.hu, column).astype(np.float32)

    def beyond(self, ct: np.ndarray) -> tuple[int, int]:
        """Return how many values lie below the first and above the last HU of the table."""
        return int(np.count_nonzero(ct < self.hu[0])), int(np.count_nonzero(ct > self.hu[-1]))


def density_image(
    ct: sitk.Image, table: DensityTable, quantity: str, events: Events = SILENT, name: str = "The CT"
) -> sitk.Image:
    """Convert a CT in HU; float32 on its grid.

    HU beyond the table take its first or last row, and a warning event says how many voxels lie above it: metal does,
    and its density is then too low. HU below the table are the air around a patient.
    """
    hu = array_of(ct)
    _, above = table.beyond(hu)
    if above:
        events.warning(
            f"{above} voxels of {name} lie above {table.hu[-1]:g} HU, where {table.name} ends.",
            f"They get its last value, {table.values[quantity][-1]:g} ({QUANTITIES[quantity]}).",
            "Look whether they are metal; if so, the table must go on, or the region be overwritten.",
        )
    return image_from_array(table.apply(hu, quantity), ct)


def read_density_table(path: Path | str = SHIPPED) -> DensityTable:
    """Read a CSV with the columns ``hu`` and those of `QUANTITIES`; other columns and lines that begin with # are free.

    Raises
    ------
    UserError
        Naming the file and the line: it cannot be read, a column is missing, fewer than two rows, something that is no
        number, a negative density, HU that do not ascend, or a density that falls with rising HU.
    """
    path = Path(path).expanduser()
    name = f"the shipped table {path.name}" if path == SHIPPED else str(path)
    rows = _rows(path)
    hu: list[float] = []
    values: dict[str, list[float]] = {quantity: [] for quantity in QUANTITIES}
    for line, row in rows:
        number = _number(row["hu"], "hu", line, path)
        if hu and not number > hu[-1]:
            raise UserError(
                f"The HU in line {line} of {path} do not ascend.",
                f"{number:g} follows {hu[-1]:g}.",
                "Sort the rows by HU, each HU once.",
            )
        hu.append(number)
        for quantity, column in values.items():
            value = _number(row[quantity], quantity, line, path)
            if value < 0 or (column and value < column[-1]):
                why = "It is negative." if value < 0 else f"{value:g} follows {column[-1]:g}."
                raise UserError(
                    f"`{quantity}` in line {line} of {path} cannot be used.",
                    why,
                    "Densities are zero or more and do not fall with rising HU.",
                )
            column.append(value)
    if len(hu) < 2:
        raise UserError(f"The table {path} has {len(hu)} rows.", "Two at least are needed to interpolate between.")
    return DensityTable(np.array(hu), {quantity: np.array(column) for quantity, column in values.items()}, name)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, row) of every line that holds data."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"The table {path} does not exist.", todo="Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The table {path} cannot be read.", f"{error}.", "It must be a text file (CSV).") from error
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip(" ,;\t") and not line.lstrip(' "').startswith("#")
    ]
    if not numbered:
        raise UserError(f"The table {path} is empty.", todo=f"Its first line must be hu,{','.join(QUANTITIES)}.")
    head = [word.strip().lower() for word in next(csv.reader([numbered[0][1]]))]
    missing = [name for name in ("hu", *QUANTITIES) if name not in head]
    if missing:
        raise UserError(
            f"The table {path} lacks the column {' and '.join(missing)}.",
            f"Its first line is {numbered[0][1]!r}.",
            f"It must name hu,{','.join(QUANTITIES)}, separated by commas.",
        )
    rows = []
    for number, line in numbered[1:]:
        words = [word.strip() for word in next(csv.reader([line]))]
        if len(words) < len(head):
            raise UserError(
                f"Line {number} of {path} has {len(words)} entries.", f"The first line names {len(head)} columns."
            )
        rows.append((number, dict(zip(head, words, strict=False))))
    return rows


def _number(word: str, column: str, line: int, path: Path) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(
            f"`{column}` in line {line} of {path} is no number.",
            f"It is {word!r}.",
            "Decimals are written with a point.",
        )
    return value
