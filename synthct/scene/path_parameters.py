"""Paths of a parameter node shown in path edits, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ctk

from synthct.scene.path_edits import connect_path


class PathParameters:
    """Keeps texts of a parameter node and ``ctkPathLineEdit`` widgets alike.

    Parameters
    ----------
    edits
        By the name of the parameter.
    folders
        Names of those that are folders; the others are files.
    parameters
        Returns the parameter node, or None.
    changed
        Called when the user has chosen another path.
    """

    def __init__(
        self,
        edits: Mapping[str, ctk.ctkPathLineEdit],
        folders: tuple[str, ...],
        parameters: Callable[[], Any],
        changed: Callable[[], None],
    ) -> None:
        self._edits, self._parameters, self._changed = dict(edits), parameters, changed
        self._filling = False
        for name, edit in self._edits.items():
            is_folder = name in folders
            wanted = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.NoDotAndDotDot
            edit.filters = wanted if is_folder else ctk.ctkPathLineEdit.Files
            connect_path(edit, self._on_path)

    def __getitem__(self, name: str) -> str:
        """Return the path shown, or an empty text."""
        return str(self._edits[name].currentPath).strip()

    def update(self) -> None:
        """Show what the parameter node says."""
        node = self._parameters()
        if node is None or self._filling:
            return
        self._filling = True
        for name, edit in self._edits.items():
            path = str(getattr(node, name) or "")
            if path != self[name]:
                edit.currentPath = path
        self._filling = False

    def _on_path(self, _path: str = "") -> None:
        node = self._parameters()
        if node is None or self._filling:
            return
        self._filling = True
        for name in self._edits:
            if str(getattr(node, name) or "") != self[name]:
                setattr(node, name, self[name])
        self._filling = False
        self._changed()
