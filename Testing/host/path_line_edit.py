"""``ctkPathLineEdit``: an editable path with a history and a browse button, as CTK has it with all its corners.

A path counts as valid where it is not empty and ends as ``nameFilters`` say, whether or not it exists.
``currentPathChanged`` comes for valid paths only: a text that is taken away is seen by ``validInputChanged`` alone, and
a change from one invalid text to another by neither. A history that is read shows its newest path without a signal, and
only where no path is shown. A path put into the history is taken out of the list first: meanwhile another is current.
"""

import re

from PySide6 import QtCore, QtWidgets

_MOST = 5
_FILES, _WRITABLE = QtCore.QDir.Filter.Files.value, QtCore.QDir.Filter.Writable.value


class ctkPathLineEdit(QtWidgets.QWidget):
    """An editable path with a browse button; history kept in QSettings under ``settingKey``."""

    Filters = QtCore.QDir.Filter
    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        kinds = QtCore.QDir.Filter
        filters = kinds.AllEntries | kinds.NoDotAndDotDot | kinds.Readable | kinds.Executable
        self._filters = int(filters.value)
        self._options = 0
        self._name_filters: list[str] = []
        self._label = ""
        self._setting_key = ""
        self._valid = False
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        self._browse.clicked.connect(self.browse)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._combo)
        layout.addWidget(self._browse)
        self._combo.lineEdit().textChanged.connect(self._on_text)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)

    def _on_text(self, text):
        was_valid, self._valid = self._valid, self._accepts(text)
        if self._valid:
            self.currentPathChanged.emit(text)
        if self._valid != was_valid:
            self.validInputChanged.emit(self._valid)

    def _accepts(self, text):
        endings = [ending for name in self._name_filters for ending in re.findall(r"\*\.(\w+)", name)]
        return text.endswith(tuple(f".{ending}" for ending in endings)) if endings else bool(text)

    def comboBox(self) -> QtWidgets.QComboBox:
        """Return the combo box that holds the text and the history."""
        return self._combo

    def browse(self) -> None:
        """Ask for a folder or a file, as ``filters`` says."""
        from .dialogs import choose_path

        if not self._filters & _FILES:
            chosen = choose_path("Select a directory...", "directory")
        elif self._filters & _WRITABLE:
            chosen = choose_path("Select a file to save ", "save")
        else:
            chosen = choose_path("Open a file", "file")
        if chosen:
            self.setCurrentPath(chosen)

    def setCurrentPath(self, path: str) -> None:
        """Show ``path``."""
        self._combo.lineEdit().setText(path)

    def addCurrentPathToHistory(self) -> None:
        """Put the current path first in the history, kept in QSettings."""
        path = self._combo.currentText()
        if not path:
            return
        QtCore.QSettings().setValue(self._key(), [path, *(old for old in self._kept() if old != path)])
        if (index := self._combo.findText(path)) >= 0:
            self._combo.removeItem(index)
        while self._combo.count() >= _MOST:
            self._combo.removeItem(self._combo.count() - 1)
        self._combo.insertItem(0, path)
        self._combo.setCurrentIndex(0)

    def retrieveHistory(self) -> None:
        """Read the history from QSettings; its first path is shown where none is."""
        path = self._combo.currentText()
        with QtCore.QSignalBlocker(self):
            self._combo.clear()
            self._combo.addItems(self._kept()[:_MOST])
            if path:
                self.setCurrentPath(path)
        if not path:
            self._combo.setCurrentIndex(0)

    def _key(self):
        return f"ctkPathLineEdit/{self._setting_key or self.objectName()}"

    def _kept(self):
        paths = QtCore.QSettings().value(self._key()) or []
        return [paths] if isinstance(paths, str) else list(paths)

    def _set_setting_key(self, key):
        self._setting_key = key
        self.retrieveHistory()

    currentPath = QtCore.Property(str, lambda self: self._combo.currentText(), setCurrentPath)
    filters = QtCore.Property(
        int, lambda self: self._filters, lambda self, value: setattr(self, "_filters", int(value))
    )
    options = QtCore.Property(
        int, lambda self: self._options, lambda self, value: setattr(self, "_options", int(value))
    )
    label = QtCore.Property(str, lambda self: self._label, lambda self, value: setattr(self, "_label", value))
    settingKey = QtCore.Property(str, lambda self: self._setting_key, _set_setting_key)
    nameFilters = QtCore.Property(
        "QStringList", lambda self: self._name_filters, lambda self, value: setattr(self, "_name_filters", list(value))
    )
    showBrowseButton = QtCore.Property(
        bool, lambda self: not self._browse.isHidden(), lambda self, value: self._browse.setVisible(value)
    )
