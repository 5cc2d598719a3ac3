"""The GAN of the Umeå thesis, unpaired (row A4) and paired (row A5): section 2.6 and figure 8 of the text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.generation import air_outside, frozen
from synthct.methods.label_input import label_channels
from synthct.methods.losses import Logits, binary_cross_entropy, masked_l1, probability_error
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe

REAL, SYNTHETIC = 0.0, 1.0
"""The text's labels; the usual ones are the other way round."""


class GAN(Method):
    """A generator MR → CT against a discriminator that sees CT and sCT only, never the MR.

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``discriminator`` (one logit per image or per patch), optimisers of the
        same names.
    mae
        What "Loss: MAE" of the text's table 1 stands for. ``label``: the adversarial loss of all three updates is
        |σ(D) − label|, which needs no pairs. ``paired``: the adversarial loss is binary cross-entropy, and the
        generator also has ``mae_weight`` · |sCT − CT|. ``none``: binary cross-entropy alone.
    generator_loss
        ``non-saturating``: the generator minimises the adversarial loss on its images with the label of real ones,
        as the text does; ``saturating``: it minimises the negative of the discriminator's own loss on them, the
        minimax of Goodfellow et al. 2014, whose gradient vanishes where D is sure (row D2). With ``mae: label``
        both have the same gradient.
    mae_weight
        See ``paired``: 100 in pix2pix.
    masked
        What lies outside the body counts nowhere: the paired error is taken inside, and the discriminator sees air
        (−1, the lowest target value) outside.
    label_noise
        Upper end of the uniform noise, one draw per image, that is added to the label of real images and
        subtracted from that of synthetic ones in the discriminator's updates: 0.01.

    Raises
    ------
    UserError
        ``mae: paired`` with data that are not paired, or an entry is wrong.
    """

    generator_role = "generator"

    def __init__(
        self,
        recipe: Recipe,
        *,
        mae: Literal["label", "paired", "none"] = "none",
        generator_loss: Literal["non-saturating", "saturating"] = "non-saturating",
        mae_weight: float = 100.0,
        masked: bool = False,
        label_noise: float = 0.01,
    ) -> None:
        if mae == "paired" and not recipe.data.paired:
            raise UserError(
                "The method gan with `mae: paired` needs pairs.",
                "`data.paired` is false.",
                "Set it to true, or `mae` to label or none.",
            )
        if not 0 <= label_noise < 0.5:
            raise UserError(f"`label_noise` cannot be {label_noise}.", todo="Give 0 or more and less than 0.5.")
        roles = ["generator", "discriminator"]
        check_roles("networks", recipe.networks, required=roles)
        channels = {"generator": 2 * recipe.data.neighbours + 1, "discriminator": 1}
        self.networks = nn.ModuleDict(
            {
                role: build_network(
                    recipe.networks[role],
                    channels[role],
                    1,
                    recipe.data.size,
                    where=f"`networks.{role}` of the recipe",
                    labels=label_channels(recipe) if role == "generator" else None,
                )
                for role in roles
            }
        )
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: self.networks[role].parameters() for role in roles}
        )
        self.paired = recipe.data.paired
        self._adversarial = probability_error if mae == "label" else binary_cross_entropy
        self._saturating = generator_loss == "saturating"
        self._mae_weight = mae_weight if mae == "paired" else 0.0
        self.body_only = masked
        self._label_noise = label_noise

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update D on a real batch, D on a synthetic batch, then G through the frozen D (figure 8).

        Losses: ``d_real``, ``d_synthetic``, ``g_adversarial`` and, where the recipe has it, ``g_l1`` (unweighted).
        """
        self._schedules.apply(progress)
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]

        # Step 1: synthetic images. G does not change until step 4, so that one pass serves both.
        synthetic = air_outside(generator(batch["input"]), batch["mask"], self.body_only)
        real = air_outside(batch["target"], batch.get("target_mask", batch["mask"]), self.body_only)

        # Step 2: D on real images, label 0 + noise.
        logits = discriminator(real)
        d_real = self._adversarial(logits, REAL + self._noise(logits))
        update("discriminator", d_real)

        # Step 3: D on the synthetic images, label 1 − noise.
        logits = discriminator(synthetic.detach())
        d_synthetic = self._adversarial(logits, SYNTHETIC - self._noise(logits))
        update("discriminator", d_synthetic)

        # Step 4: G, so that the frozen D calls its images real.
        with frozen(discriminator):
            logits = discriminator(synthetic)
            if self._saturating:
                g_adversarial = -self._adversarial(logits, SYNTHETIC)
            else:
                g_adversarial = self._adversarial(logits, REAL)
            loss = g_adversarial
            losses = {"d_real": d_real, "d_synthetic": d_synthetic, "g_adversarial": g_adversarial}
            if self._mae_weight:
                losses["g_l1"] = masked_l1(synthetic, real, batch["mask"] if self.body_only else None)
                loss = loss + self._mae_weight * losses["g_l1"]
            update("generator", loss)
        return {name: value.detach() for name, value in losses.items()}

    def _noise(self, logits: Logits) -> Tensor:
        """One draw per image, in the shape (N, 1, ...) that fits its logits, of all scales."""
        logits = logits[0] if isinstance(logits, list) else logits
        shape = (len(logits), *[1] * (logits.dim() - 1))
        return self._label_noise * torch.rand(shape, device=logits.device)
