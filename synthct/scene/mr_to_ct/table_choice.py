"""A table of the user's own in place of a shipped one: the path edit of a section and the parameter that keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ctk

from synthct.scene.path_edits import connect_path


class TableChoice:
    """Keeps a path edit and a parameter alike, whichever of them is changed.

    Parameters
    ----------
    edit
        ``ctkPathLineEdit`` of a CSV file; empty: the shipped table.
    parameters
        Returns the parameter node, or None.
    name
        Of the parameter that keeps the path.
    """

    def __init__(self, edit: ctk.ctkPathLineEdit, parameters: Callable[[], Any], name: str) -> None:
        self.edit = edit
        self._parameters, self._name = parameters, name
        edit.filters = ctk.ctkPathLineEdit.Files
        edit.nameFilters = ["Tables (*.csv)"]
        connect_path(edit, self._on_path)

    @property
    def path(self) -> str:
        """Path of the user's table, or an empty text for the shipped one."""
        return str(self.edit.currentPath).strip()

    @path.setter
    def path(self, path: str) -> None:
        if path != self.path:
            self.edit.currentPath = path

    def update(self) -> None:
        """Show the path that the parameter node keeps."""
        parameters = self._parameters()
        if parameters is not None:
            self.path = getattr(parameters, self._name)

    def _on_path(self, _path: str = "") -> None:
        parameters = self._parameters()
        if parameters is not None:
            setattr(parameters, self._name, self.path)
