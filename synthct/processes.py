"""Whether a process still lives, and how to end it with all its children."""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil

_SAME_START_S = 1.5


def start_time(pid: int) -> float | None:
    """Seconds since 1970 at which process ``pid`` started, or None where there is none."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_running(pid: int, started: float) -> bool:
    """Whether the process that had ``pid`` at ``started`` still runs (a reused number does not count)."""
    now = start_time(pid)
    return now is not None and abs(now - started) < _SAME_START_S


def family(pid: int, started: float) -> list[psutil.Process]:
    """Return the process that had ``pid`` at ``started`` and its descendants, or nothing where it has ended.

    On Unix the other members of a session that it leads belong to it too: their parents may have ended already.
    """
    if not is_running(pid, started):
        return []
    try:
        root = psutil.Process(pid)
        members = {member.pid: member for member in (root, *root.children(recursive=True))}
        if hasattr(os, "getsid") and os.getsid(pid) == pid:
            members |= {other.pid: other for other in psutil.process_iter() if _session(other.pid) == pid}
    except (psutil.NoSuchProcess, ProcessLookupError):
        return []
    return list(members.values())


def ask_to_end(processes: Iterable[psutil.Process], kill: bool = False) -> None:
    """Tell processes to end, without waiting: politely, or so that they cannot refuse."""
    for process in processes:
        try:
            process.kill() if kill else process.terminate()
        except psutil.Error:
            continue


def end_tree(pid: int, started: float, patience_s: float = 5.0) -> None:
    """End a process and all its descendants: asked first, killed after ``patience_s`` seconds."""
    members = family(pid, started)
    ask_to_end(members)
    _, alive = psutil.wait_procs(members, timeout=patience_s)
    ask_to_end(alive, kill=True)
    psutil.wait_procs(alive, timeout=patience_s)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
