"""Progress of one synthesis: slices done of all slices, reported at most ten times a second."""

from __future__ import annotations

import time

from synthct.events import Events

_INTERVAL_S = 0.1


class SliceProgress:
    """Counts slices and reports them as progress of the task ``synthesis``.

    Parameters
    ----------
    events
        Where to report.
    total
        Slices over all planes.
    """

    def __init__(self, events: Events, total: int) -> None:
        self._events = events
        self._total = total
        self._done = 0
        self._last = time.monotonic()
        events.progress(0, total, "synthesis")

    def advance(self, slices: int, message: str = "") -> None:
        """Count ``slices`` more; ``message`` says what is being worked on."""
        self._done += slices
        now = time.monotonic()
        if now - self._last >= _INTERVAL_S or self._done >= self._total:
            self._last = now
            self._events.progress(self._done, self._total, "synthesis", message)
