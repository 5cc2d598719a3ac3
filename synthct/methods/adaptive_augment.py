"""Adaptive discriminator augmentation: Karras et al. 2020, "Training generative adversarial networks with limited
data" (ADA), section 3.1, with the operations of `synthct.methods.diff_augment`.

Each operation is applied to each image with the probability p, which follows how sure the discriminator is of
real images. As long as p stays below about 0.8, the generator learns images without the operations (section 2.2).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from synthct.errors import UserError
from synthct.methods.diff_augment import cutout, diff_augment, mirror, shift, tone, turn
from synthct.methods.joint_mean import joint_mean, processes
from synthct.networks.full_precision import full_precision

Augment = Literal["none", "diffaugment", "ada"]
OPERATIONS = (mirror, turn, shift, tone, cutout)
EVERY = 4
"""Steps between two changes of p (section 3.1)."""
MOST = 1.0


class DiscriminatorAugmentation:
    """What real and synthetic images pass through before a discriminator sees them.

    Parameters
    ----------
    kind
        ``none``; ``diffaugment``: every image, always; ``ada``: with the probability p.
    target
        What the mean of sign(D(real)) is steered to: 0.6 in the paper. Above it the discriminator is too sure and p
        rises, below it p falls.
    ramp
        Thousands of real images in which p can go from 0 to 1: 500 in the paper.
    """

    def __init__(self, kind: Augment, target: float = 0.6, ramp: float = 500.0) -> None:
        if not 0 < target < 1:
            raise UserError(f"`ada_target` cannot be {target:g}.", todo="Give a number between 0 and 1.")
        if not ramp > 0:
            raise UserError(f"`ada_ramp` cannot be {ramp:g}.", todo="Give thousands of images, more than 0.")
        self.kind = kind
        self.probability = 0.0
        self._target = target
        self._ramp = ramp
        self._signs: list[Tensor] = []
        self._seen = 0

    def __call__(self, image: Tensor) -> Tensor:
        """Return (N, channels, rows, columns), augmented; gradients pass."""
        if self.kind == "none":
            return image
        with full_precision(image.device):
            if self.kind == "diffaugment":
                return diff_augment(image)
            for operation in OPERATIONS:
                chosen = torch.rand(len(image), device=image.device) < self.probability
                image = operation(image, chosen)
        return image

    def look(self, logits: Tensor) -> None:
        """Take in the discriminator's logits of a batch of real images; every fourth batch p moves. ``ada`` only."""
        if self.kind != "ada":
            return
        self._signs.append(joint_mean(logits.detach().float().sign().mean()))
        self._seen += len(logits) * processes()
        if len(self._signs) == EVERY:
            sure = torch.stack([sign.to(logits.device) for sign in self._signs]).mean().item()
            step = self._seen / (1000 * self._ramp)
            moved = self.probability + (step if sure > self._target else -step)
            self.probability = min(MOST, max(0.0, moved))
            self._signs.clear()
            self._seen = 0

    def state_dict(self) -> dict[str, Any]:
        """Return p and what was seen since it last moved."""
        return {"probability": self.probability, "signs": [sign.item() for sign in self._signs], "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.probability, self._seen = state["probability"], state["seen"]
        self._signs = [torch.tensor(sign) for sign in state["signs"]]
