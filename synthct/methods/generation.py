"""Applying a generator in the middle of training, and holding a discriminator still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def preview(generator: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return the generator's output for ``batch["input"]`` in eval mode, without gradients; its mode is restored."""
    training = generator.training
    generator.eval()
    with torch.no_grad():
        output: Tensor = generator(batch["input"])
    generator.train(training)
    return output


def air_outside(image: Tensor, mask: Tensor, body_only: bool) -> Tensor:
    """Return what a discriminator sees of (N, 1, rows, columns): with ``body_only`` air (−1) outside the mask."""
    return torch.where(mask > 0, image, -1.0) if body_only else image


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Let gradients pass through ``networks`` without reaching or changing anything of theirs.

    Their parameters need no gradient meanwhile. They stay in training mode: dropout draws, and batch norm uses the
    batch's own statistics, exactly as when the discriminator judges a synthetic batch in its own update; the
    running statistics are left alone. (Keras, which the published GANs used, has the frozen batch norm use its
    running statistics, a mixture of real and synthetic batches that no batch in training has.)
    """
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    norms = [
        module
        for network in networks
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for parameter in parameters:
        parameter.requires_grad_(False)
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for norm in norms:
            norm.track_running_stats = True
