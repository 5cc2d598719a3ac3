"""A job's progress and a table of scores on the widgets of a module."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import qt

from synthct.scene.cards import error_html, score_rows, warning_lines
from synthct.scene.translation import Translation
from synthct.terminal import duration


def show_progress(bar: qt.QProgressBar, label: qt.QLabel, event: Mapping[str, Any] | None, waiting: str) -> None:
    """Show a progress event on a ``QProgressBar`` and a ``QLabel``.

    Parameters
    ----------
    event
        The newest progress event; None: nothing is known yet, the bar only moves.
    waiting
        What to say then.
    """
    task = " ".join(filter(None, (event.get("task"), event.get("message")))) if event else ""
    task = task or waiting
    task = task[0].upper() + task[1:]
    if event is None or event.get("total", 0) <= 1:
        bar.setRange(0, 0)
        label.text = html.escape(task)
        return
    bar.setRange(0, 1000)
    bar.setValue(int(1000 * min(max(event["done"] / event["total"], 0.0), 1.0)))
    left = f", {duration(event['eta_s'])} left" if event.get("eta_s") is not None else ""
    label.text = html.escape(f"{task}: {event['done']:.10g} of {event['total']:.10g}{left}")


def show_scores(table: qt.QTableWidget, scores: Mapping[str, Any] | None) -> None:
    """Fill a ``QTableWidget`` with scores and show it; hide it where there are none."""
    rows = score_rows(scores or {})
    table.setColumnCount(2)
    table.setHorizontalHeaderLabels(["Score", "Value"])
    table.setRowCount(len(rows))
    for number, (_, name, value) in enumerate(rows):
        table.setItem(number, 0, qt.QTableWidgetItem(name))
        table.setItem(number, 1, qt.QTableWidgetItem(value))
    table.resizeColumnsToContents()
    table.setVisible(bool(rows))


def result_html(translation: Translation, shown: str = "shown over the MR") -> str:
    """Return what came of a translation, and every warning on the way, as a short text; ``shown`` says where."""
    node = translation.output_node
    lines = []
    if translation.error is not None:
        lines.append(error_html(translation.error))
    elif translation.state == "cancelled":
        lines.append("Cancelled." + ("" if node else " The scene is as it was."))
    if node is not None:
        lines.append(f"<b>{html.escape(node.GetName())}</b> is in the scene, {shown}.")
    if translation.likeness:
        lines.append(html.escape(translation.likeness))
    lines += warning_lines(translation.warnings)
    return "<br>".join(lines)
