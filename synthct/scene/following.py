"""One job at a time, looked at by a timer, so that no window waits."""

from __future__ import annotations

from collections.abc import Callable

import qt

from synthct.scene.jobs import Job

_INTERVAL_MS = 100


class Following:
    """Follows a job and hands it over once it has finished.

    Parameters
    ----------
    on_end
        Called with the finished job, which is no longer followed then.
    on_look
        Called with the job whenever it was looked at and goes on.

    Attributes
    ----------
    job
        What is followed, or None.
    """

    def __init__(self, on_end: Callable[[Job], None], on_look: Callable[[Job], None] = lambda job: None) -> None:
        self.job: Job | None = None
        self._on_end, self._on_look = on_end, on_look
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self.look)

    def follow(self, job: Job) -> None:
        """Look at ``job`` from now on."""
        self.job = job
        self._timer.start()

    def leave(self) -> Job | None:
        """Look at the job no more, which goes on; return it, if there was one."""
        self._timer.stop()
        job, self.job = self.job, None
        return job

    def cancel(self) -> Job | None:
        """Ask the job to end and look at it no more; return it, if there was one."""
        job = self.leave()
        if job is not None:
            job.cancel()
        return job

    def look(self) -> None:
        """See how far the job is; the timer does so by itself, in a script Slicer's timers may never fire."""
        job = self.job
        if job is None:
            return
        job.poll()
        if job.finished:
            self._timer.stop()
            self.job = None
            self._on_end(job)
        else:
            self._on_look(job)
