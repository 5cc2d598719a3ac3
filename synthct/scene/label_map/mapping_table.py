"""A row for each label of a segmentation and the class that it becomes, chosen on the screen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import qt

from synthct.errors import UserError
from synthct.labels.classes import ClassTable
from synthct.options import close_match

_NONE = "—"


class MappingTable:
    """Rows of a ``QTableWidget`` with a ``QComboBox`` of classes each.

    Parameters
    ----------
    table
        ``QTableWidget``.
    changed
        Called without arguments whenever a class was chosen.
    """

    def __init__(self, table: qt.QTableWidget, changed: Callable[[], None]) -> None:
        self.table = table
        self._changed = changed
        self._names: dict[int, str] = {}
        self._classes: list[str] = []
        self._combos: list[qt.QComboBox] = []
        self._filling = False
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels(["Label", "becomes"])
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.verticalHeader().setVisible(False)

    def show(self, names: Mapping[int, str], classes: ClassTable | None, text: str) -> None:
        """Show labels (value → name), the classes to choose from and what was chosen before (`text`).

        A label that nothing was chosen for becomes the class of its own name, where there is one.
        """
        words = [entry.name for entry in classes.classes] if classes is not None else []
        chosen = _read(text)
        for name in names.values():
            same = [word for word in words if word.casefold() == name.casefold()]
            chosen.setdefault(name, same[0] if same else "")
        if dict(names) == self._names and words == self._classes and chosen == self.chosen:
            return
        self._names, self._classes = dict(names), words
        self._filling = True
        self._combos = []
        self.table.setRowCount(len(names))
        for row, (value, name) in enumerate(names.items()):
            item = qt.QTableWidgetItem(name if name == str(value) else f"{name} ({value})")
            item.setFlags(qt.Qt.ItemIsEnabled)
            self.table.setItem(row, 0, item)
            combo = qt.QComboBox()
            for word in [_NONE, *words]:
                combo.addItem(word)
            combo.setCurrentIndex(max(combo.findText(chosen[name]), 0))
            combo.connect("currentIndexChanged(int)", self._on_index)
            self.table.setCellWidget(row, 1, combo)
            self._combos.append(combo)
        self._filling = False

    @property
    def chosen(self) -> dict[str, str]:
        """Name of a label → name of its class; an empty text where none is chosen."""
        words = [str(combo.currentText) for combo in self._combos]
        return {name: "" if word == _NONE else word for name, word in zip(self._names.values(), words, strict=True)}

    @property
    def text(self) -> str:
        """What was chosen, as JSON for the parameter node."""
        return json.dumps(self.chosen, ensure_ascii=False)

    @property
    def mapping(self) -> dict[int, str]:
        """Value → class, for `synthct labels --mapping`.

        Raises
        ------
        UserError
            Naming the labels that have no class.
        """
        without = [name for name, word in self.chosen.items() if not word]
        if without:
            raise UserError(
                f"No class is chosen for {', '.join(without)}.",
                close_match(without[0], self._classes),
                "Choose one for each label.",
            )
        return dict(zip(self._names, self.chosen.values(), strict=True))

    def _on_index(self, _index: int = 0) -> None:
        if not self._filling:
            self._changed()


def _read(text: str) -> dict[str, str]:
    try:
        content = json.loads(text) if text else {}
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}
