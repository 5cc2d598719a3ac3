"""The folder in which one running Slicer keeps its exchange files and its warm worker."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import slicer

from synthct.errors import UserError
from synthct.scene.exchange import no_exchange
from synthct.scene.worker import Worker

_NAME = re.compile(r"SyntheticCT-(\d+)-")
_DAY_S = 86400.0


class Session:
    """Temporary folder of this Slicer and the worker in it; made at the first use, removed by :meth:`close`."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._jobs = 0

    @property
    def worker(self) -> Worker:
        """The warm worker; its process starts with the first request.

        A new one, with another folder, where the folder has gone: systems clear their temporary files now and then.
        """
        if self._worker is not None and not self._worker.folder.is_dir():
            self.close()
        if self._worker is None:
            above = Path(slicer.app.temporaryPath)
            above.mkdir(parents=True, exist_ok=True)
            remove_orphans(above)
            self._worker = Worker(Path(tempfile.mkdtemp(prefix=f"SyntheticCT-{os.getpid()}-", dir=above)))
        return self._worker

    def new_folder(self) -> Path:
        """Return a folder for one more job.

        Raises
        ------
        UserError
            Slicer's temporary folder cannot be written.
        """
        self._jobs += 1
        try:
            folder = self.worker.folder / f"job {self._jobs}"
            folder.mkdir()
        except OSError as error:
            raise no_exchange(Path(slicer.app.temporaryPath), error) from error
        return folder

    def release_device(self) -> None:
        """End the warm worker, so that a training gets the memory of its device; the next request starts a new one.

        Raises
        ------
        UserError
            A volume is being translated.
        """
        if self._worker is None:
            return
        if self._worker.busy:
            raise UserError(
                "A volume is being translated.", "Both would share the device's memory.", "Wait for it, or cancel it."
            )
        self._worker.stop()

    def close(self) -> None:
        """End the worker and remove everything that was exchanged with it."""
        if self._worker is not None:
            self._worker.stop()
            shutil.rmtree(self._worker.folder, ignore_errors=True)
            self._worker = None


def remove_orphans(above: Path) -> None:
    """Remove what a Slicer that crashed a day ago or earlier has left in ``above``: the images in it are patients'."""
    from synthct.processes import start_time

    for folder in above.glob("SyntheticCT-*"):
        name = _NAME.match(folder.name)
        if name is None or start_time(int(name[1])) is not None:
            continue
        if time.time() - folder.stat().st_mtime > _DAY_S:  # younger: perhaps of another machine that shares the folder
            shutil.rmtree(folder, ignore_errors=True)
