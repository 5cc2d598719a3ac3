"""The nodules planted in a label map as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer

from synthct.scene.nodes import world_matrix
from synthct.scene.nodules.planted import Nodule

COLUMNS = ("Nodule", "Template", "Ø mm", "R, A, S mm")


class NoduleList:
    """A ``QTableWidget`` of nodules; a double click shows one in the slice views.

    Parameters
    ----------
    table
        ``QTableWidget``.
    chosen
        Called without arguments when another row was chosen.
    opened
        Called without arguments when a row was double-clicked.
    """

    def __init__(self, table: qt.QTableWidget, chosen: Callable[[], None], opened: Callable[[], None]) -> None:
        self.table = table
        self.nodules: list[Nodule] = []
        self._chosen, self._opened = chosen, opened
        table.setColumnCount(len(COLUMNS))
        table.setHorizontalHeaderLabels(list(COLUMNS))
        table.verticalHeader().setVisible(False)
        for column in range(len(COLUMNS)):
            stretch = column == 1
            mode = qt.QHeaderView.Stretch if stretch else qt.QHeaderView.ResizeToContents
            table.horizontalHeader().setSectionResizeMode(column, mode)
        table.connect("itemSelectionChanged()", self._on_selection)
        table.connect("cellDoubleClicked(int,int)", self._on_double_click)

    @property
    def current(self) -> Nodule | None:
        """The chosen nodule."""
        row = self.table.currentRow()
        return self.nodules[row] if 0 <= row < len(self.nodules) else None

    def show(self, nodules: Sequence[Nodule]) -> None:
        """List these. A new one is chosen, else the one that was chosen stays so, by its name."""
        if [nodule.id for nodule in nodules] == [nodule.id for nodule in self.nodules]:
            self.nodules = list(nodules)
            return
        before = self.current.name if self.current is not None else ""
        known = {nodule.id for nodule in self.nodules}
        came = [nodule.name for nodule in nodules if nodule.id not in known]
        before = came[0] if came else before
        self.nodules = list(nodules)
        self.table.setRowCount(len(nodules))
        for row, nodule in enumerate(nodules):
            place = ", ".join(f"{value:.0f}" for value in nodule.position_ras)
            for column, word in enumerate((nodule.name, nodule.template, f"{nodule.diameter_mm:.1f}", place)):
                item = qt.QTableWidgetItem(word)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                self.table.setItem(row, column, item)
        row = next((row for row, nodule in enumerate(nodules) if nodule.name == before), len(nodules) - 1)
        if row >= 0:
            self.table.selectRow(row)

    def _on_selection(self) -> None:
        self._chosen()

    def _on_double_click(self, _row: int = 0, _column: int = 0) -> None:
        self._opened()


def centre_of(labels: slicer.vtkMRMLLabelMapVolumeNode, nodule: Nodule) -> tuple[float, float, float]:
    """Return where a nodule is centred, RAS mm, also when its label map was moved since."""
    first = labels.GetImageData().GetExtent()[0::2]
    place = world_matrix(labels) @ [*(a + b for a, b in zip(nodule.anchor[::-1], first, strict=True)), 1]
    return float(place[0]), float(place[1]), float(place[2])


def jump_to(place: Sequence[float]) -> None:
    """Show a place in the middle of all slice views."""
    slicer.modules.markups.logic().JumpSlicesToLocation(*place, True)
