"""What a running training says: mean losses, progress with the time left, trouble, and why a loss ended it.

Events carry the raw values; whoever draws them smooths them by `synthct.smoothing`. TensorBoard gets both, the
smoothed ones as ``loss_ema/NAME`` beside ``loss/NAME``.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from synthct.errors import Diverged
from synthct.events import Events, read_events
from synthct.smoothing import RunningMean
from synthct.training.curves import Curves
from synthct.training.memory import peak_memory_mb
from synthct.training.plan import Plan
from synthct.training.watch import Watch

SHORTEST_S, LONGEST_S = 1.0, 10.0
"""Seconds between two reports, at the start and in a long training: reading a loss from a GPU makes it wait."""
_FADE = 0.9


class Report:
    """Collects losses on their device and reports their means once in a while.

    Parameters
    ----------
    events, curves
        Where to.
    plan
        Steps and epochs: what the time left consists of.
    run
        Run folder, named in errors; its events tell what was reported before it was resumed.
    device
        Whose memory is reported.
    """

    def __init__(self, events: Events, curves: Curves | None, plan: Plan, run: Path, device: torch.device) -> None:
        self.events = events
        self._curves = curves
        self._plan = plan
        self._run = run
        self._device = device
        self._watch = Watch()
        self._means: dict[str, RunningMean] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._count = 0
        self._began = self._reported = time.monotonic()
        self._train_s = self._trained = 0.0
        self._pause_s = self._pauses = 0.0

    def begin(self, step: int) -> None:
        """Start after ``step`` steps; curve points of later steps that an interrupted training left are hidden."""
        if self._curves is not None:
            self._curves.open(step + 1)
        for event in read_events(self._run / "events.jsonl")[0]:
            if event.get("kind") == "metrics":
                self._watch.add(event["step"], event["values"])
                self._smoothed(event["step"], event["values"])
        self.progress(step)
        self._began = self._reported = time.monotonic()

    def step(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses of training step ``step`` (1 is the first)."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.detach().clone()
        self._counts.update(losses.keys())
        self._count += 1
        if all(value.device.type == "cpu" for value in losses.values()):
            self._require_numbers(step, losses)
        now = time.monotonic()
        if now - self._reported >= min(LONGEST_S, max(SHORTEST_S, (now - self._began) / 1000)):
            self.flush(step)

    def flush(self, step: int) -> None:
        """Report what was collected.

        Raises
        ------
        UserError
            A loss since the last report was not a number; the message names its term.
        """
        if not self._count:
            return
        means = dict(zip(self._sums, torch.stack([*self._sums.values()]).tolist(), strict=True))
        means = {name: value / self._counts[name] for name, value in means.items()}
        self._require_numbers(step, means)
        now = time.monotonic()
        # Older steps fade, so that the time left follows a machine that becomes busier.
        self._train_s = _FADE * self._train_s + now - self._reported
        self._trained = _FADE * self._trained + self._count
        self._sums, self._counts, self._count, self._reported = {}, Counter(), 0, now
        self.scalars(step, {f"loss/{name}": value for name, value in means.items()})
        self.progress(step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Report numbers of ``step`` as a metrics event and as curves, and what is wrong with them as a warning."""
        self.events.metrics(step, values)
        if self._curves is not None:
            self._curves.add(step, {**values, **self._smoothed(step, values)})
        for trouble in self._watch.add(step, values):
            self.events.warning(trouble.what, trouble.why, trouble.todo)

    def progress(self, step: int, doing: str = "") -> None:
        """Report the step reached, and the most memory held so far (`peak_memory_mb`).

        The time left counts the ends of epochs still to come.
        """
        eta = None
        if self._trained:
            to_come = self._plan.epoch(self._plan.total) - step // self._plan.epoch_steps
            pause = self._pause_s / self._pauses if self._pauses else 0.0
            eta = round((self._plan.total - step) * self._train_s / self._trained + to_come * pause, 1)
        message = ", ".join(filter(None, (self._plan.words(step), doing)))
        self.events.emit(
            "progress",
            task="training",
            done=step,
            total=self._plan.total,
            eta_s=eta,
            message=message,
            memory_mb=round(peak_memory_mb(self._device)),
        )

    def _smoothed(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        return {
            name.replace("loss/", "loss_ema/", 1): self._means.setdefault(name, RunningMean()).add(step, value)
            for name, value in values.items()
            if name.startswith("loss/")
        }

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Measure the end of an epoch (validation, picture, checkpoint), which counts in the time left."""
        began = time.monotonic()
        yield
        self._pause_s += time.monotonic() - began
        self._pauses += 1
        self.skip()

    def skip(self) -> None:
        """Do not count the time since the last report as training time."""
        self._reported = time.monotonic()

    def close(self) -> None:
        """Write out the curves."""
        if self._curves is not None:
            self._curves.close()

    def not_a_number(self, what: str, step: int) -> Diverged:
        """Return the error that ends a training which has diverged."""
        return Diverged(
            f"{what} is not a number any more at step {step}.",
            f"The training has diverged; the last good weights are kept in {self._run / 'checkpoints'} and, where "
            f"there was a validation, in {self._run / 'model'}.",
            "Start a new run with a lower learning rate, or with --precision 32-true.",
        )

    def _require_numbers(self, step: int, values: Mapping[str, Tensor] | Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise self.not_a_number(f"The loss `{name}`", step)
