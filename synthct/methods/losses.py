"""Losses that several methods share. All of them return a mean, a scalar tensor in 32 bit or better."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_l1(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return Σ w·|prediction − target| / Σ w; None: the plain mean.

    Parameters
    ----------
    prediction, target, weight
        (N, 1, rows, columns); a body mask of 0 and 1 is a weight. Where every weight is 0 the loss is 0.
    """
    error = (prediction.float() - target).abs() if prediction.dtype.itemsize < 4 else (prediction - target).abs()
    if weight is None:
        return error.mean()
    return (weight * error).sum() / weight.sum().clamp(min=torch.finfo(error.dtype).tiny)
