"""The nodule templates of a library with their pictures, one of them chosen."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt

from synthct.errors import UserError
from synthct.labels.library import PREVIEW, list_templates, load_template
from synthct.labels.templates import Template
from synthct.scene.cards import error_html
from synthct.scene.path_edits import connect_path

PICTURE = (168, 56)
"""Pixels of a picture in the list: three planes side by side."""


class TemplateGallery:
    """A path edit for the folder of a library, a list of pictures, and a label.

    Parameters
    ----------
    path_edit, list_widget, label
        ``ctkPathLineEdit``, ``QListWidget`` and ``QLabel`` for what is chosen, or what is wrong.
    changed
        Called without arguments when another library or template was chosen.
    """

    def __init__(
        self,
        path_edit: ctk.ctkPathLineEdit,
        list_widget: qt.QListWidget,
        label: qt.QLabel,
        changed: Callable[[], None],
    ) -> None:
        self.path_edit, self.list_widget, self.label = path_edit, list_widget, label
        self.facts: list[dict[str, Any]] = []
        self._wrong = ""
        self._changed = changed
        self._loaded: dict[str, Template] = {}
        self._filling = False
        path_edit.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.NoDotAndDotDot
        path_edit.settingKey = "SyntheticCT/Libraries"
        list_widget.setIconSize(qt.QSize(*PICTURE))
        connect_path(path_edit, self._on_path)
        list_widget.connect("currentRowChanged(int)", self._on_row)
        self.show()

    @property
    def path(self) -> str:
        """Folder of the library, or an empty text. Set it to choose another one."""
        return str(self.path_edit.currentPath).strip()

    @path.setter
    def path(self, path: str) -> None:
        if path != self.path:
            self.path_edit.currentPath = path

    @property
    def name(self) -> str:
        """Name of the chosen template, or an empty text. Set it to choose one that the library has."""
        return str(self._chosen["name"]) if self._chosen is not None else ""

    @name.setter
    def name(self, name: str) -> None:
        row = next((row for row, entry in enumerate(self.facts) if entry["name"] == name), -1)
        if row >= 0 and name != self.name:
            self.list_widget.setCurrentRow(row)

    @property
    def diameter_mm(self) -> float:
        """Of the ball of the chosen template's volume; 0 where none is chosen."""
        chosen = self._chosen
        return float((6 * chosen["volume_mm3"] / math.pi) ** (1 / 3)) if chosen is not None else 0.0

    def template(self, name: str = "") -> Template:
        """Return the chosen template, or the one of a name.

        Raises
        ------
        UserError
            None is chosen, or its files are damaged or gone.
        """
        name = name or self.name
        if not name:
            raise UserError("No template is chosen.", "A nodule is planted from one.", "Choose one in the gallery.")
        if name not in self._loaded:
            self._loaded[name] = load_template(self.path, name)
        return self._loaded[name]

    def all(self) -> list[Template]:
        """Return every template of the library; UserError where it has none or one is damaged."""
        if not self.facts:
            raise UserError("There is no template to plant.", "No library is chosen, or it is empty.", "Choose one.")
        return [self.template(str(entry["name"])) for entry in self.facts]

    def show(self) -> None:
        """List what the folder holds."""
        self._loaded = {}
        self.facts, wrong = [], ""
        if self.path:
            try:
                self.facts = list_templates(self.path)
            except UserError as error:
                wrong = error_html(error)
            else:
                if not self.facts:
                    wrong = error_html(
                        UserError(
                            f"The library {self.path} is empty.",
                            "There is no nodule to plant.",
                            "`synthct templates` cuts some from a CT and a mask.",
                        )
                    )
        self._filling = True
        self.list_widget.clear()
        for entry in self.facts:
            item = qt.QListWidgetItem(_text(entry))
            picture = Path(self.path) / str(entry["name"]) / PREVIEW
            if picture.is_file():
                pixmap = qt.QPixmap(str(picture))
                icon = qt.QIcon(pixmap)
                icon.addPixmap(pixmap, qt.QIcon.Selected)  # else the chosen one would be tinted
                item.setIcon(icon)
            self.list_widget.addItem(item)
        if self.facts:
            self.list_widget.setCurrentRow(0)
        self._filling = False
        self.list_widget.setVisible(bool(self.facts))
        self._wrong = wrong
        self._tell()

    @property
    def _chosen(self) -> dict[str, Any] | None:
        row = self.list_widget.currentRow
        return self.facts[row] if 0 <= row < len(self.facts) else None

    def _tell(self) -> None:
        chosen = self._chosen
        text = "Choose the folder of a library of nodules; synthct templates makes one." if not self.path else ""
        self.label.text = self._wrong or (html.escape(_more(chosen)) if chosen else text)

    def _on_path(self, _signal: object = None) -> None:
        self.show()
        self._changed()

    def _on_row(self, _row: int = 0) -> None:
        if not self._filling:
            self._tell()
            self._changed()


def _text(facts: dict[str, Any]) -> str:
    lines = [str(facts["name"]), f"Ø {facts.get('equivalent_diameter_mm', 0):.1f} mm"]
    return "\n".join(lines)


def _more(facts: dict[str, Any]) -> str:
    words = [f"{facts['name']}: {facts['volume_mm3']:.0f} mm³"]
    if facts.get("longest_diameter_mm"):
        words.append(f"longest diameter {facts['longest_diameter_mm']:.1f} mm")
    if isinstance(facts.get("hu"), dict):
        words.append(f"{facts['hu'].get('mean', 0):.0f} HU")
    if facts.get("malignancy") is not None:
        words.append(f"malignancy {facts['malignancy']:g}")
    return ", ".join(words) + "."
