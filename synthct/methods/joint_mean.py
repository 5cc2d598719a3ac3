"""A mean over all processes of a training."""

from __future__ import annotations

import torch
from torch import Tensor


def joint_mean(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over all processes, the same in each; a training by one process gives it back."""
    if processes() == 1:
        return value
    total = value.detach().clone()
    torch.distributed.all_reduce(total)
    return total / processes()


def processes() -> int:
    """Return how many processes train together."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if together else 1
