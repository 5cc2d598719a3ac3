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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from synthct.errors import UserError
from synthct.processes import is_running, start_time

LOCK = "lock"
"""Name of the file that holds a folder."""
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
        """Take the file if no living process holds it, and renew it until `release`; return whether it was taken.

        Raises
        ------
        UserError
            Its folder cannot be made or written.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self._made() and (_held(self.path) or not self._taken_over()):
                return False
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be made or written.",
                "It is a file." if folder.is_file() else f"{error.strerror or error}.",
                "Choose another folder, or check the rights and the free space.",
            ) from error
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

    def _made(self) -> bool:
        """Make the file, all of it at once, unless it is there."""
        aside = self._aside()
        try:
            os.link(aside, self.path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            try:
                with self.path.open("x") as file:
                    file.write(self._mine)
            except FileExistsError:
                return False
        finally:
            aside.unlink(missing_ok=True)
        return True

    def _aside(self) -> Path:
        aside = self.path.with_name(f".{uuid.uuid4().hex}")
        aside.write_text(self._mine)
        return aside

    def _content(self) -> str | None:
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return None

    def _taken_over(self) -> bool:
        """Put our name over a dead one; of several that try at once the last to write wins."""
        self._aside().replace(self.path)
        time.sleep(_SETTLE_S)
        return self._content() == self._mine

    def _renew(self) -> None:
        while not self._released.wait(BEAT_S):
            try:
                os.utime(self.path)
            except OSError:
                continue


class FolderLock:
    """Hold a folder for this process by its file ``lock``; what a dead process held is taken over.

    Raises
    ------
    UserError
        When another living process, on this machine or another, holds the folder, or when it cannot be written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._claim = Claim(self.folder / LOCK)

    @property
    def path(self) -> Path:
        """The lock file."""
        return self._claim.path

    def __enter__(self) -> FolderLock:
        if self._claim.take():
            return self
        holder = _holder(self.path)
        who = "another process" if holder is None else f"process {holder.pid}"
        todo = "Wait for it to end, or choose another folder."
        if holder is not None and not holder.here:
            who += f" on {holder.host}"
            todo += f" Where that machine has been switched off, try again in {DEAD_S / 60:.0f} minutes."
        raise UserError(f"The folder {self.folder} is in use by {who}.", "Two runs cannot share one folder.", todo)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._claim.release()


@contextmanager
def share_lock(folder: Path, number: int, world: int) -> Iterator[None]:
    """Hold share ``number`` of ``world`` of the work in ``folder``; the other shares may be held by other processes.

    Processes that do not agree on how many they are would do some of the work twice, or not at all.

    Raises
    ------
    UserError
        A living process holds this share, or one of another number of shares.
    """
    with FolderLock(folder / f"process{number}of{world}"):
        for path in sorted(folder.glob(f"process*of*/{LOCK}")):
            others = path.parent.name.rpartition("of")[2]
            if others != str(world) and _held(path):
                raise UserError(
                    f"The folder {folder} is in use by one process of {others}, and this would be one of {world}.",
                    "Processes that share a folder must be started together, so that each knows its share.",
                    "Wait for it to end, or choose another folder.",
                )
        yield


def lock_holder(folder: Path | str) -> tuple[int, float] | None:
    """PID and start time of the running process of this machine that holds ``folder``, or None."""
    holder = _holder(Path(folder) / LOCK)
    return (holder.pid, holder.started) if holder is not None and holder.here and holder.running else None


def held_on(folder: Path | str) -> str | None:
    """Name of the other machine on which a living process holds ``folder``, or None."""
    path = Path(folder) / LOCK
    holder = _holder(path)
    return holder.host if holder is not None and not holder.here and _fresh(path) else None


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait until no other process is between entering and leaving with the same file."""
    claim = Claim(path)
    while not claim.take():
        time.sleep(0.05)
    with claim:
        yield


@dataclass(frozen=True)
class _Holder:
    host: str
    pid: int
    started: float

    @property
    def here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def running(self) -> bool:
        return is_running(self.pid, self.started)


def _holder(path: Path) -> _Holder | None:
    try:
        content = json.loads(path.read_text())
        return _Holder(str(content["host"]), int(content["pid"]), float(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _held(path: Path) -> bool:
    """Whether a living process holds a file that is there."""
    holder = _holder(path)
    if holder is not None and holder.here:
        return holder.running
    return _fresh(path)  # on another machine; or being written, or was when the holder died


def _fresh(path: Path) -> bool:
    """Whether the file was renewed of late, by the clock of whoever keeps its folder."""
    probe = path.with_name(f".{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime < DEAD_S
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
