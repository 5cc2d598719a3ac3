"""How a person at a terminal sees events: a progress bar, warnings and numbers, on standard error."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any, TextIO


class Terminal:
    """Listener for ``Events`` that draws one progress bar on a terminal, or a line per tenth in a log file."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._bar = self.stream.isatty()
        self._open_line = False
        self._tenth: dict[str, int] = {}

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "progress":
            self._progress(event)
        elif kind == "warning":
            self.line("Warning: " + " ".join(part for part in (event["what"], event["why"], event["todo"]) if part))
        elif kind == "metrics" and any(name.startswith("validation") for name in event["values"]):
            values = ", ".join(f"{name} {value:.4g}" for name, value in event["values"].items())
            self.line(f"step {event['step']}: {values}")
        elif kind == "result" and not event.get("likeness", {}).get("unlike", True):  # else a warning has said it
            self.line(event["likeness"]["sentence"])

    def line(self, text: str) -> None:
        """Print a whole line, below an unfinished bar."""
        if self._open_line:
            self.stream.write("\r\033[K")
            self._open_line = False
        print(text, file=self.stream, flush=True)

    def _progress(self, event: dict[str, Any]) -> None:
        total = event["total"] or 1
        share = min(max(event["done"] / total, 0.0), 1.0)
        eta = f", {duration(event['eta_s'])} left" if event["eta_s"] is not None and share < 1 else ""
        label = " ".join(part for part in (event["task"], event["message"]) if part)
        if self._bar:
            width = max(min(shutil.get_terminal_size().columns - len(label) - 30, 40), 10)
            filled = round(share * width)
            self.stream.write(f"\r\033[K{label} [{'#' * filled}{'.' * (width - filled)}] {share:4.0%}{eta}")
            self._open_line = share < 1
            if share >= 1:
                self.stream.write("\n")
            self.stream.flush()
        elif self._tenth.get(event["task"]) != int(share * 10):
            self._tenth[event["task"]] = int(share * 10)
            print(f"{label}: {event['done']:g} of {event['total']:g}{eta}", file=self.stream, flush=True)


def print_json(event: dict[str, Any]) -> None:
    """Listener that prints every event as one JSON line on standard output."""
    print(json.dumps(event, ensure_ascii=False), flush=True)


def duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
