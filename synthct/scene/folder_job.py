"""A job that fills a folder of the user's: begun by a button that is its Cancel meanwhile, known by the folder alone.

It goes on when Slicer is closed, and is found again as soon as its folder is chosen.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.exchange import job_error
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.progress import show_progress
from synthct.scene.session import Session

JOB = "job"
"""Folder in the job's folder with what is known of it."""
_MOST_WARNINGS = 5


class FolderJob:
    """The one job of a section, and what is said of it.

    Parameters
    ----------
    button, bar, label
        ``QPushButton``, ``QProgressBar`` that is seen meanwhile, and ``QLabel``.
    title
        Of the section, for dialogs.
    session
        Its warm worker is ended before a job begins.
    start
        Called when the user wants to begin: calls `begin`, or raises `UserError`.
    made
        Called with a job that is done; returns what to say of it, as HTML, or raises `UserError`.
    changed
        Called without arguments when a job began, is ending or has ended.
    kept
        What to say of cancelling: what stays.
    """

    def __init__(
        self,
        button: qt.QPushButton,
        bar: qt.QProgressBar,
        label: qt.QLabel,
        title: str,
        session: Session,
        start: Callable[[], None],
        made: Callable[[Job], str],
        changed: Callable[[], None],
        kept: str = "What is finished stays.",
    ) -> None:
        self._button, self._bar, self._label, self._title = button, bar, label, title
        self._session, self._start, self._made, self._changed = session, start, made, changed
        self._kept = _(kept)
        self._following = Following(self._on_end, self._on_look)
        button.connect("clicked(bool)", self._on_button)
        self.say("")

    @property
    def job(self) -> Job | None:
        """What works in the folder, or None."""
        return self._following.job

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
        self._following.follow(Job.start(verb, options, folder, words=words, results=results))
        self._show_progress(None, _("Starting"))
        self._changed()

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something; what is wrong is said."""
        try:
            action()
        except UserError as error:
            self.say_error(error)
        except OSError as error:
            self.say_error(UserError(f"{error}.", todo="Choose another folder."))

    def look(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._following.look()

    def cancel(self) -> None:
        """Ask the job to end; what is finished stays in the folder."""
        if self.job is not None:
            self.job.cancel()
            self._changed()

    def close(self) -> None:
        """Look no more: the window closes."""
        self._following.leave()

    def show_button(self, name: str, lacking: str, what: str) -> None:
        """Show what the button is called, and in its tool tip what it lacks, or what it does."""
        job = self.job
        self._button.text = _("Cancel") if job is not None else name
        self._button.enabled = job.state != "cancelling" if job is not None else not lacking
        self._button.toolTip = _("End the work.") + " " + self._kept if job is not None else lacking or what
        self._bar.setVisible(job is not None)

    def say(self, text: str) -> None:
        """Say something, as HTML."""
        self._label.text = text
        self._label.setVisible(bool(text))

    def say_error(self, error: UserError) -> None:
        """Say what is wrong, in the section and in a dialog."""
        self.say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=_(self._title))

    def _on_button(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self.cancel()
        else:
            self.attempt(self._ensure_and_start)

    def _ensure_and_start(self) -> None:
        if packages.ensure(self._title):
            self._start()
        else:
            self.say(_("Nothing was installed, nothing was started."))

    def _on_look(self, job: Job) -> None:
        cancelling = job.state == "cancelling"
        self._show_progress(None if cancelling else job.progress, _("Cancelling") if cancelling else _("Starting"))

    def _show_progress(self, event: Mapping[str, Any] | None, waiting: str) -> None:
        show_progress(self._bar, self._label, event, waiting)
        self._label.setVisible(True)

    def _on_end(self, job: Job) -> None:
        try:
            if job.error is not None:
                raise job_error(job.error, {})
            text = self._made(job) if job.state == "done" else _("Cancelled.") + " " + self._kept
        except UserError as error:
            text = error_html(error)
        warnings = [html.escape(warning) for warning in job.warnings[-_MOST_WARNINGS:]]
        self.say("<br>".join([text, *(f"<span style='color:#b9770e'>{warning}</span>" for warning in warnings)]))
        self._changed()
