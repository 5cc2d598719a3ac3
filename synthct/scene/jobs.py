"""A long task as a detached child process, followed through its ``events.jsonl`` and found again after a restart.

Slicer never waits for a job: a timer calls :meth:`Job.poll`. The job's folder holds ``job.json`` (verb, options,
process and its start time), ``events.jsonl`` and ``log.txt`` (what the process printed).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from synthct.events import read_events
from synthct.scene.launch import arguments, launch
from synthct.whole_file import write_whole

State = Literal["starting", "running", "cancelling", "done", "failed", "cancelled", "lost"]
"""lost: found again after a restart, its process gone without a last word."""

PATIENCE_S = 3.0
"""Seconds that a cancelled process has to end by itself before it is killed."""
_LOG_LINES = 12


class Job:
    """One task and what is known of it. Made by :meth:`start`, :meth:`find` or a warm worker.

    Parameters
    ----------
    folder
        Of the job; holds ``job.json``.
    content
        What ``job.json`` says.
    revive
        Called once when the process ended before it took up the job; returns PID and start time of a new one, or None.

    Attributes
    ----------
    state
        See `State`; changed by :meth:`poll` and :meth:`cancel` only.
    progress, result, error
        The newest event of that kind, or None.
    warnings
        Texts of the warnings so far.
    """

    def __init__(
        self, folder: Path, content: Mapping[str, Any], revive: Callable[[], tuple[int, float] | None] | None = None
    ) -> None:
        self.folder = folder
        self.verb: str = content["verb"]
        self.options: dict[str, Any] = dict(content["options"])
        self.pid: int = content["pid"]
        self.started: float = content["started"]
        self.events = Path(content["events"])
        self.log = Path(content["log"])
        self._results_to_come: int = content.get("results", 1)
        self.state: State = "starting"
        self.progress: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.warnings: list[str] = []
        self._offset = 0
        self._revive = revive
        self._child: subprocess.Popen[bytes] | None = None
        self._found = False
        self._ending: list[Any] = []
        self._deadline = 0.0

    @classmethod
    def start(
        cls,
        verb: str,
        options: Mapping[str, Any],
        folder: Path | str,
        events: Path | None = None,
        words: Sequence[str] = (),
        results: int = 1,
    ) -> Job:
        """Start ``python -m synthct VERB`` in a session of its own and return at once.

        Parameters
        ----------
        verb
            Of the command line.
        options
            Its options: a list becomes a comma-separated value, True a bare flag; None and False are left out.
        folder
            Made if needed; one job per folder.
        events
            Where the task reports; default ``folder/events.jsonl``.
        words
            What the verb takes without a name, such as the folder of ``cohort``.
        results
            How many results the task reports; it has ended with the last, and what it said before is replaced.

        Raises
        ------
        UserError
            No Python to start, or the folder cannot be written.
        """
        folder = Path(folder)
        events = events or folder / "events.jsonl"
        log = folder / "log.txt"
        command = ["-m", "synthct", verb, *words, *arguments(options)]
        if verb != "worker":
            command += ["--events", str(events)]
        child = launch(command, folder, log)
        try:
            job = cls(folder, record(folder, verb, options, child.pid, events, log, results=results))
        except OSError:
            child.kill()  # nobody could follow it
            raise
        job._child = child
        return job

    @classmethod
    def find(cls, folder: Path | str) -> Job | None:
        """Return the job of ``folder`` as it stands now (running, done, lost, ...), or None where there is none."""
        folder = Path(folder)
        try:
            content = json.loads((folder / "job.json").read_text(encoding="utf-8"))
            job = cls(folder, content)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        job._found = True
        job.poll()
        return job

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled", "lost")

    def poll(self) -> list[dict[str, Any]]:
        """Read what has happened since the last call, without waiting; return the new events."""
        if self.finished:
            return []
        alive = self.alive()  # before the events: a last word may come between the two
        events, self._offset = read_events(self.events, self._offset)
        if self.state == "cancelling":
            self._see_to_the_end()
            return events
        for event in events:
            if not self.finished:  # the first last word counts
                self._take(event)
        if not self.finished and not alive:
            self._died()
        return events

    def cancel(self) -> None:
        """Ask the whole process tree to end and return at once; :meth:`poll` sees to the rest."""
        if self.finished or self.state == "cancelling":
            return
        from synthct.processes import ask_to_end, family

        self._ending = family(self.pid, self.started)
        ask_to_end(self._ending)
        self._deadline = time.monotonic() + PATIENCE_S
        self.state = "cancelling"

    def wait(self, each: Callable[[], None] | None = None, interval_s: float = 0.1) -> None:
        """Poll until the job has finished, for scripts; ``each`` is called in between (to keep a window alive)."""
        while not self.finished:
            self.poll()
            if each is not None:
                each()
            time.sleep(interval_s)

    def alive(self) -> bool:
        from synthct.processes import is_running

        if self._child is not None:
            return self._child.poll() is None
        return is_running(self.pid, self.started)

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("kind")
        if kind == "result":
            self._results_to_come -= 1
            self.result, self.state = event, "running" if self._results_to_come > 0 else "done"
        elif kind == "error":
            self.error, self.state = event, "failed"
        elif kind == "cancelled":
            self.state = "cancelled"
        else:
            self.state = "running"
            if kind == "progress":
                self.progress = event
            elif kind == "warning":
                self.warnings.append(" ".join(event[key] for key in ("what", "why", "todo") if event.get(key)))

    def _see_to_the_end(self) -> None:
        if self._child is not None:
            self._child.poll()  # so that it does not stay as a zombie
        self._ending = [process for process in self._ending if _lives(process)]
        if not self._ending:
            self.state = "cancelled"
        elif time.monotonic() > self._deadline:
            from synthct.processes import ask_to_end

            ask_to_end(self._ending, kill=True)

    def _died(self) -> None:
        revive, self._revive = self._revive, None
        revived = revive() if self.state == "starting" and revive is not None else None
        if revived is not None:
            self.pid, self.started = revived
            return
        self.error = {
            "what": f"The process that ran {self.verb} ended without a result.",
            "why": "Its last words were: " + (_tail(self.log) or "(none)"),
            "todo": f"The whole log is {self.log}.",
            "by": "program",
        }
        self.state = "lost" if self._found else "failed"


def record(
    folder: Path,
    verb: str,
    options: Mapping[str, Any],
    pid: int,
    events: Path,
    log: Path,
    started: float | None = None,
    results: int = 1,
) -> dict[str, Any]:
    """Write ``job.json`` and return what it says."""
    if started is None:
        from synthct.processes import start_time

        started = start_time(pid) or 0.0
    content = {
        "verb": verb,
        "options": {
            key: value if isinstance(value, bool | int | float | list) else str(value)
            for key, value in options.items()
            if value is not None
        },
        "pid": pid,
        "started": started,
        "events": str(events),
        "log": str(log),
        "results": results,
    }
    write_json(content, folder / "job.json")
    return content


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a small JSON file so that a reader sees all of it or nothing."""
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=1))


def _lives(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
    except OSError:
        return ""
