"""What a tab with a job has: a button that becomes Cancel, a bar, a line of words, and what is said when it ends."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.exchange import job_error, renamed
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.progress import show_progress

_MOST_WARNINGS = 5


class JobLine:
    """One job at a time of a section, and all that is said of it.

    Parameters
    ----------
    title
        Of the windows that show errors.
    bar, label
        Where its progress is shown; the label keeps the last words.
    waiting
        What is said before the job has told anything.
    take
        Called with a job that has its result; returns what is to be said, as HTML. It may raise `UserError`, or
        OSError, ValueError and KeyError where a file of the result cannot be read.
    changed
        Called without arguments when a job began or ended, or something was said.
    """

    def __init__(
        self,
        title: str,
        bar: qt.QProgressBar,
        label: qt.QLabel,
        waiting: str,
        take: Callable[[Job], str],
        changed: Callable[[], None],
    ) -> None:
        self._title, self._bar, self._label, self._waiting = title, bar, label, waiting
        self._take, self._changed = take, changed
        self._names: Mapping[Path, str] = {}
        self._following = Following(self._on_end, self._on_look)

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._following.job

    def start(self, begin: Callable[[], Job | None], names: Mapping[Path, str] | None = None) -> None:
        """Install what is missing, begin, and follow; a `UserError` is said.

        Parameters
        ----------
        begin
            Starts the job; None where the user thought better of it.
        names
            What the job's files are called in the scene.
        """
        try:
            job = begin() if packages.ensure("SynthEval") else None
        except UserError as error:
            self.say_error(error)
            return
        if job is not None:
            self._names = names or {}
            self._following.follow(job)
            show_progress(self._bar, self._label, None, self._waiting)
        self._changed()

    def cancel(self, text: str = "") -> Job | None:
        """End the job and say ``text``; return the job, if there was one."""
        job = self._following.cancel()
        if job is not None:
            self.say(text)
        return job

    def look(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._following.look()

    def show(self) -> None:
        """Show bar and words only where there is something to show."""
        self._bar.setVisible(self.job is not None)
        self._label.setVisible(bool(self._label.text))

    def say(self, text: str) -> None:
        """Say something, as HTML."""
        self._label.text = text
        self._changed()

    def say_error(self, error: UserError) -> None:
        """Say what is wrong, in the tab and in a window."""
        self.say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=self._title)

    def _on_look(self, job: Job) -> None:
        show_progress(self._bar, self._label, job.progress, self._waiting)

    def _on_end(self, job: Job) -> None:
        try:
            if job.state == "cancelled":
                self.say(_("Cancelled."))
                return
            if job.state != "done":
                raise job_error(job.error, self._names)
            said = self._take(job)
        except UserError as error:
            self.say_error(error)
            return
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            self.say_error(UserError("The result cannot be read.", f"{error}.", "Try again."))
            return
        lines = [html.escape(renamed(text, self._names)) for text in job.warnings[:_MOST_WARNINGS]]
        if len(job.warnings) > _MOST_WARNINGS:
            lines.append(_("… and {count} more.").format(count=len(job.warnings) - _MOST_WARNINGS))
        warned = [f"<span style='color:#b9770e'>{line}</span>" for line in lines]
        self.say("<br>".join(filter(None, [said, *warned])))
