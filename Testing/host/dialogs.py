"""Modal dialogs without a person: each one is recorded, and answered by what a test queued with ``answer``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6 import QtWidgets

from . import signals
from .attributes import override
from .pythonqt import wrap


@dataclass
class Shown:
    """A dialog that came up: its class, what it said and what it got as a reply."""

    kind: str
    title: str
    text: str
    reply: Any


shown: list[Shown] = []
_answers: list[tuple[str, Any]] = []


def answer(contains: str, reply: Any) -> None:
    """Reply to the next dialog whose title or text contains ``contains``.

    ``reply`` is a button's name or number for a message box, a path (or list of paths) for a file dialog, a text for
    an input dialog, True or False for another dialog, or a callable that gets the dialog and returns one of these.
    """
    _answers.append((contains, reply))


def forget() -> None:
    """Forget queued answers and recorded dialogs."""
    _answers.clear()
    shown.clear()


def _reply(kind, title, text, dialog, default):
    for entry in _answers:
        if entry[0] in title or entry[0] in text:
            _answers.remove(entry)
            reply = entry[1](wrap(dialog)) if isinstance(entry[1], Callable) else entry[1]
            shown.append(Shown(kind, title, text, reply))
            return reply
    shown.append(Shown(kind, title, text, None))
    signals.errors.append(f"{kind} came up and nobody had an answer: {title!r} {text!r}")
    return default


def _button(reply):
    kinds = QtWidgets.QMessageBox.StandardButton
    return kinds.__members__[reply] if isinstance(reply, str) else kinds(int(reply))


@override("QDialog", "exec")
def _exec(real):
    real.show()
    QtWidgets.QApplication.processEvents()
    kind = type(real).__name__
    if isinstance(real, QtWidgets.QFileDialog):
        reply = _reply(kind, real.windowTitle(), real.labelText(real.DialogLabel.FileName), real, False)
        if isinstance(reply, str):
            real.selectFile(reply)
        real.done(int(bool(reply)))
        return int(bool(reply))
    if isinstance(real, QtWidgets.QMessageBox):
        offered = [real.standardButton(button) for button in real.buttons()]
        refusals = [real.StandardButton.Cancel, real.StandardButton.No, *offered]
        default = next(button for button in refusals if button in offered)
        reply = _button(_reply(kind, real.windowTitle().strip(), real.text(), real, default))
        if real.button(reply) is None:
            raise ValueError(f"the message box {real.text()!r} has no button {reply.name}")
        real.button(reply).click()
        return int(reply.value)
    reply = int(bool(_reply(kind, real.windowTitle(), "", real, False)))
    real.done(reply)
    return reply


@override("QMenu", "exec")
def _exec_menu(real, *position):
    reply = _reply("QMenu", real.title(), "", real, None)
    chosen = next((action for action in real.actions() if action.text() == reply), None)
    if chosen is not None:
        chosen.trigger()
    return chosen


def _message(icon):
    def show(real, parent, title, text, *buttons):
        default = (
            QtWidgets.QMessageBox.StandardButton.No if icon == "question" else QtWidgets.QMessageBox.StandardButton.Ok
        )
        return int(_button(_reply(f"QMessageBox.{icon}", title, text, None, default)).value)

    return show


for _icon in ("question", "information", "warning", "critical"):
    override("QMessageBox", _icon)(_message(_icon))


def choose_path(title: str, kind: str) -> str:
    """Return the path queued for a file dialog, or an empty string when it was cancelled."""
    reply = _reply(f"QFileDialog ({kind})", title, "", None, "")
    return reply if isinstance(reply, str) else str(reply or "")


@override("QFileDialog", "getOpenFileName")
def _open_file(real, parent=None, caption="", *rest):
    return choose_path(caption, "file")


@override("QFileDialog", "getSaveFileName")
def _save_file(real, parent=None, caption="", *rest):
    return choose_path(caption, "save")


@override("QFileDialog", "getExistingDirectory")
def _directory(real, parent=None, caption="", *rest):
    return choose_path(caption, "directory")


@override("QFileDialog", "getOpenFileNames")
def _open_files(real, parent=None, caption="", *rest):
    return tuple(_reply("QFileDialog (files)", caption, "", None, ()))


@override("QInputDialog", "getText")
def get_text(real, parent, title, label, *rest):
    """Return the text queued for an input dialog, or an empty string when it was cancelled."""
    return str(_reply("QInputDialog", title, label, None, "") or "")
