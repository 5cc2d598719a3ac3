"""One translation at a time: the Apply button that starts it and is its Cancel meanwhile, and how far it is."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.progress import show_progress
from synthct.scene.translation import Translation

_INTERVAL_MS = 100


class TranslationRun:
    """Starts a translation, looks at it by a timer so that no window waits, and hands it over once it has finished.

    Parameters
    ----------
    button, bar, label
        ``QPushButton``, ``QProgressBar`` that is seen meanwhile, and ``QLabel``.
    title
        Of the window, for dialogs.
    start
        Returns the translation that the user has asked for by Apply, or raises `UserError`.
    on_end
        Called with the finished translation, which does not run any more then.
    changed
        Called without arguments when the window shall show anew what can be pressed (`show_button`).

    Attributes
    ----------
    translation
        What is under way, or None.
    """

    def __init__(
        self,
        button: qt.QPushButton,
        bar: qt.QProgressBar,
        label: qt.QLabel,
        title: str,
        start: Callable[[], Translation],
        on_end: Callable[[Translation], None],
        changed: Callable[[], None],
    ) -> None:
        self.translation: Translation | None = None
        self.button, self.bar, self.label = button, bar, label
        self._title = title
        self._start, self._on_end, self._changed = start, on_end, changed
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self.poll)
        button.connect("clicked(bool)", self._on_apply)

    def follow(self, translation: Translation) -> None:
        """Look at ``translation`` from now on."""
        self.translation = translation
        show_progress(self.bar, self.label, None, _("Starting"))
        self._timer.start()
        self._changed()

    def poll(self) -> None:
        """See how far it is; the timer does so by itself, in a script Slicer's timers may never fire."""
        translation = self.translation
        if translation is None:
            return
        translation.poll()
        if translation.finished:
            self._timer.stop()
            self.translation = None
            self._on_end(translation)
            return
        cancelling = translation.state == "cancelling"
        waiting = _("Cancelling") if cancelling else _("Starting the worker")
        show_progress(self.bar, self.label, None if cancelling else translation.progress, waiting)

    def cancel(self) -> None:
        """End what is under way; it is handed over as soon as it has ended."""
        if self.translation is not None:
            self.translation.cancel()
            self._changed()

    def close(self) -> None:
        """Look no more."""
        self._timer.stop()

    def show_button(self, lacking: str) -> None:
        """Show whether Apply can be pressed; ``lacking`` says what must be chosen first."""
        translation = self.translation
        running = translation is not None
        self.button.text = _("Cancel") if running else _("Apply")
        self.button.enabled = translation.state != "cancelling" if translation is not None else not lacking
        idle = lacking or _("Make the synthetic CT; Slicer can be used meanwhile.")
        self.button.toolTip = _("End the work; the scene stays as it is.") if running else idle
        self.bar.setVisible(running)

    def show_error(self, error: UserError) -> None:
        """Say in a dialog what is wrong."""
        slicer.util.errorDisplay(str(error), windowTitle=_(self._title))

    def _on_apply(self, _clicked: bool = False) -> None:
        if self.translation is not None:
            self.cancel()
            return
        try:
            if packages.ensure(self._title):
                self.follow(self._start())
            else:
                self.label.text = _("Nothing was installed, no CT was made.")
        except UserError as error:
            self.label.text = error_html(error)
            self.show_error(error)
