"""Conditional GAN, pix2pix: Isola et al. 2017 (rows A12, D2): the discriminator sees the input beside the CT."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.generation import air_outside, frozen
from synthct.methods.label_input import label_channels
from synthct.methods.losses import binary_cross_entropy, least_squares, masked_l1
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe

REAL, SYNTHETIC = 1.0, 0.0
"""Isola et al.'s labels."""


class ConditionalGAN(Method):
    """A generator MR → CT against a discriminator that judges whether a CT belongs to an MR, and λ · |sCT − CT|.

    A label map may stand in the MR's place (row B6).

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``discriminator`` (its input: the generator's slices, then one of CT),
        optimisers of the same names.
    adversarial
        ``cross-entropy`` (Isola et al., equation 1) or ``least-squares`` (row B6).
    generator_loss
        ``non-saturating``: the generator minimises −log D(MR, sCT), as Isola et al. do; ``saturating``: it
        minimises log(1 − D(MR, sCT)), the minimax of equation 1, whose gradient vanishes where D is sure (row D2).
    l1_weight
        λ: 100 in Isola et al.
    masked
        What lies outside the body counts nowhere: the L1 term is taken inside, and the discriminator sees air (−1,
        the lowest target value) outside.

    Raises
    ------
    UserError
        The recipe's data are not paired, choices do not go together, or an entry is wrong.
    """

    generator_role = "generator"
    paired = True

    def __init__(
        self,
        recipe: Recipe,
        *,
        adversarial: Literal["cross-entropy", "least-squares"] = "cross-entropy",
        generator_loss: Literal["non-saturating", "saturating"] = "non-saturating",
        l1_weight: float = 100.0,
        masked: bool = False,
    ) -> None:
        if not recipe.data.paired:
            raise UserError("The method conditional-gan needs pairs.", "`data.paired` is false.", "Set it to true.")
        if adversarial == "least-squares" and generator_loss == "saturating":
            raise UserError(
                "`generator_loss: saturating` does not go with `adversarial: least-squares`.",
                "The negative of a square has no lower bound.",
                "Set one of the two to its default.",
            )
        roles = ["generator", "discriminator"]
        check_roles("networks", recipe.networks, required=roles)
        slices = 2 * recipe.data.neighbours + 1
        channels = {"generator": slices, "discriminator": slices + 1}
        self.networks = nn.ModuleDict(
            {
                role: build_network(
                    recipe.networks[role],
                    channels[role],
                    1,
                    recipe.data.size,
                    where=f"`networks.{role}` of the recipe",
                    labels=label_channels(recipe),
                )
                for role in roles
            }
        )
        if adversarial == "cross-entropy" and getattr(self.networks["discriminator"], "probabilities", False):
            raise UserError(
                "`networks.discriminator.output: sigmoid` does not go with `adversarial: cross-entropy`.",
                "That loss has the sigmoid itself.",
                "Set one of the two to its default.",
            )
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: self.networks[role].parameters() for role in roles}
        )
        self.body_only = masked
        self._adversarial = binary_cross_entropy if adversarial == "cross-entropy" else least_squares
        self._saturating = generator_loss == "saturating"
        self._l1_weight = l1_weight

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update D on both kinds of pairs together, its loss halved, then G through the frozen D (section 3.3).

        Losses: ``d_real``, ``d_synthetic`` (neither halved), ``g_adversarial``, ``g_l1`` (unweighted).
        """
        self._schedules.apply(progress)
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        mr = batch["input"]
        synthetic = air_outside(generator(mr), batch["mask"], self.body_only)
        real = air_outside(batch["target"], batch["mask"], self.body_only)

        losses = {
            "d_real": self._adversarial(discriminator(torch.cat([mr, real], dim=1)), REAL),
            "d_synthetic": self._adversarial(discriminator(torch.cat([mr, synthetic.detach()], dim=1)), SYNTHETIC),
        }
        update("discriminator", 0.5 * (losses["d_real"] + losses["d_synthetic"]))

        with frozen(discriminator):
            logits = discriminator(torch.cat([mr, synthetic], dim=1))
            if self._saturating:
                losses["g_adversarial"] = -self._adversarial(logits, SYNTHETIC)
            else:
                losses["g_adversarial"] = self._adversarial(logits, REAL)
            losses["g_l1"] = masked_l1(synthetic, real, batch["mask"] if self.body_only else None)
            update("generator", losses["g_adversarial"] + self._l1_weight * losses["g_l1"])
        return {name: value.detach() for name, value in losses.items()}
