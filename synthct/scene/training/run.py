"""A training as Slicer sees it: a run folder that some process works in, whoever started it, and may work in again.

Everything is read from ``RUN/events.jsonl``; nothing here waits. A resumed run takes back the events after its last
checkpoint, so that the file may become shorter: then it is read from its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from synthct.errors import UserError
from synthct.events import read_events
from synthct.scene.jobs import Job
from synthct.smoothing import RunningMean

RunState = Literal["empty", "starting", "running", "ending", "paused", "done", "failed"]
"""empty: no run there yet; paused: no process, but a run to resume; failed: ended with an error, see `TrainingRun`."""

ACTIVE = ("starting", "running", "ending")
_LAST_WORDS = ("result", "error", "cancelled")
_TAIL_BYTES = 256
_CLOCK_S = 1.5
"""A process's start time as the system tells it may differ by this much from the clock of its events."""


@dataclass
class Curve:
    """One reported scalar over the training steps, raw and as a running mean (REFERENCE C12)."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    _mean: RunningMean = field(default_factory=RunningMean)

    def add(self, step: int, value: float) -> None:
        """Append one report."""
        self.steps.append(step)
        self.values.append(value)
        self.means.append(self._mean.add(step, value))


class TrainingRun:
    """What is known of the run in ``folder``; call :meth:`poll` to see how it goes on.

    Attributes
    ----------
    state
        See `RunState`.
    progress, result
        The newest event of that kind, or None.
    error
        Why the run ended, where it failed.
    warnings
        Texts of the warnings so far, each once.
    sample
        The newest sample picture that exists, or None.
    curves
        ``loss/...`` and ``validation/...`` by name.
    memory_mb
        Of the device, as reported last, or None.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.events = self.folder / "events.jsonl"
        self.state: RunState = "empty"
        found = Job.find(self.folder)
        self._job = found if found is not None and found.verb == "train" else None
        self._launched = self._job.started - _CLOCK_S if self._job is not None else 0.0
        self._ending = False
        self.error: UserError | None = None
        self._newest = 0.0
        self._start_over()
        self.poll()

    @property
    def active(self) -> bool:
        """Whether a process works in the folder."""
        return self.state in ACTIVE

    @property
    def resumable(self) -> bool:
        """Whether there is a run that ``train --resume`` can go on with."""
        return all((self.folder / name).is_file() for name in ("recipe.yaml", "cohort.json"))

    @property
    def model(self) -> Path | None:
        """Folder of the best model so far, or None before the first one."""
        folder = self.folder / "model"
        return folder if (folder / "model.json").is_file() else None

    @property
    def step(self) -> int:
        """Training steps taken, as reported last."""
        event = self.progress or {}
        return int(event["done"]) if event.get("task") == "training" else 0

    def start(self, options: Mapping[str, Any]) -> None:
        """Begin a training in a process that outlives Slicer.

        Parameters
        ----------
        options
            Of ``synthct train``, without the run folder.

        Raises
        ------
        UserError
            A process works in the folder already, or none can be started there.
        """
        self._launch({**options, "run": self.folder.absolute()})

    def resume(self, device: str) -> None:
        """Go on from the last checkpoint; errors as :meth:`start`."""
        self._launch({"resume": self.folder.absolute(), "device": device})

    def pause(self) -> None:
        """Ask the training to end with a checkpoint after the step under way; :meth:`poll` sees when it has.

        Raises
        ------
        UserError
            It runs on another machine.
        """
        from synthct.locks import lock_holder
        from synthct.processes import ask_to_end

        self._require_here()
        holder = lock_holder(self.folder)
        if holder is not None:  # its own children, which load images, end with it: asked too, they would break the step
            import psutil

            try:
                ask_to_end([psutil.Process(holder[0])])
            except psutil.Error:
                return
        elif self._job is not None:
            self._job.cancel()
        self._ending = True
        self.state = "ending"

    def end_now(self) -> None:
        """End every process of the training at once: what came after the last checkpoint is lost.

        Raises
        ------
        UserError
            It runs on another machine.
        """
        from synthct.locks import lock_holder
        from synthct.processes import ask_to_end, family

        self._require_here()
        holder = lock_holder(self.folder)
        if holder is None and self._job is not None:
            holder = self._job.pid, self._job.started
        if holder is not None:
            ask_to_end(family(*holder), kill=True)
        self._ending = True

    def poll(self) -> None:
        """Read what has happened since the last call and see whether the process still works."""
        alive = self._alive()  # before the events: a last word may come between the two
        self._read()
        if alive:
            began = self._newest >= self._launched
            self.state = "ending" if self._ending else "running" if began and self.progress else "starting"
            self.error = None
        else:
            self.state = self._ended()
            self._ending = False

    def _launch(self, options: dict[str, Any]) -> None:
        if self._alive():
            raise UserError(
                f"A training is under way in {self.folder}.",
                "Two runs cannot share one folder.",
                "Wait for it to end, or choose another folder.",
            )
        self._launched = time.time()
        self._ending = False
        self.error = None
        try:
            self._job = Job.start("train", options, self.folder.absolute(), self.events.absolute())
        except OSError as error:
            raise UserError(
                f"The run cannot be written to {self.folder}.", f"{error.strerror}.", "Choose another folder."
            ) from error
        self.state = "starting"

    def _alive(self) -> bool:
        from synthct.locks import held_on, lock_holder

        own = self._job is not None and self._job.alive()
        return own or lock_holder(self.folder) is not None or held_on(self.folder) is not None

    def _require_here(self) -> None:
        from synthct.locks import held_on

        host = held_on(self.folder)
        if host is not None:
            raise UserError(
                f"The training in {self.folder} runs on {host}.",
                "It can be followed from here, but not ended.",
                "End it there, for example with `scancel`; Resume then goes on from its last checkpoint.",
            )

    def _ended(self) -> RunState:
        """Return how a run stands that no process works in."""
        word = self._last_word if self._last_word is not None and self._last_word["time"] >= self._launched else None
        if word is not None and word["kind"] == "result":
            return "done"
        if word is not None and word["kind"] == "error":
            self.error = UserError(*(str(word.get(key) or "") for key in ("what", "why", "todo")))
            return "failed"
        if word is None and not self._ending and self._job is not None:
            self.error = UserError(
                "The process of the training ended without a word.",
                "The computer was switched off, memory ran out, or it was killed.",
                f"Its log is {self._job.log}."
                + (" Resume goes on from the last checkpoint." if self.resumable else ""),
            )
            return "failed"
        return "paused" if self.resumable else "empty"

    def _start_over(self) -> None:
        self.progress: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None
        self.warnings: list[str] = []
        self.sample: Path | None = None
        self.curves: dict[str, Curve] = {}
        self.memory_mb: float | None = None
        self._last_word: dict[str, Any] | None = None
        self._newest = 0.0
        self._offset = 0
        self._tail = b""

    def _read(self) -> None:
        try:
            if self._before(self._offset) != self._tail:
                self._start_over()
            events, offset = read_events(self.events, self._offset)
            if offset != self._offset:
                self._offset = offset
                self._tail = self._before(offset)
        except OSError:  # a network drive that is away for a moment
            return
        for event in events:
            self._take(event)

    def _before(self, offset: int) -> bytes:
        """Return the last bytes before ``offset`` of the events file: they change when events are taken back."""
        if offset == 0:
            return b""
        try:
            with open(self.events, "rb") as file:
                file.seek(max(offset - _TAIL_BYTES, 0))
                return file.read(min(offset, _TAIL_BYTES))
        except FileNotFoundError:
            return b""

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("kind")
        self._newest = float(event.get("time", 0.0))
        if kind in _LAST_WORDS:
            self._last_word = event
        if kind == "progress":
            self.progress = event
            if event.get("memory_mb") is not None:
                self.memory_mb = float(event["memory_mb"])
        elif kind == "result":
            self.result = event
        elif kind == "metrics":
            self._take_metrics(event)
        elif kind == "sample":
            self._take_sample(event)
        elif kind == "warning":
            words = " ".join(str(event[key]) for key in ("what", "why", "todo") if event.get(key))
            if words not in self.warnings:
                self.warnings.append(words)

    def _take_metrics(self, event: dict[str, Any]) -> None:
        for name, value in event.get("values", {}).items():
            if name.startswith(("loss/", "validation/")):
                self.curves.setdefault(name, Curve()).add(int(event["step"]), float(value))

    def _take_sample(self, event: dict[str, Any]) -> None:
        """Keep the picture's place; a run folder that was moved keeps its pictures in ``samples``."""
        named = Path(str(event.get("path", "")))
        for path in (named, self.folder / "samples" / named.name):
            if path.is_file():
                self.sample = path
                return
