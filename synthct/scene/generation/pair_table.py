"""The list of generated pairs: what each mask holds, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from synthct.scene.generation.folder import Pair

MOST = 1000
"""Rows at most: a longer list helps nobody and takes long to fill."""
_RED, _AMBER = "#c0392b", "#b9770e"


class PairTable:
    """Shows pairs in a ``QTableWidget`` and says which one was clicked.

    Parameters
    ----------
    table
        Filled here.
    chosen
        Called with the number of the pair that was clicked.
    """

    def __init__(self, table: qt.QTableWidget, chosen: Callable[[int], None]) -> None:
        self._table = table
        self._chosen = chosen
        self._pairs: tuple[Pair, ...] = ()
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Pair"), _("Mask, mm³"), _("Class"), _("Remarks")])
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setStretchLastSection(True)
        table.connect("cellClicked(int,int)", self._on_cell)
        table.connect("cellActivated(int,int)", self._on_cell)
        table.setVisible(False)

    def show(self, pairs: Sequence[Pair]) -> None:
        """List the pairs; the table is hidden where there are none."""
        if tuple(pairs) == self._pairs:
            return
        self._pairs = tuple(pairs)
        shown = self._pairs[:MOST]
        table = self._table
        table.clearContents()
        table.setRowCount(len(shown))
        for row, pair in enumerate(shown):
            volume = "" if pair.mask_mm3 is None else f"{pair.mask_mm3:,.0f}".replace(",", "\u202f")
            for column, text in enumerate((pair.id, volume, pair.class_name, pair.remarks)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(pair.remarks)
                if pair.remarks:
                    item.setForeground(qt.QBrush(qt.QColor(_RED if pair.leaks else _AMBER)))
                table.setItem(row, column, item)
        table.setColumnHidden(2, not any(pair.class_name for pair in shown))
        table.resizeColumnsToContents()
        table.setVisible(bool(shown))

    def _on_cell(self, row: int, _column: int) -> None:
        if 0 <= row < len(self._pairs):
            self._chosen(row)
