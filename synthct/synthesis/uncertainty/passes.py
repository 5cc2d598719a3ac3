"""Events of one translation among several: progress of the whole, every warning once."""

from __future__ import annotations

from typing import Any

from synthct.events import Events


class PassEvents(Events):
    """Hands on the events of pass ``number`` of ``total``.

    Parameters
    ----------
    events
        Who hears them.
    number, total
        The first pass is 0.
    label
        The message of its progress.
    heard
        Warnings that were handed on before; added to.
    """

    def __init__(self, events: Events, number: int, total: int, label: str, heard: set[str]) -> None:
        super().__init__()
        self._outer, self._number, self._total, self._label, self._heard = events, number, total, label, heard

    def progress(self, done: float, total: float, task: str = "", message: str = "") -> None:
        self._outer.progress(round(self._number + done / max(total, 1), 3), self._total, task, self._label)

    def emit(self, kind: str, **fields: Any) -> None:
        if kind == "warning":
            text = " ".join(str(value) for value in fields.values())
            if text in self._heard:
                return
            self._heard.add(text)
        self._outer.emit(kind, **fields)
