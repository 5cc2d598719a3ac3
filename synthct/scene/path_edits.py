"""What ``ctkPathLineEdit`` does not say or says too often: every change is heard, the history is kept quietly."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import ctk


def connect_path(edit: ctk.ctkPathLineEdit, changed: Callable[[str], None]) -> None:
    """Call ``changed`` with every new text.

    The edit's own ``currentPathChanged`` keeps quiet about a path that is taken away or that ends otherwise than its
    name filters say.
    """
    edit.comboBox().connect("editTextChanged(QString)", changed)


@contextlib.contextmanager
def quiet(edit: ctk.ctkPathLineEdit) -> Iterator[None]:
    """Change the list of an edit, whose text is another meanwhile, with nobody hearing of it."""
    line = edit.comboBox().lineEdit()
    before = line.blockSignals(True)
    try:
        yield
    finally:
        line.blockSignals(before)


def remember(edit: ctk.ctkPathLineEdit) -> None:
    """Put the path into the list of those used last."""
    with quiet(edit):
        edit.addCurrentPathToHistory()
