"""Wasserstein GAN: clipped as in the Umeå thesis (row A6), or with gradient penalty (row A12)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.generation import air_outside, frozen
from synthct.methods.label_input import label_channels
from synthct.methods.lipschitz import Clipping, require_no_batch_norm, update_critic
from synthct.methods.losses import judgement, masked_l1
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe


class WGAN(Method):
    """A generator MR → CT against a critic f whose E f(CT) − E f(sCT) estimates the distance of the distributions.

    Every batch is one update of the critic; after every ``critic_updates``-th the generator is updated with that
    batch, too. So an epoch updates the generator fewer times than a GAN's does, as the text's discussion says of
    its own, and each update of the critic sees fresh images (Arjovsky et al. 2017, algorithm 1).

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``critic`` (any discriminator; its linear output is what is needed, and
        the mean over patches counts), optimisers of the same names.
    constraint
        What keeps the critic Lipschitz. ``clip``: after each of its updates its weights are clipped to ±``clip``
        (Arjovsky et al. 2017). ``penalty``: ``penalty_weight`` · (‖∇f‖₂ − 1)² at random points between
        each real image and a synthetic one is added to its loss (Gulrajani et al. 2017, algorithm 1).
    clip
        0.001 in row A6, 0.01 in Arjovsky et al.
    clip_norms
        Whether the scales and shifts of norm layers are clipped, too, or only the weights and biases of
        convolutions and dense layers: see `synthct.methods.lipschitz.Clipping`.
    penalty_weight
        λ: 10 in Gulrajani et al.
    critic_updates
        Updates of the critic for one of the generator: 4 in row A6, 5 in both papers.
    l1_weight
        Of |sCT − CT| in the generator's loss; needs pairs. 0: none, as published.
    masked
        What lies outside the body counts nowhere: the critic sees air (−1, the lowest target value) outside.

    Raises
    ------
    UserError
        An L1 term without pairs, a penalty on a critic with batch norm, or an entry is wrong.
    """

    generator_role = "generator"

    def __init__(
        self,
        recipe: Recipe,
        *,
        constraint: Literal["clip", "penalty"] = "clip",
        clip: float = 0.001,
        clip_norms: bool = False,
        penalty_weight: float = 10.0,
        critic_updates: int = 4,
        l1_weight: float = 0.0,
        masked: bool = False,
    ) -> None:
        if l1_weight and not recipe.data.paired:
            raise UserError(
                "The method wgan with an `l1_weight` needs pairs.",
                "`data.paired` is false.",
                "Set it to true, or `l1_weight` to 0.",
            )
        if critic_updates < 1:
            raise UserError(f"`critic_updates` cannot be {critic_updates}.", todo="Give 1 or more.")
        roles = ["generator", "critic"]
        check_roles("networks", recipe.networks, required=roles)
        channels = {"generator": 2 * recipe.data.neighbours + 1, "critic": 1}
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
        critic = self.networks["critic"]
        if constraint == "penalty":
            require_no_batch_norm(critic)
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: self.networks[role].parameters() for role in roles}
        )
        self.paired = recipe.data.paired
        self.body_only = masked
        self._constraint: Clipping | float = (
            Clipping(critic, clip, clip_norms) if constraint == "clip" else penalty_weight
        )
        self.cycle = critic_updates
        self._l1_weight = l1_weight
        self._done = 0

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update the critic and, when it has had its number of updates, the generator through the frozen critic.

        Losses: ``critic`` (E f(sCT) − E f(CT): the negative of the estimated distance), ``penalty`` (unweighted)
        where the recipe has it; with an update of the generator ``g_adversarial`` and ``g_l1`` (unweighted).
        """
        self._schedules.apply(progress)
        generator, critic = self.networks["generator"], self.networks["critic"]
        last = (self._done + 1) % self.cycle == 0

        with torch.set_grad_enabled(last):
            synthetic = air_outside(generator(batch["input"]), batch["mask"], self.body_only)
        real = air_outside(batch["target"], batch.get("target_mask", batch["mask"]), self.body_only)

        losses = update_critic(critic, real, synthetic.detach(), self._constraint, update)
        if last:
            with frozen(critic):
                losses["g_adversarial"] = -judgement(critic(synthetic)).mean()
                loss = losses["g_adversarial"]
                if self._l1_weight:
                    losses["g_l1"] = masked_l1(synthetic, real, batch["mask"] if self.body_only else None)
                    loss = loss + self._l1_weight * losses["g_l1"]
                update("generator", loss)
        self._done += 1
        return {name: value.detach() for name, value in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return how many updates the critic has had: when the generator's turn comes."""
        return {"critic_updates": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done = state["critic_updates"]
