"""Steps, epochs and validations of a training, fixed before its first step."""

from __future__ import annotations

from dataclasses import dataclass

from synthct.recipe import Training


@dataclass(frozen=True)
class Plan:
    """A training takes steps 1 … ``total``; an epoch ends every ``epoch_steps`` and at the very end."""

    total: int
    epoch_steps: int
    validations: tuple[int, ...]
    """Steps after which there is a validation."""

    def epoch(self, step: int) -> int:
        """Return the number of the epoch that step ``step`` belongs to; the first is 1."""
        return max(1, -(-step // self.epoch_steps))

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch ends with step ``step``."""
        return step > 0 and (step % self.epoch_steps == 0 or step == self.total)

    def words(self, step: int) -> str:
        """Return which epoch goes on after ``step`` steps."""
        last = self.epoch(self.total)
        return f"epoch {min(step // self.epoch_steps + 1, last)} of {last}"


def make_plan(training: Training, steps_per_pass: int, validates: bool) -> Plan:
    """Plan a training.

    Parameters
    ----------
    steps_per_pass
        Steps that show every training slice about once: an epoch, unless the recipe has ``steps_per_epoch``.
    validates
        Whether there is anything to validate on.
    """
    epoch_steps = training.steps_per_epoch or steps_per_pass
    total = training.steps or training.epochs * epoch_steps
    every = epoch_steps * training.validate_every
    ends = sorted({*range(every, total + 1, every), total}) if validates else []
    return Plan(total, epoch_steps, tuple(ends))
