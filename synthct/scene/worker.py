"""The warm worker as Slicer sees it: one child process that keeps the last model loaded and takes requests as files."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthct.scene.jobs import Job, record, write_json


class Worker:
    """Client of ``python -m synthct worker``, started when the first request comes.

    Parameters
    ----------
    folder
        Of this Slicer alone: cancelling a request ends the worker with it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: Job | None = None
        self._latest: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether the request handed over last is still being worked on."""
        return self._latest is not None and not self._latest.finished

    def submit(self, verb: str, options: Mapping[str, Any], folder: Path) -> Job:
        """Hand a task to the worker, which is started where it does not run, and return the job to follow.

        Raises
        ------
        UserError
            As :meth:`Job.start`.
        """
        process = self._running()
        folder.mkdir(parents=True, exist_ok=True)
        events = folder / "events.jsonl"
        content = record(folder, verb, options, process.pid, events, process.log, process.started)
        request = {"verb": verb, "options": content["options"], "events": str(events)}
        path = self._requests() / f"{uuid.uuid4().hex}.json"
        write_json(request, path)

        def revive() -> tuple[int, float] | None:
            """Give the request to a new worker: the old one had been idle for too long and no longer saw it."""
            if self._process is not process:
                return None  # it was stopped, not idle
            self._process = self._start()
            write_json(request, path)
            return self._process.pid, self._process.started

        self._latest = Job(folder, content, revive)
        return self._latest

    def stop(self) -> None:
        """End the worker at once, so that it gives back the memory of the device."""
        if self._process is not None:
            from synthct.processes import ask_to_end, family

            ask_to_end(family(self._process.pid, self._process.started), kill=True)
            self._process = None

    def _requests(self) -> Path:
        folder = self.folder / "requests"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _running(self) -> Job:
        if self._process is None or not self._process.alive():
            for left in self._requests().glob("*.json"):  # of a worker that was cancelled
                left.unlink(missing_ok=True)
            self._process = self._start()
        return self._process

    def _start(self) -> Job:
        return Job.start("worker", {"folder": self.folder}, self.folder / "process")
