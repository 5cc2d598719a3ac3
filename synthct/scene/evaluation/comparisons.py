"""The numbers of ``synthct statistics`` as table nodes, and shown: what each group has, and how it differs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import qt
import slicer

from synthct.errors import UserError
from synthct.scene.evaluation.tables import TableView, fill_table, rows_of, short

DEFINITIONS = "definitions"
"""Attribute of a table: the meaning of its columns."""
_TESTS = {
    "group": "Group", "score": "Score", "difference": "Δ", "p_t_holm": "p (t)", "p_wilcoxon_holm": "p (W)",
    "effect_dz": "d", "n": "n",
}  # fmt: skip
_EQUIVALENCE = {"p_tost": "p (equal)"}
_GROUPS = {"group": "Group", "score": "Score", "mean": "Mean", "sd_sample": "SD", "median": "Median", "n": "n"}


def take_tests(content: Mapping[str, Any], node: slicer.vtkMRMLTableNode | None, name: str) -> slicer.vtkMRMLTableNode:
    """Put the paired tests of a result of ``synthct statistics`` into a table node (None: a new one).

    Raises
    ------
    UserError
        Nothing was compared.
    """
    rows = content["comparisons"]
    if not rows:
        why = " ".join(content["notes"]) or "There is no group but the baseline."
        raise UserError("Nothing could be compared.", why, "Choose another baseline or group.")
    return _filled(rows, ("ci95_difference",), content, node, name)


def take_groups(content: Mapping[str, Any], node: slicer.vtkMRMLTableNode | None, name: str) -> slicer.vtkMRMLTableNode:
    """Put the summaries of the groups into a table node (None: a new one)."""
    return _filled(content["summaries"], ("ci95_normal", "ci95_bootstrap"), content, node, name)


def _filled(
    rows: Sequence[Mapping[str, Any]],
    intervals: Sequence[str],
    content: Mapping[str, Any],
    node: slicer.vtkMRMLTableNode | None,
    name: str,
) -> slicer.vtkMRMLTableNode:
    columns: dict[str, Any] = {key: [str(row[key]) for row in rows] for key in ("group", "score")}
    columns["stratum"] = [row["stratum"] for row in rows]
    for key in rows[0]:
        if key in intervals:
            ends = [row[key] or (None, None) for row in rows]
            columns |= {f"{key}_{end}": [_number(pair[n]) for pair in ends] for n, end in enumerate(("low", "high"))}
        elif key not in columns and key != "notes":
            columns[key] = [_number(row[key]) for row in rows]
    columns["notes"] = [" ".join(row["notes"]) for row in rows]
    table = fill_table(node, name, columns)
    table.SetAttribute(DEFINITIONS, json.dumps(content["definitions"]))
    return table


class TestsView:
    """Paired tests in a ``QTableWidget``: definitions at the headings, at each row why it has no p-value."""

    __test__ = False  # not a class of tests

    def __init__(self, widget: qt.QTableWidget) -> None:
        self._view = TableView(widget)

    def show(self, node: slicer.vtkMRMLTableNode | None) -> None:
        """Show a table of :func:`take_tests`; None: nothing."""
        rows = rows_of(node)
        tested = any(short(row["p_tost"]) != "–" for row in rows if "p_tost" in row)
        _show(self._view, _TESTS | (_EQUIVALENCE if tested else {}), node, rows)


class GroupsView:
    """Summaries of groups in a ``QTableWidget``."""

    def __init__(self, widget: qt.QTableWidget) -> None:
        self._view = TableView(widget)

    def show(self, node: slicer.vtkMRMLTableNode | None) -> None:
        """Show a table of :func:`take_groups`; None: nothing."""
        _show(self._view, _GROUPS, node, rows_of(node))


def _show(
    view: TableView, columns: Mapping[str, str], node: slicer.vtkMRMLTableNode | None, rows: Sequence[Mapping[str, str]]
) -> None:
    known = json.loads((node.GetAttribute(DEFINITIONS) if node is not None else None) or "{}")
    shown = []
    for row in rows:
        cells = [short(row[name], "{:.2g}" if name.startswith("p_") else "{:.4g}") for name in columns]
        if row["stratum"].strip():
            cells[0] += f" ({row['stratum']})"
        shown.append(cells)
    heads = [_meaning(name, known) for name in columns]
    view.show(list(columns.values()), shown, [row["notes"].strip() for row in rows], heads)


def _meaning(name: str, known: Mapping[str, str]) -> str:
    corrected = known.get("holm", "") if name.endswith("_holm") else ""
    return " ".join(filter(None, (known.get(name.removesuffix("_holm"), ""), corrected)))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
