"""How much memory a training takes, and what to say when there is not enough."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import TracebackType

import psutil
import torch

from synthct.errors import UserError
from synthct.recipe import Recipe

_MB = 1e6
_SAMPLE_S = 0.01


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory held so far, in MB (10⁶ bytes): tensors on a GPU, elsewhere the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MB
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / _MB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MB if sys.platform == "darwin" else peak * 1024 / _MB


class MemoryGrowth:
    """The most memory that the work inside ``with`` held beyond what was held before it, in MB (10⁶ bytes).

    On a GPU the peak of PyTorch's tensors. Elsewhere the growth of the process's resident memory, looked at every
    10 ms by a thread: memory that an allocator kept from earlier work and uses again is not seen, and a peak of
    less than 10 ms may be missed.

    Parameters
    ----------
    device
        Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = self._peak = 0
        self._ended = threading.Event()
        self._resident: Callable[[], int] = lambda: psutil.Process().memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryGrowth:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._before = self._peak = self._resident()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self._peak = torch.cuda.max_memory_allocated(self._device)
        else:
            self._ended.set()
            self._thread.join()

    @property
    def mb(self) -> float:
        """The growth, once the work is done."""
        return max(0, self._peak - self._before) / _MB

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self._peak = max(self._peak, self._resident())


def too_large(recipe: Recipe, device: torch.device, error: BaseException) -> UserError:
    """Return what to say when memory ran out in a step of ``recipe``."""
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = psutil.virtual_memory().total
    size = "×".join(map(str, recipe.data.size))
    smaller = [f"`training.batch` (now {recipe.training.batch})"] if recipe.training.batch > 1 else []
    return UserError(
        f"A training step of {recipe.name} does not fit into the memory of {device}.",
        f"It has {memory / _MB / 1000:.1f} GB in all. {(str(error).splitlines() or ['Out of memory'])[0].rstrip('.')}.",
        f"Lower {', '.join([*smaller, f'`data.size` (now {size})'])} or the width of the generator, or choose "
        "another device.",
    )
