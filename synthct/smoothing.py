"""Curves made readable: a running mean of what a training reports. Only the standard library is used."""

from __future__ import annotations

ALPHA = 0.001
"""Weight of one step (REFERENCE C12)."""


class RunningMean:
    """Exponential moving average of a scalar that is reported every few steps.

    Each reported value stands for the steps since the one before it: after ``n`` steps the older ones weigh
    ``(1 - alpha) ** n``. The mean is divided by the sum of its weights, so that it does not stick to the first value
    for the first ``1 / alpha`` steps.

    Parameters
    ----------
    alpha
        Weight of one step; 0.001 in REFERENCE C12.
    """

    def __init__(self, alpha: float = ALPHA) -> None:
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha is {alpha}; it must lie above 0 and not above 1")
        self._kept = 1.0 - alpha
        self._sum = 0.0
        self._weight = 0.0
        self._step = 0

    def add(self, step: int, value: float) -> float:
        """Take in the value reported at training step ``step`` and return the mean so far."""
        kept = self._kept ** max(step - self._step, 1)
        self._sum = kept * self._sum + (1.0 - kept) * value
        self._weight = kept * self._weight + (1.0 - kept)
        self._step = step
        return self._sum / self._weight
