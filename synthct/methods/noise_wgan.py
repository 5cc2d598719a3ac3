"""Wasserstein GANs that are fed noise: with clipped weights or with a gradient penalty, in 3D and 2D (row C5)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from synthct.errors import UserError
from synthct.methods.generation import frozen
from synthct.methods.lipschitz import Clipping, require_no_batch_norm, update_critic
from synthct.methods.losses import judgement
from synthct.methods.method import Batch, Update
from synthct.methods.noise import NoiseMethod, build_noise_networks, draw_latents, latent_shape_of
from synthct.methods.optimisers import build_optimisers
from synthct.networks.progressive import ProgressiveGenerator, grown_levels
from synthct.recipe import Recipe


class NoiseWGAN(NoiseMethod):
    """A generator noise → pair against a critic f whose E f(real) − E f(generated) estimates their distance.

    Every batch is one update of the critic with fresh latents; after every ``critic_updates``-th the generator is
    updated through the frozen critic. Networks that grow (`synthct.networks.progressive`) are grown with the
    training: half of it they stay as they are, half of it a further resolution is faded in (row D7), and the critic
    sees real images at the resolution that the generator has.

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``critic`` (any discriminator without sigmoid), optimisers of the same names.
    latent
        First entry of the generator's ``latent_shape``: 1, the channels of noise, for a U-Net (the "latent 154" of
        row C5 is its side); the length of the latent for a generator that takes a vector.
    constraint
        What keeps the critic Lipschitz. ``clip``: after each of its updates its weights are clipped to ±``clip``.
        ``penalty``: ``penalty_weight`` · (‖∇f‖₂ − 1)² at random points between real and generated images is added to
        its loss (Gulrajani et al. 2017). The thesis of row C5 says that it multiplies the penalty with the loss; then
        a critic with a loss of 0 would have no penalty and one with a negative loss, as it is meant to have, would
        seek a large one. So it is the sum here.
    clip
        0.01 in row C5 and in Arjovsky et al. 2017.
    penalty_weight
        λ: 10 in row C5 and in Gulrajani et al.
    critic_updates
        Updates of the critic for one of the generator: 1 in row C5, 5 in both papers.

    Raises
    ------
    UserError
        A penalty on a critic with batch norm, one network that grows with one that does not, or an entry is wrong.
    """

    published_images = 524  # rows C2 and C5: all that the thesis trained with

    def __init__(
        self,
        recipe: Recipe,
        *,
        latent: int = 1,
        constraint: Literal["clip", "penalty"] = "clip",
        clip: float = 0.01,
        penalty_weight: float = 10.0,
        critic_updates: int = 1,
    ) -> None:
        if critic_updates < 1:
            raise UserError(f"`critic_updates` cannot be {critic_updates}.", todo="Give 1 or more.")
        self.networks = build_noise_networks(recipe, latent, judges=("critic",))
        critic = self.networks["critic"]
        if constraint == "penalty":
            require_no_batch_norm(critic)
        levels = {role: getattr(network, "levels", None) for role, network in self.networks.items()}
        if len(set(levels.values())) > 1:
            raise UserError(
                "Generator and critic do not grow alike.",
                f"Doublings of the resolution: {', '.join(f'{role} {count}' for role, count in levels.items())}.",
                "Take progressive and progressive-critic with as many filters each, or neither.",
            )
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: network.parameters() for role, network in self.networks.items()}
        )
        self._constraint: Clipping | float = Clipping(critic, clip) if constraint == "clip" else penalty_weight
        self.cycle = critic_updates
        self._done = 0

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update the critic and, when it has had its number of updates, the generator.

        Losses: ``critic`` (E f(generated) − E f(real): the negative of the estimated distance), ``penalty``
        (unweighted) where the recipe has it; with an update of the generator ``g_adversarial``.
        """
        self._schedules.apply(progress)
        generator, critic = self.networks["generator"], self.networks["critic"]
        last = (self._done + 1) % self.cycle == 0
        real = batch["target"]
        if isinstance(generator, ProgressiveGenerator):
            grown = grown_levels(progress, generator.levels)
            generator.grow(grown)
            critic.grow(grown)  # type: ignore[operator]
            real = generator.as_grown(real)

        latents = draw_latents(latent_shape_of(generator), len(real), device=real.device).to(real.dtype)
        with torch.set_grad_enabled(last):
            synthetic = generator(latents)
        losses = update_critic(critic, real, synthetic.detach(), self._constraint, update)
        if last:
            with frozen(critic):
                losses["g_adversarial"] = -judgement(critic(synthetic)).mean()
                update("generator", losses["g_adversarial"])
        self._done += 1
        return {name: value.detach() for name, value in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return how many updates the critic has had: when the generator's turn comes."""
        return {"critic_updates": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done = state["critic_updates"]
