"""Segmentation of lesions in patches of CTs, with adversarial domain adaptation where it is asked for (rows B10, D4).

A network that is trained on synthetic CTs may learn what is synthetic about them. An auxiliary classifier is told to
find that in its coarsest features; the gradient that goes back into the network is reversed, so that it learns features
from which it cannot be told (Ganin et al. 2016, "Domain-adversarial training of neural networks"). The images of the
target domain need no masks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from synthct.methods.losses import precise
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers
from synthct.networks.domain_classifier import DomainClassifier
from synthct.networks.registry import build_network
from synthct.networks.segmenters import bottleneck

CLASSES = ("background", "lesion")
_STEEPNESS = 10.0
"""Ganin's γ: how fast the weight of the reversed gradient rises."""


class LesionSegmentation(Method):
    """Scores of `CLASSES` by Dice loss and cross-entropy, both with equal weight.

    Parameters
    ----------
    network
        Entry of the registry, ``unet-3d`` or ``segresnet``.
    optimiser
        Entry of `synthct.methods.optimisers`.
    size
        Slices, rows, columns of a patch.
    domain_weight
        Of the reversed gradient at the end; 0: no domain adaptation.
    """

    generator_role = "segmenter"
    paired, body_only = True, False
    classes = CLASSES

    def __init__(
        self,
        network: Mapping[str, Any],
        optimiser: Mapping[str, Any],
        size: tuple[int, int, int],
        domain_weight: float = 0.0,
    ) -> None:
        from monai.losses import DiceCELoss

        segmenter = build_network(network, 1, len(CLASSES), size, where="`network` of the recipe")
        self.networks = nn.ModuleDict({"segmenter": segmenter})
        self._domain_weight = domain_weight
        self._features: list[Tensor] = []
        if domain_weight:
            coarsest = bottleneck(segmenter)
            self.networks["domain"] = DomainClassifier(_channels(segmenter, coarsest, size))
            coarsest.register_forward_hook(self._keep)
        self.optimisers, self._schedules = build_optimisers(
            {"segmenter": optimiser}, {"segmenter": self.networks.parameters()}
        )
        self._loss = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """One update. Losses: ``dice_ce``; with adaptation ``domain``, log 2 = 0.69 where origins cannot be told.

        ``batch["image"]`` and ``batch["mask"]`` are (N, 1, slices, rows, columns), ``batch["target_image"]`` alike.
        """
        self._schedules.apply(progress)
        image, truth = batch["image"], batch["mask"]
        if not self._domain_weight:
            loss = self._loss(precise(self.networks["segmenter"](image)), truth)
            update("segmenter", loss)
            return {"dice_ce": loss.detach()}
        self._features.clear()
        scores = self.networks["segmenter"](torch.cat([image, batch["target_image"]]))
        loss = self._loss(precise(scores[: len(image)]), truth)
        strength = self._domain_weight * reversal_strength(progress)
        logits = precise(self.networks["domain"](reverse_gradient(self._features.pop(), strength)))
        is_target = torch.zeros_like(logits)
        is_target[len(image) :] = 1
        domain = binary_cross_entropy_with_logits(logits, is_target)
        update("segmenter", loss + domain)
        return {"dice_ce": loss.detach(), "domain": domain.detach()}

    def _keep(self, part: nn.Module, _given: Any, features: Tensor) -> None:
        if part.training:  # in validation nobody takes them away again
            self._features.append(features)


def _channels(network: nn.Module, part: nn.Module, size: tuple[int, int, int]) -> int:
    """Return how many channels ``part`` of ``network`` gives."""
    seen: list[int] = []
    hook = part.register_forward_hook(lambda _part, _given, features: seen.append(features.shape[1]))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 1, *size))
    network.train()
    hook.remove()
    return seen[0]


def reversal_strength(progress: float) -> float:
    """Return 2 / (1 + exp(−10 p)) − 1: from 0 at the start towards 1, so that noise does not lead at first."""
    return 2 / (1 + math.exp(-_STEEPNESS * progress)) - 1


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """Return ``features`` unchanged; the gradient that comes back is multiplied by −``strength``."""
    return _Reversed.apply(features, strength)  # type: ignore[no-any-return]


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor, strength: float) -> Tensor:  # type: ignore[override]
        context.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -context.strength * gradient, None
