"""The pair at a place between two seeds, made by the warm worker while a slider moves: the last wish wins."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.exchange import job_error, no_exchange
from synthct.scene.jobs import Job
from synthct.scene.session import Session

_INTERVAL_MS = 30


class LatentPreview:
    """Has one pair made at a time; of what is asked for meanwhile only the last comes next.

    Parameters
    ----------
    session
        Its warm worker keeps the model loaded.
    on_pair
        Called with image, mask or None, the model's name, and the options of each pair that was made.
    on_change
        Called when something began, ended, failed (with what is wrong) or was thrown away.
    """

    def __init__(
        self,
        session: Session,
        on_pair: Callable[[sitk.Image, sitk.Image | None, str, Mapping[str, Any]], None],
        on_change: Callable[[UserError | None], None],
    ) -> None:
        self.made = 0
        """How many pairs were made so far."""
        self._session = session
        self._on_pair, self._on_change = on_pair, on_change
        self._job: Job | None = None
        self._wanted: dict[str, Any] | None = None
        self._unwanted = False
        self._then: Callable[[], None] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self.poll)

    @property
    def busy(self) -> bool:
        """Whether a pair is being made."""
        return self._job is not None

    def ask(self, options: Mapping[str, Any]) -> None:
        """Have the pair made that the options of the worker's verb ``generate`` name, as soon as the worker is free.

        Raises
        ------
        UserError
            The worker cannot be started, or files cannot be exchanged.
        """
        if self._job is not None:
            self._wanted = dict(options)
            return
        self._submit(dict(options))

    def drop(self) -> None:
        """Forget what is wanted, and throw away what is being made; a pair that takes long is ended with its worker."""
        self._wanted = None
        if self._job is not None:
            self._unwanted = True
            if self._job.state == "running":  # still waiting: the worker is at work for somebody else
                self._job.cancel()
            self._on_change(None)

    def after(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the worker has no pair to make any more; at once where it has none now."""
        self._wanted = None
        if self._job is None:
            then()
        else:
            self._then = then

    def close(self) -> None:
        """Let go of everything."""
        self._timer.stop()
        self._wanted = self._then = self._job = None

    def poll(self) -> None:
        """See how far the pair is; in a script Slicer's timers may never fire."""
        job = self._job
        if job is None:
            return
        job.poll()
        if not job.finished:
            return
        self._timer.stop()
        self._job = None
        unwanted, self._unwanted = self._unwanted, False
        error = None
        if not unwanted:
            try:
                self._receive(job)
            except UserError as wrong:
                error = wrong
        shutil.rmtree(job.folder.parent, ignore_errors=True)
        wanted, self._wanted = self._wanted, None
        then, self._then = self._then, None
        if then is not None:
            then()
        elif wanted is not None:
            try:
                self._submit(wanted)
            except UserError as wrong:
                error = wrong
        self._on_change(error)

    def _submit(self, options: dict[str, Any]) -> None:
        try:
            folder = self._session.new_folder()
            files = {"image": folder / "image.nrrd", "mask": folder / "mask.nrrd"}
            self._job = self._session.worker.submit("generate", {**options, **files}, folder / "pair")
        except OSError as error:
            raise no_exchange(Path(slicer.app.temporaryPath), error) from error
        self._unwanted = False
        self._timer.start()
        self._on_change(None)

    def _receive(self, job: Job) -> None:
        if job.result is None:
            raise job_error(job.error or {"what": "The pair was not made.", "todo": "Try again."}, {})
        try:
            image = sitk.ReadImage(str(job.result["output"]))
            mask = sitk.ReadImage(str(job.result["mask"])) if job.result["mask"] else None
        except RuntimeError as error:
            raise UserError("The pair could not be read.", "Its file is missing or damaged.", "Try again.") from error
        self.made += 1
        self._on_pair(image, mask, str(job.result["model"]), job.options)
