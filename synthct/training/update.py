"""One optimiser step of one role of a method, on any device, precision and number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer


class Update:
    """What a method calls as ``update("discriminator", loss)``: gradients to zero, backward, all-reduce, step.

    Networks are not wrapped for distributed training: a GAN runs a network several times before and between
    backward passes, which that wrapper does not bear. The gradients of the role's own parameters are averaged
    over the processes here instead.

    Parameters
    ----------
    fabric
        Launched; gives device, precision (with the loss scaling of 16-mixed) and process group.
    optimisers
        By role, as the method made them.
    """

    def __init__(self, fabric: Fabric, optimisers: Mapping[str, Optimizer]) -> None:
        self._fabric = fabric
        self._optimisers: dict[str, Any] = {
            role: fabric.setup_optimizers(optimiser) for role, optimiser in optimisers.items()
        }
        self._parameters = {
            role: [parameter for group in optimiser.param_groups for parameter in group["params"]]
            for role, optimiser in optimisers.items()
        }

    def __call__(self, role: str, loss: Tensor) -> None:
        """Take one step of the optimiser of ``role`` down the gradient of ``loss`` (a scalar)."""
        optimiser = self._optimisers[role]
        optimiser.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        if self._fabric.world_size > 1:
            self._average([p.grad for p in self._parameters[role] if p.grad is not None])
        optimiser.step()
        torch.clear_autocast_cache()  # it holds 16-bit copies of the weights as they were

    def _average(self, gradients: list[Tensor]) -> None:
        """Replace gradients by their mean over all processes, in one message per element type."""
        for kind in {gradient.dtype for gradient in gradients}:
            of_kind = [gradient for gradient in gradients if gradient.dtype == kind]
            joint = torch.cat([gradient.reshape(-1) for gradient in of_kind])
            torch.distributed.all_reduce(joint)
            joint /= self._fabric.world_size
            parts = joint.split([gradient.numel() for gradient in of_kind])
            for gradient, part in zip(of_kind, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
