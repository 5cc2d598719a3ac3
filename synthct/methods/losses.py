"""Losses that several methods share. All of them return a mean, a scalar tensor in 32 bit or better."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def masked_l1(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return Σ w·|prediction − target| / Σ w; None: the plain mean.

    Parameters
    ----------
    prediction, target, weight
        (N, 1, rows, columns); a body mask of 0 and 1 is a weight. Where every weight is 0 the loss is 0.
    """
    error = (_precise(prediction) - target).abs()
    if weight is None:
        return error.mean()
    return (weight * error).sum() / weight.sum().clamp(min=torch.finfo(error.dtype).tiny)


def binary_cross_entropy(logits: Tensor, label: Tensor | float) -> Tensor:
    """Return −label·log σ(l) − (1 − label)·log(1 − σ(l)), computed from the logits l (rows A4, A8)."""
    logits = _precise(logits)
    return functional.binary_cross_entropy_with_logits(logits, _like(label, logits))


def probability_error(logits: Tensor, label: Tensor | float) -> Tensor:
    """Return |σ(l) − label|: the mean absolute error on the discriminator's label (row A4)."""
    logits = _precise(logits)
    return (torch.sigmoid(logits) - _like(label, logits)).abs().mean()


def least_squares(logits: Tensor, label: float) -> Tensor:
    """Return (l − label)²: LSGAN, Mao et al. 2017 (row A7). There is no sigmoid."""
    return (_precise(logits) - label).square().mean()


def _precise(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _like(label: Tensor | float, logits: Tensor) -> Tensor:
    if isinstance(label, Tensor):
        return label.to(logits).expand_as(logits)
    return torch.full_like(logits, label)
