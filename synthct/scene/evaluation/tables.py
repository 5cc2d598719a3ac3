"""Tables of results: nodes that are saved with the scene, and widgets that show some of their columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import qt
import slicer
import vtk

from synthct.scene.plots import column

Cell = str | float


def fill_table(
    node: slicer.vtkMRMLTableNode | None, name: str, columns: Mapping[str, Sequence[Cell]]
) -> slicer.vtkMRMLTableNode:
    """Write columns of texts or of numbers into a table node, in place of what it held; None: a new one.

    Texts and titles become what a table can be saved with, see :func:`saved`.
    """
    if node is None or node.GetScene() is None:
        unique = slicer.mrmlScene.GenerateUniqueName(name)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", unique)
    content = vtk.vtkTable()
    for place, (title, values) in enumerate(columns.items()):
        if any(isinstance(value, str) for value in values):
            array = vtk.vtkStringArray()
            array.SetName(saved(title))
            for value in values:
                array.InsertNextValue(saved(str(value)) or ("–" if place == 0 else ""))
        else:
            array = column(saved(title), [float(value) for value in values])
        content.AddColumn(array)
    node.SetAndObserveTable(content)
    node.SetUseColumnTitleAsColumnHeader(True)
    return node


def saved(text: str) -> str:
    """Return a text as a saved table keeps it: its file knows no quotes and no tabs, and drops spaces at the ends."""
    return re.sub(r"[\t\r\n]+", " ", text.replace('"', "'")).strip()


def rows_of(node: slicer.vtkMRMLTableNode | None) -> list[dict[str, str]]:
    """Return the rows of a table node as texts by column, as they are after a scene was loaded, too."""
    content = node.GetTable() if node is not None else None
    if content is None:
        return []
    titles = [content.GetColumnName(number) for number in range(content.GetNumberOfColumns())]
    return [
        {title: _text(content.GetValueByName(row, title)) for title in titles}
        for row in range(content.GetNumberOfRows())
    ]


def _text(value: vtk.vtkVariant) -> str:
    return str(value.ToDouble()) if value.IsNumeric() else value.ToString()


def number_in(text: str) -> float:
    """Return the number in a cell; NaN where there is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def short(text: str, pattern: str = "{:.4g}") -> str:
    """Return a number of a cell in few digits, a dash where it is not defined, and any other text as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return "–" if math.isnan(value) else pattern.format(value)


class TableView:
    """A ``QTableWidget`` that shows rows and says which was clicked.

    Parameters
    ----------
    widget
        Filled by :meth:`show`.
    clicked
        Called with the number of a row that is clicked; None: nothing happens.
    """

    def __init__(self, widget: qt.QTableWidget, clicked: Callable[[int], None] | None = None) -> None:
        self.widget, self._clicked = widget, clicked
        self._shown: object = None
        if clicked is not None:
            widget.connect("cellClicked(int,int)", self._on_click)

    def show(
        self, titles: Sequence[str], rows: Sequence[Sequence[str]], tips: Sequence[str] = (), heads: Sequence[str] = ()
    ) -> None:
        """Show rows of texts; the row that is chosen stays so where nothing changed.

        Parameters
        ----------
        tips, heads
            What is said when the mouse rests on a row, or on the heading of a column.
        """
        content = ([*titles], [[*row] for row in rows], [*tips], [*heads])
        if content == self._shown:
            return
        self._shown = content
        widget = self.widget
        widget.clear()
        widget.setColumnCount(len(titles))
        widget.setRowCount(len(rows))
        widget.setHorizontalHeaderLabels([*titles])
        for place, tip in enumerate(heads):
            widget.horizontalHeaderItem(place).setToolTip(tip)
        for number, row in enumerate(rows):
            for place, text in enumerate(row):
                item = qt.QTableWidgetItem(text)
                if tips:
                    item.setToolTip(tips[number])
                widget.setItem(number, place, item)
        widget.resizeColumnsToContents()
        widget.horizontalHeader().setStretchLastSection(True)  # which the line above undid

    def _on_click(self, row: int, _column: int) -> None:
        if self._clicked is not None:
            self._clicked(row)
