"""What a long task tells the world: one JSON object per line, appended to ``events.jsonl``.

A shell shows the lines as a progress bar, a GUI tails the file, a cluster keeps it. There is no pipe,
so the task outlives whoever reads along. Only the standard library is used: the file is also read in Slicer.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synthct.errors import UserError

Listener = Callable[[dict[str, Any]], None]


class Events:
    """Append-only writer of events, each ``{"time": seconds since 1970, "kind": ..., ...}``.

    Parameters
    ----------
    path
        File to append to; its folder is made. None: nothing is written.
    listener
        Called with every event as well (the progress bar of a terminal).
    """

    def __init__(self, path: Path | str | None = None, listener: Listener | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self._listener = listener
        self._started: dict[str, tuple[float, float]] = {}
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def emit(self, kind: str, **fields: Any) -> None:
        """Append one event; ``fields`` must be plain JSON values."""
        event = {"time": round(time.time(), 3), "kind": kind, **fields}
        if self.path is not None:
            line = (json.dumps(event, ensure_ascii=False) + "\n").encode()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        if self._listener is not None:
            self._listener(event)

    def progress(self, done: float, total: float, task: str = "", message: str = "") -> None:
        """Report that ``done`` of ``total`` units of ``task`` are finished; the time left is estimated here.

        The estimate counts from the first unit on: what came before it, loading say, does not come again.
        """
        now = time.monotonic()
        first_time, first_done = self._started.get(task, (now, done))
        eta = None
        if first_done and done > first_done:
            eta = (now - first_time) / (done - first_done) * (total - done)
        else:
            self._started[task] = (now, done)
        self.emit(
            "progress",
            task=task,
            done=done,
            total=total,
            eta_s=None if eta is None else round(eta, 1),
            message=message,
        )

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Report scalars of training step ``step`` (losses, validation scores)."""
        self.emit("metrics", step=step, values={name: float(value) for name, value in values.items()})

    def sample(self, path: Path | str, step: int) -> None:
        """Report a sample picture (PNG) written at training step ``step``."""
        self.emit("sample", path=str(path), step=step)

    def warning(self, what: str, why: str = "", todo: str = "") -> None:
        """Report something the user should know, while the work goes on."""
        self.emit("warning", what=what, why=why, todo=todo)

    def result(self, **fields: Any) -> None:
        """Report what was made (paths, scores). The last event of a task that succeeded."""
        self.emit("result", **fields)

    def error(self, error: BaseException) -> None:
        """Report why the task ended. The last event of a task that failed."""
        if isinstance(error, UserError):
            self.emit("error", what=error.what, why=error.why, todo=error.todo, by="user")
        else:
            self.emit("error", what=f"{type(error).__name__}: {error}", why="", todo="", by="program")


SILENT = Events()


def read_events(path: Path | str, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the whole events after byte ``offset`` and the offset to go on from.

    A last line that is still being written is left for the next call; a missing file gives no events.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    events = []
    for line in data[:end].splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a line cut by a full disk or a power failure
        if isinstance(event, dict):
            events.append(event)
    return events, offset + end
