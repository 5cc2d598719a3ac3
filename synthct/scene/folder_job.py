"""A job that fills a folder of the user's, known by the folder alone.

It goes on when Slicer is closed, and is found again as soon as its folder is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import qt

from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.session import Session

JOB = "job"
"""Folder in the job's folder with what is known of it."""


class FolderJob(JobLine):
    """The one job of a section, and what is said of it.

    Parameters
    ----------
    button, bar, label, title, take, changed, kept
        As for `JobLine`.
    session
        Its warm worker is ended before a job begins.
    start
        Called when the user wants to begin: calls `begin`, or raises `UserError`.
    """

    def __init__(
        self,
        button: qt.QPushButton,
        bar: qt.QProgressBar,
        label: qt.QLabel,
        title: str,
        session: Session,
        start: Callable[[], None],
        take: Callable[[Job], str],
        changed: Callable[[], None],
        kept: str = "What is finished stays.",
    ) -> None:
        super().__init__(button, bar, label, title, start, take, changed, kept=kept)
        self._session = session

    def find(self, folder: Path) -> None:
        """Follow a job of an earlier Slicer that still works in ``folder``, where nothing is followed yet."""
        earlier = Job.find(folder / JOB) if self.job is None else None
        if earlier is not None and not earlier.finished:
            self._following.follow(earlier)

    def begin(self, verb: str, options: Mapping[str, Any], results: int = 1, words: Sequence[str] = ()) -> None:
        """Start ``synthct VERB`` in the folder that its options name as output; the rest as :meth:`Job.start`."""
        self._session.release_device()
        folder = Path(options["output"]) / JOB
        (folder / "events.jsonl").unlink(missing_ok=True)  # of the job that was interrupted
        self.follow(Job.start(verb, options, folder, words=words, results=results))

    def close(self) -> None:
        """Look no more: the window closes."""
        self._following.leave()
