"""A section's job: a button that is its Cancel meanwhile, a bar, a line of words, and what is said when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html, warning_lines
from synthct.scene.exchange import job_error, remove_images, renamed
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.progress import show_progress


class JobLine:
    """The one job of a section, and what is said of it.

    Parameters
    ----------
    button, bar, label
        ``QPushButton``, ``QProgressBar`` that is seen meanwhile, and ``QLabel``.
    title
        Of the section, for dialogs.
    start
        Called when the user wants to begin: calls `follow`, or raises `UserError`.
    take
        Called with a job that is done; returns what to say of it, as HTML. It may raise `UserError`, or OSError,
        ValueError, KeyError and RuntimeError where a file of the result cannot be read.
    changed
        Called without arguments when a job began, is ending or has ended.
    waiting
        What is said before the job has told anything.
    kept
        What to say of cancelling: what stays.
    """

    def __init__(
        self,
        button: qt.QPushButton,
        bar: qt.QProgressBar,
        label: qt.QLabel,
        title: str,
        start: Callable[[], None],
        take: Callable[[Job], str],
        changed: Callable[[], None],
        waiting: str = "Starting",
        kept: str = "What was found before is as it was.",
    ) -> None:
        self._button, self._bar, self._label, self._title = button, bar, label, title
        self._start, self._take, self._changed = start, take, changed
        self._waiting, self._kept = _(waiting), _(kept)
        self._names: Mapping[Path, str] = {}
        self._images: Path | None = None
        self._following = Following(self._on_end, self._on_look)
        button.connect("clicked(bool)", self._on_button)
        self.say("")

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._following.job

    def follow(self, job: Job, names: Mapping[Path, str] | None = None, images: Path | None = None) -> None:
        """Look at a job from now on.

        Parameters
        ----------
        names
            What the job's files are called in the scene.
        images
            Folder of patients' images, which are removed as soon as the job has ended.
        """
        self._names, self._images = names or {}, images
        self._following.follow(job)
        self._show_progress(None, self._waiting)
        self._changed()

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something; what is wrong is said."""
        try:
            action()
        except UserError as error:
            self.say_error(error)
        except OSError as error:
            self.say_error(UserError(f"{error}.", todo="Choose another folder."))

    def ensure_and(self, action: Callable[[], None]) -> None:
        """Do something that needs Python packages, after they are installed; what is wrong is said."""

        def ensured() -> None:
            if packages.ensure(_(self._title)):
                action()
            else:
                self.say(_("Nothing was installed, nothing was started."))

        self.attempt(ensured)

    def look(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._following.look()

    def cancel(self) -> None:
        """Ask the job to end, and say so once it has."""
        if self.job is not None:
            self.job.cancel()
            self._changed()

    def drop(self) -> None:
        """End the job and say nothing more: its scene or its window closes."""
        self._following.cancel()
        self._remove_images()
        self.say("")

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
            self.ensure_and(self._start)

    def _on_look(self, job: Job) -> None:
        cancelling = job.state == "cancelling"
        self._show_progress(None if cancelling else job.progress, _("Cancelling") if cancelling else self._waiting)

    def _show_progress(self, event: Mapping[str, Any] | None, waiting: str) -> None:
        show_progress(self._bar, self._label, event, waiting)
        self._label.setVisible(True)

    def _on_end(self, job: Job) -> None:
        wrong: UserError | None = None
        try:
            if job.state == "cancelled":
                said = _("Cancelled.") + " " + self._kept
            elif job.state == "done":
                said = self._take(job)
            else:
                raise job_error(job.error, self._names)
        except UserError as error:
            wrong = error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            wrong = UserError("The result cannot be read.", f"{error}.", "Try again.")
        finally:
            self._remove_images()
        lines = warning_lines([renamed(text, self._names) for text in job.warnings])
        self.say("<br>".join(filter(None, [error_html(wrong) if wrong is not None else said, *lines])))
        self._changed()
        if wrong is not None:
            slicer.util.errorDisplay(str(wrong), windowTitle=_(self._title))

    def _remove_images(self) -> None:
        if self._images is not None:
            remove_images(self._images)
            self._images = None
