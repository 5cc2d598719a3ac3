"""What keeps a critic Lipschitz: clipping of its weights, or a penalty on its gradient. Both WGANs use it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.losses import judgement, precise
from synthct.methods.method import Update


class Clipping:
    """Holds a critic's weights within ±``limit`` (Arjovsky et al. 2017); called after each of its updates.

    Parameters
    ----------
    critic
        Its convolutions and dense layers are clipped, weights and biases.
    limit
        0.01 in Arjovsky et al. and row C5, 0.001 in row A6.
    norms
        Whether the scales and shifts of norm layers are clipped, too. The texts say "weights"; with batch norm's
        scales at 0.001 four times over, the gradient that reaches the generator is 1e-12 and Adam's ε of 1e-8
        swallows it (tried).

    Raises
    ------
    UserError
        A limit of 0 or less.
    """

    def __init__(self, critic: nn.Module, limit: float, norms: bool = False) -> None:
        if not limit > 0:
            raise UserError(f"`clip` cannot be {limit}.", todo="Give more than 0.")
        kinds = (nn.Module,) if norms else (nn.modules.conv._ConvNd, nn.Linear)
        layers = [module for module in critic.modules() if isinstance(module, kinds)]
        self._weights = [weight for layer in layers for weight in layer.parameters(recurse=False)]
        self._limit = limit

    @torch.no_grad()
    def __call__(self) -> None:
        for weight in self._weights:
            weight.clamp_(-self._limit, self._limit)


def require_no_batch_norm(critic: nn.Module) -> None:
    """Refuse a critic whose gradient for one image depends on the others of its batch.

    Raises
    ------
    UserError
        It has batch norm.
    """
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in critic.modules()):
        raise UserError(
            "A critic with batch norm cannot have a gradient penalty.",
            "The penalty is on the gradient for each image alone, and batch norm mixes the images of a batch.",
            "Set `networks.critic.norm` to none, group or instance.",
        )


def update_critic(
    critic: nn.Module, real: Tensor, synthetic: Tensor, constraint: Clipping | float, update: Update
) -> dict[str, Tensor]:
    """Update a critic once and return its losses.

    Parameters
    ----------
    real, synthetic
        As for `gradient_penalty`.
    constraint
        What is done to its weights afterwards, or the weight of the gradient penalty.

    Returns
    -------
    dict
        ``critic``, E f(synthetic) − E f(real): the negative of the estimated distance; ``penalty`` (unweighted) where
        there is one.
    """
    losses = {"critic": judgement(critic(synthetic)).mean() - judgement(critic(real)).mean()}
    if isinstance(constraint, Clipping):
        update("critic", losses["critic"])
        constraint()
    else:
        losses["penalty"] = gradient_penalty(critic, real, synthetic)
        update("critic", losses["critic"] + constraint * losses["penalty"])
    return losses


def gradient_penalty(critic: nn.Module, real: Tensor, synthetic: Tensor) -> Tensor:
    """Return the mean of (‖∇f(x)‖₂ − 1)² at x = ε·real + (1 − ε)·synthetic (Gulrajani et al. 2017, algorithm 1).

    Parameters
    ----------
    critic
        f: the mean over its patches, where it has several for an image.
    real, synthetic
        (N, channels, rows, columns), in 3D slices before the rows, not part of a graph; ε is drawn uniformly for
        each image. The norm is taken over the voxels of an image. 32 bit at least: the square of a small gradient is
        nothing in 16.
    """
    real, synthetic = precise(real), precise(synthetic)
    with torch.autocast(real.device.type, enabled=False):
        share = torch.rand((len(real), *[1] * (real.dim() - 1)), dtype=real.dtype, device=real.device)
        between = (share * real + (1 - share) * synthetic).requires_grad_()
        (slope,) = torch.autograd.grad(judgement(critic(between)).sum(), between, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()
