"""A table of classes on the screen: name, index, colour, range of HU and order, to edit, load and save."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.labels.classes import SHIPPED, ClassTable, parse_class_table, read_class_table
from synthct.scene.cards import error_html
from synthct.whole_file import write_whole

COLUMNS = ("Class", "Index", "Colour", "HU")
_SOURCES = ("rest", "nodules", "outside", "airways")
_LABELS = {"eight": "Eight: with “windpipe”", "seven": "Seven: with “outside”", "six": "Six, as published"}
_OWN = ""
_ROW_PIXELS = 22


class ClassTableEditor:
    """Rows of a ``QTableWidget``, each class going over those above it, and the buttons around them.

    Parameters
    ----------
    combo, table, label
        ``QComboBox`` of the shipped tables, ``QTableWidget``, and ``QLabel`` for what is wrong.
    up, down, add, remove, load, save
        ``QPushButton`` that move, add and remove the chosen class, read a YAML file and write one.
    changed
        Called without arguments whenever the table has changed.
    """

    def __init__(
        self,
        combo: qt.QComboBox,
        table: qt.QTableWidget,
        label: qt.QLabel,
        up: qt.QPushButton,
        down: qt.QPushButton,
        add: qt.QPushButton,
        remove: qt.QPushButton,
        load: qt.QPushButton,
        save: qt.QPushButton,
        changed: Callable[[], None],
    ) -> None:
        self.combo, self.table_widget, self.label = combo, table, label
        self.error: UserError | None = None
        self._changed = changed
        self._filling = False
        for name, text in _LABELS.items():
            combo.addItem(text, name)
        combo.addItem(_("Own"), _OWN)
        table.setColumnCount(len(COLUMNS))
        table.setHorizontalHeaderLabels(list(COLUMNS))
        header = table.horizontalHeader()
        for column in range(len(COLUMNS)):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents if column else qt.QHeaderView.Stretch)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_PIXELS)
        self.text = ""
        combo.connect("currentIndexChanged(int)", self._on_shipped)
        table.connect("cellChanged(int,int)", self._on_cell)
        up.connect("clicked(bool)", self._on_up)
        down.connect("clicked(bool)", self._on_down)
        add.connect("clicked(bool)", self._on_add)
        remove.connect("clicked(bool)", self._on_remove)
        load.connect("clicked(bool)", self._on_load)
        save.connect("clicked(bool)", self._on_save)

    @property
    def table(self) -> ClassTable:
        """What the rows say; UserError where they are no table."""
        return parse_class_table(self._content(), _("the table of classes"))

    @property
    def text(self) -> str:
        """The rows as JSON, for the parameter node; an empty text is the shipped table of eight."""
        return json.dumps(self._content(), ensure_ascii=False)

    @text.setter
    def text(self, text: str) -> None:
        try:
            content = json.loads(text) if text else read_class_table().to_dict()
            parse_class_table(content, _("the table of classes"))
        except (ValueError, UserError):
            content = content if text and _editable(text) else read_class_table().to_dict()
        self._fill(content)

    def _content(self) -> dict:
        rows = []
        for row in range(self.table_widget.rowCount):
            name, index, colour, hu = (self._cell(row, column) for column in range(len(COLUMNS)))
            entry = {"name": name, "index": int(index) if index.lstrip("-").isdigit() else index, "colour": colour}
            rows.append(entry | ({"from": hu} if hu in _SOURCES else {"hu": hu}))
        return {"name": str(self.combo.currentData or "own"), "classes": rows}

    def _cell(self, row: int, column: int) -> str:
        item = self.table_widget.item(row, column)
        return item.text().strip() if item is not None else ""

    def _fill(self, content: dict) -> None:
        self._filling = True
        try:
            rows = content["classes"]
            self.combo.setCurrentIndex(self.combo.findData(_shipped_name(content)))
            self.table_widget.setRowCount(len(rows))
            for row, entry in enumerate(rows):
                words = (entry["name"], entry["index"], entry["colour"], entry.get("hu") or entry.get("from") or "")
                for column, word in enumerate(words):
                    self.table_widget.setItem(row, column, qt.QTableWidgetItem(str(word)))
        finally:
            self._filling = False
        self._check()

    def _check(self) -> None:
        """Colour the cells, and say what is wrong with the table."""
        self._filling = True
        for row in range(self.table_widget.rowCount):
            item = self.table_widget.item(row, 2)
            colour = qt.QColor(self._cell(row, 2))
            if item is not None and colour.isValid():
                item.setBackground(qt.QBrush(colour))
                light = colour.red() * 0.3 + colour.green() * 0.59 + colour.blue() * 0.11 > 128
                item.setForeground(qt.QBrush(qt.QColor("#000000" if light else "#ffffff")))
        self._filling = False
        self.error = None
        try:
            self.table  # noqa: B018
        except UserError as error:
            self.error = error
        self.label.text = error_html(self.error) if self.error is not None else ""
        self.label.setVisible(self.error is not None)

    def _edited(self, content: dict) -> None:
        self._fill({**content, "name": "own"})
        self._changed()

    def _on_cell(self, _row: int, _column: int) -> None:
        if not self._filling:
            self._edited(self._content())

    def _on_shipped(self, _index: int = 0) -> None:
        if self._filling:
            return
        name = str(self.combo.currentData or "")
        if name in SHIPPED:
            self._fill(read_class_table(name).to_dict())
        self._changed()

    def _move(self, step: int) -> None:
        content, row = self._content(), self.table_widget.currentRow()
        if row < 0 or not 0 <= row + step < len(content["classes"]):
            return
        rows = content["classes"]
        rows[row], rows[row + step] = rows[row + step], rows[row]
        self._edited(content)
        self.table_widget.selectRow(row + step)

    def _on_up(self, _clicked: bool = False) -> None:
        self._move(-1)

    def _on_down(self, _clicked: bool = False) -> None:
        self._move(1)

    def _on_add(self, _clicked: bool = False) -> None:
        content = self._content()
        rows = content["classes"]
        taken = {entry["index"] for entry in rows}
        index = next(number for number in range(256) if number not in taken)
        entry = {"name": f"class {index}", "index": index, "colour": "#808080", "hu": "[1000, 2000)"}
        last = bool(rows) and rows[-1].get("from") == "nodules"  # nodules go over everything else
        rows.insert(len(rows) - last, entry)
        self._edited(content)

    def _on_remove(self, _clicked: bool = False) -> None:
        content, row = self._content(), self.table_widget.currentRow()
        if 0 <= row < len(content["classes"]) and len(content["classes"]) > 1:
            del content["classes"][row]
            self._edited(content)

    def _on_load(self, _clicked: bool = False) -> None:
        chosen = str(
            qt.QFileDialog.getOpenFileName(
                slicer.util.mainWindow(), _("Table of classes"), "", _("Tables of classes (*.yaml *.yml)")
            )
        )
        if not chosen:
            return
        try:
            table = read_class_table(Path(chosen))
        except UserError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("Table of classes"))
            return
        self._fill(table.to_dict())
        self._changed()

    def _on_save(self, _clicked: bool = False) -> None:
        chosen = str(
            qt.QFileDialog.getSaveFileName(
                slicer.util.mainWindow(), _("Save the table of classes"), "classes.yaml", _("Tables (*.yaml *.yml)")
            )
        )
        if not chosen:
            return
        target = Path(chosen) if Path(chosen).suffix else Path(f"{chosen}.yaml")
        try:
            write_table(self.table, target)
        except UserError as error:
            slicer.util.errorDisplay(str(error), windowTitle=_("Table of classes"))


def write_table(table: ClassTable, path: Path) -> None:
    """Write a table as YAML, as `synthct labels --classes` reads it.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    import yaml  # not in every Slicer, which loads this file

    try:
        write_whole(path, yaml.safe_dump(table.to_dict(), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror or error}.", "Choose another place.") from error


def _shipped_name(content: dict) -> str:
    """Return which shipped table this is, or an empty text."""
    return next((name for name in SHIPPED if read_class_table(name).to_dict()["classes"] == content["classes"]), _OWN)


def _editable(text: str) -> bool:
    """Whether a text holds rows, though they may be no table yet: they are shown so that they can be corrected."""
    try:
        rows = json.loads(text)["classes"]
        return all({"name", "index", "colour"} <= set(row) for row in rows)
    except (ValueError, KeyError, TypeError):
        return False
