"""Ctrl-C and a polite kill end a training at its next safe point instead of anywhere."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from synthct.errors import Cancelled
from synthct.events import Events


class Interrupt:
    """While entered, SIGINT and SIGTERM only set ``asked``; a second Ctrl-C ends the process as usual.

    Outside the main thread, where signals cannot be caught, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def check(self) -> None:
        """Raise ``Cancelled`` if the user asked to end."""
        if self.asked:
            raise Cancelled("The run can be resumed.")

    def events(self) -> Events:
        """Events for a task inside the training that go nowhere, but end the task when the user asked to."""
        return Events(listener=lambda _event: self.check())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
