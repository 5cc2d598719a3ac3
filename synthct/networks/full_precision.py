"""What a network computes in its weights' own precision, whatever autocast does around it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast on ``device``; on ``meta``, where a recipe is only checked, there is none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
