"""Loss and score curves as TensorBoard files, where TensorBoard is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Curves:
    """Writer of TensorBoard files into ``folder``; does nothing without the optional package ``tensorboard``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def open(self, first_step: int) -> None:
        """Start; points from ``first_step`` on that are there already are hidden."""
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=first_step)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each named curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.close()
