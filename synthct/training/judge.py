"""What the loop asks about a network in training: how good it is, what it looks like, what its card should remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from synthct.data.cache import Volume
from synthct.events import Events

Slab = tuple[int, int] | None
"""Axial slices [start, stop) that are scored; None: all."""


@dataclass(frozen=True)
class Criterion:
    """The score that chooses the best model of a run."""

    name: str
    short: str
    """In the result event: ``best_SHORT``."""
    lower: bool = True
    """Whether lower is better."""

    def better(self, score: float, best: float | None) -> bool:
        """Whether ``score`` is better than the best so far, if there is one."""
        return best is None or (score < best if self.lower else score > best)


class Judge(Protocol):
    """One for each kind of task: MR to CT, CT to tissues.

    Attributes
    ----------
    criterion
        The score that chooses the best model.
    """

    criterion: Criterion

    def validate(
        self, network: nn.Module, cases: Sequence[tuple[Volume, Slab]], fabric: Fabric, events: Events
    ) -> dict[str, float]:
        """Return the scores of ``network`` on volumes that it does not learn from; processes share the cases."""
        ...

    def draw(
        self, path: Path, network: nn.Module, shown: Mapping[str, Tensor], title: str, device: torch.device
    ) -> dict[str, float]:
        """Write the sample picture of an epoch and return what else it tells, by name.

        Parameters
        ----------
        shown
            A batch of unchanged samples, as from ``preview`` of the run's batches.
        """
        ...

    def described(
        self, card: Mapping[str, Any], network: nn.Module, training: Sequence[Volume], device: torch.device
    ) -> dict[str, Any]:
        """Return the card with what ``network``, as trained so far, sees in the training volumes."""
        ...
