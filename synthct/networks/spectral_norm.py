"""Spectral normalisation: a layer whose weight is divided by its largest singular value (Miyato et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from synthct.networks.full_precision import full_precision

FIRST_ITERATIONS = 15
"""Of the power method when a layer is made; one at every pass in training mode afterwards."""


def spectral_norm(layer: nn.Module) -> nn.Module:
    """Return ``layer`` with its weight, seen as a matrix of its outputs, divided by its largest singular value."""
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))  # type: ignore[arg-type]
    return layer


class SpectralNorm(nn.Module):
    """The weight divided by uᵀWv, with u and v followed by the power method (Miyato et al. 2018, algorithm 1).

    PyTorch's own multiplies in 16 bits under mixed precision; here it is done in the weight's own precision. In eval
    mode u and v stay as they are, so that a frozen discriminator is the same at every pass.

    Parameters
    ----------
    weight
        (outputs, ...) as it begins.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        u = functional.normalize(torch.randn(len(matrix), dtype=weight.dtype, device=weight.device), dim=0)
        for _ in range(FIRST_ITERATIONS):
            u, v = _iterate(matrix, u)
        self.register_buffer("u", u)
        self.register_buffer("v", v)

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight.device):
            matrix = weight.flatten(1)
            if self.training:
                u, v = _iterate(matrix.detach(), self.u)
                self.u.copy_(u)
                self.v.copy_(v)
            else:
                u, v = self.u.clone(), self.v.clone()  # what backward needs must outlive the next pass
            return weight / torch.dot(u, matrix @ v)


@torch.no_grad()
def _iterate(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    v = functional.normalize(u @ matrix, dim=0)
    return functional.normalize(matrix @ v, dim=0), v
