"""Which process works on what, among processes and machines that share a folder but nothing else."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from synthct.processes import is_running, start_time

BEAT_S = 20.0
"""Seconds between two signs of life."""
DEAD_S = 180.0
"""A process on another machine without a sign of life for so long counts as dead."""
_SETTLE_S = 0.3


class Claim:
    """A file that a living process holds; what a dead one held may be taken over.

    On the holder's own machine its process is looked at, elsewhere the file's time, which the holder renews, by the
    clock of whoever keeps the folder.

    Parameters
    ----------
    path
        The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mine = json.dumps(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": start_time(os.getpid()),
                "token": uuid.uuid4().hex,
            }
        )
        self._released = threading.Event()

    def take(self) -> bool:
        """Take the file if no living process holds it, and renew it until `release`; return whether it was taken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.path.open("x") as file:
                file.write(self._mine)
        except FileExistsError:
            if self._held() or not self._taken_over():
                return False
        self._released.clear()
        threading.Thread(target=self._renew, daemon=True).start()
        return True

    def release(self) -> None:
        """Give the file up."""
        self._released.set()
        if self._content() == self._mine:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _content(self) -> str | None:
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return None

    def _held(self) -> bool:
        try:
            holder = json.loads(self._content() or "")
            if holder["host"] == socket.gethostname():
                return is_running(int(holder["pid"]), float(holder["started"]))
        except (ValueError, KeyError, TypeError):
            pass  # it is being written, or was when the holder died
        probe = self.path.with_name(f".{uuid.uuid4().hex}")
        try:
            probe.touch()
            return probe.stat().st_mtime - self.path.stat().st_mtime < DEAD_S
        except FileNotFoundError:
            return False
        finally:
            probe.unlink(missing_ok=True)

    def _taken_over(self) -> bool:
        """Put our name over a dead one; of several that try at once the last to write wins."""
        aside = self.path.with_name(f".{uuid.uuid4().hex}")
        aside.write_text(self._mine)
        aside.replace(self.path)
        time.sleep(_SETTLE_S)
        return self._content() == self._mine

    def _renew(self) -> None:
        while not self._released.wait(BEAT_S):
            try:
                os.utime(self.path)
            except OSError:
                continue


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait until no other process is between entering and leaving with the same file."""
    claim = Claim(path)
    while not claim.take():
        time.sleep(0.05)
    with claim:
        yield
