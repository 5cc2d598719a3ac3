"""R1: Mescheder et al. 2018, "Which training methods for GANs do actually converge?"."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synthct.methods.losses import Logits, judgement, precise
from synthct.networks.full_precision import full_precision


def r1_penalty(discriminator: Callable[..., Logits], *real: Tensor) -> Tensor:
    """Return E‖∇D(x)‖² at the real x, in 32 bit or better; without its weight γ/2.

    Parameters
    ----------
    discriminator
        D, called with ``real``.
    real
        (N, channels, rows, columns), in 3D slices before the rows; where D looks at several tensors for an image, all
        of them, and ‖·‖ is over all.
    """
    seen = [precise(part.detach()).requires_grad_() for part in real]
    with full_precision(seen[0].device):
        slopes = torch.autograd.grad(judgement(discriminator(*seen)).sum(), seen, create_graph=True)
        return torch.stack([slope.square().flatten(1).sum(dim=1) for slope in slopes]).sum(dim=0).mean()
