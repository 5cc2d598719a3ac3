"""The table of a segmentation experiment as a table node: a row for each arm, with its tests against the baseline."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import qt
import slicer

from synthct.errors import UserError
from synthct.scene.evaluation.tables import TableView, fill_table, rows_of, short

RUN, _DEFINITIONS = "SyntheticCT.Experiment", "definitions"
"""Attributes of the table: the experiment's folder, and the meaning of its columns."""
_DICE, _OTHERS = "dice_percent", ("sensitivity_percent", "f2_percent")
_SHOWN = {
    "arm": "Arm", "dice_percent": "Dice", "difference": "Δ", "p_t_holm": "p (t)", "p_wilcoxon_holm": "p (W)",
    "sensitivity_percent": "Sens.", "f2_percent": "F2", "trained_on": "Trained on",
}  # fmt: skip
_TESTS = ("difference", "p_t", "p_t_holm", "p_wilcoxon", "p_wilcoxon_holm", "effect_dz")


def take_table(run: Path, node: slicer.vtkMRMLTableNode | None) -> slicer.vtkMRMLTableNode:
    """Put the numbers of a finished experiment into a table node (None: a new one).

    Means over the patients with a lesion, where there are any; tests of the Dice against the baseline.

    Raises
    ------
    UserError
        They cannot be read.
    """
    try:
        content = json.loads((run / "table.json").read_text(encoding="utf-8"))
        patients, found = next(iter(content["results"].items()))
        columns = _columns(content, found)
        meant = {**found["definitions"], **content["score_definitions"]}
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UserError(f"The table in {run} cannot be read.", f"{error}.", "Start the experiment again.") from error
    table = fill_table(node, f"Experiment {content['experiment']}", columns)
    table.SetAttribute(RUN, str(run))
    table.SetAttribute(_DEFINITIONS, json.dumps(meant))
    table.SetDescription(f"Means over {found['patients']} test {patients}, in percent; against {content['baseline']}.")
    return table


class ArmsView:
    """The table of an experiment in a ``QTableWidget``."""

    def __init__(self, widget: qt.QTableWidget) -> None:
        self._view = TableView(widget)

    def show(self, node: slicer.vtkMRMLTableNode | None) -> None:
        """Show a table of :func:`take_table`; None: nothing."""
        rows = rows_of(node)
        text = node.GetAttribute(_DEFINITIONS) if node is not None else None
        known = json.loads(text) if text else {}
        heads = [
            " ".join(filter(None, (known.get(name.removesuffix("_holm")), known.get("holm") if "holm" in name else "")))
            for name in _SHOWN
        ]
        shown = [[_cell(name, row[name]) for name in _SHOWN] for row in rows]
        self._view.show(list(_SHOWN.values()), shown, [row["notes"].strip() for row in rows], heads)


def _columns(content: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    sums = {(row["stratum"], row["group"], row["score"]): row for row in found["summaries"]}
    tests = {(row["stratum"], row["group"]): row for row in found["comparisons"] if row["score"] == _DICE}
    arms = list(dict.fromkeys((stratum, group) for stratum, group, _score in sums))
    columns: dict[str, Any] = {
        "arm": [f"{group} ({stratum})" if stratum else group for stratum, group in arms],
        "trained_on": [str(content["arms"][group]) for _stratum, group in arms],
    }
    for key, name in (("n", "n"), ("mean", _DICE), ("median", "dice_median"), ("sd_sample", "dice_sd")):
        columns[name] = [_number(sums[(*arm, _DICE)][key]) for arm in arms]
    for score in _OTHERS:
        columns[score] = [_number(sums[(*arm, score)]["mean"]) for arm in arms]
    for name in _TESTS:
        columns[name] = [_number(tests.get(arm, {}).get(name)) for arm in arms]
    columns["notes"] = [" ".join(tests[arm]["notes"]) if arm in tests else "The baseline." for arm in arms]
    return columns


def _cell(name: str, text: str) -> str:
    return short(text, "{:.2g}") if name.startswith("p_") else short(text, "{:.1f}")


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
