"""Losses that several methods share. All of them return a mean, a scalar tensor in 32 bit or better."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Logits = Tensor | list[Tensor]
"""What a discriminator gives: (N, 1), one logit per image; (N, 1, rows, columns), one per patch; or a list of
these, one for each scale (multi-scale PatchGAN): then a loss is the mean over the scales of each one's mean."""


def masked_l1(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return Σ w·|prediction − target| / Σ w; None: the plain mean. See `masked_mean`."""
    return masked_mean((precise(prediction) - target).abs(), weight)


def masked_l2(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return Σ w·(prediction − target)² / Σ w; None: the plain mean. See `masked_mean`."""
    return masked_mean((precise(prediction) - target).square(), weight)


def masked_mean(error: Tensor, weight: Tensor | None) -> Tensor:
    """Return Σ w·error / Σ w; None: the plain mean.

    In a training by several processes Σ w is the mean of their sums. Each of them then has a share of the joint
    batch's loss that counts as many voxels as it has inside the body, and the mean of the shares, and of their
    gradients, is the joint batch's own.

    Parameters
    ----------
    error, weight
        (N, 1, rows, columns), or any number of axes; a body mask of 0 and 1 is a weight. Where every weight is 0
        the loss is 0.
    """
    if weight is None:
        return error.mean()
    total = weight.expand_as(error).sum().detach()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        total = total / torch.distributed.get_world_size()
    return (weight * error).sum() / total.clamp(min=torch.finfo(error.dtype).tiny)


def binary_cross_entropy(logits: Logits, label: Tensor | float) -> Tensor:
    """Return −label·log σ(l) − (1 − label)·log(1 − σ(l)), computed from the logits l (rows A4, A8)."""
    return _over_scales(
        logits, lambda values: functional.binary_cross_entropy_with_logits(values, _like(label, values))
    )


def probability_error(logits: Logits, label: Tensor | float) -> Tensor:
    """Return |σ(l) − label|: the mean absolute error on the discriminator's label (row A4)."""
    return _over_scales(logits, lambda values: (torch.sigmoid(values) - _like(label, values)).abs().mean())


def least_squares(logits: Logits, label: float) -> Tensor:
    """Return (l − label)²: LSGAN, Mao et al. 2017 (row A7). There is no sigmoid."""
    return _over_scales(logits, lambda values: (values - label).square().mean())


def judgement(logits: Logits) -> Tensor:
    """Return one value per image, (N,): the mean over its patches, then over the scales (what a critic gives)."""
    if isinstance(logits, list):
        return torch.stack([judgement(scale) for scale in logits]).mean(dim=0)
    return precise(logits).flatten(1).mean(dim=1)


def _over_scales(logits: Logits, loss: Callable[[Tensor], Tensor]) -> Tensor:
    if isinstance(logits, list):
        return torch.stack([loss(precise(scale)) for scale in logits]).mean()
    return loss(precise(logits))


def precise(values: Tensor) -> Tensor:
    """Return ``values`` in 32 bit where they have fewer."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _like(label: Tensor | float, logits: Tensor) -> Tensor:
    if isinstance(label, Tensor):
        return label.to(logits).expand_as(logits)
    return torch.full_like(logits, label)
