"""A table of scores, one row per unit (a patient) and group (a training set), read from CSV and paired."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthct.errors import UserError

Row = dict[str, str]
_MISSING = {"", "nan", "none", "null", "na", "n/a"}


@dataclass(frozen=True)
class ScoreTable:
    """The rows of a CSV file as text, and where they came from."""

    rows: list[Row]
    columns: list[str]
    name: str
    """What messages call it: the path or paths."""

    def require(self, *columns: str) -> None:
        """Refuse a column that is not there."""
        for column in columns:
            if column not in self.columns:
                raise UserError(
                    f"{self.name} has no column {column}.", f"It has {', '.join(self.columns)}.", "Name one of these."
                )

    def where_unit(self, unit: str, conditions: Mapping[str, str]) -> ScoreTable:
        """Keep all rows of the units of which any row meets every condition.

        A unit's property may be missing in one of several tables that were put together; one row that has it is enough.
        """
        kept = None
        for column, wanted in conditions.items():
            self.require(unit, column)
            found = {row[unit] for row in self.rows if row[column] == wanted}
            if not found:
                values = ", ".join(sorted({row[column] for row in self.rows})[:8])
                raise UserError(
                    f"No row of {self.name} has {column}={wanted}.", f"There are {values}.", "Give one of these."
                )
            kept = found if kept is None else kept & found
        return self if kept is None else ScoreTable([r for r in self.rows if r[unit] in kept], self.columns, self.name)

    def score_columns(self, but: Sequence[str]) -> list[str]:
        """Return the columns in which every value is a number or missing, and one is a number; without ``but``."""
        found = []
        for column in self.columns:
            values = [row[column] for row in self.rows if row[column].strip().lower() not in _MISSING]
            if column not in but and values and all(_is_number(value) for value in values):
                found.append(column)
        return found

    def strata(self, group: str, unit: str, scores: Sequence[str]) -> list[str]:
        """Return the columns that tell apart rows of one unit in one group (a number of iterations, a fold).

        One column where one is enough, so that a property of the unit which one table misprints does not count.

        Raises
        ------
        UserError
            Two rows of one unit in one group that differ in nothing but scores.
        """
        seen: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            seen.setdefault((row[group], row[unit]), []).append(row)
        repeated = [rows for rows in seen.values() if len(rows) > 1]
        if not repeated:
            return []
        candidates = [column for column in self.columns if column not in (group, unit, *scores)]
        for column in candidates:
            if all(len({row[column] for row in rows}) == len(rows) for rows in repeated):
                return [column]
        telling = [column for column in candidates if any(len({row[column] for row in rows}) > 1 for rows in repeated)]
        for rows in repeated:
            if len({tuple(row[c] for c in telling) for row in rows}) < len(rows):
                raise UserError(
                    f"{self.name} has {unit} {rows[0][unit]} {len(rows)} times in {group} {rows[0][group]}.",
                    "No column tells these rows apart, so that they cannot be paired.",
                    "Remove the duplicates, or add the column in which they differ.",
                )
        return telling


def read_score_table(*paths: Path) -> ScoreTable:
    """Read CSV files, each with a header line, and put them together; all must have the same columns.

    Raises
    ------
    UserError
        Missing, empty or ragged file, or one with other columns than the first.
    """
    columns: list[str] = []
    rows: list[Row] = []
    for path in paths:
        header, found = _read(path)
        if columns and sorted(header) != sorted(columns):
            differing = ", ".join(sorted(set(header) ^ set(columns)))
            raise UserError(f"{path} has other columns than {paths[0]}.", f"They differ in {differing}.", "Correct it.")
        columns = columns or header
        rows += found
    return ScoreTable(rows, columns, ", ".join(map(str, paths)))


def _read(path: Path) -> tuple[list[str], list[Row]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV.", f"{error}.", "Give a table of scores.") from error
    lines = [line for line in lines if any(cell.strip() for cell in line)]
    if len(lines) < 2:
        raise UserError(f"{path} holds no scores.", "It has no line below its header.", "Give a table of scores.")
    header = [cell.strip() for cell in lines[0]]
    if len(set(header)) < len(header) or "" in header:
        raise UserError(f"The header of {path} names a column twice or not at all.", f"It is {header}.", "Correct it.")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise UserError(
                f"Line {number} of {path} has {len(line)} cells.", f"The header has {len(header)}.", "Correct it."
            )
    return header, [dict(zip(header, (cell.strip() for cell in line), strict=True)) for line in lines[1:]]


def number(text: str) -> float:
    """Return the number in a cell; NaN where it is missing."""
    return math.nan if text.strip().lower() in _MISSING else float(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
