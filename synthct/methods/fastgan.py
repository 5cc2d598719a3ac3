"""FastGAN's training: Liu et al. 2021, section 3 (REFERENCE C6)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from synthct.errors import UserError
from synthct.methods.adaptive_augment import Augment, DiscriminatorAugmentation
from synthct.methods.generation import frozen
from synthct.methods.losses import masked_l1, precise
from synthct.methods.method import Batch, Update
from synthct.methods.noise import NoiseMethod, build_noise_networks, draw_latents
from synthct.methods.optimisers import build_optimisers
from synthct.networks.fastgan import FastGANDiscriminator
from synthct.recipe import Recipe


class FastGAN(NoiseMethod):
    """Hinge losses, and a discriminator that must also reconstruct the real images from its features.

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``discriminator`` (``fastgan-discriminator``), optimisers of the same names.
    latent
        Length of z: 256 in the paper.
    reconstruction_weight
        Of the reconstructions' error in the discriminator's loss: 1. The error is the mean absolute difference.
        The paper's is LPIPS, a distance of features of a network trained on photographs: its weights would
        have to be downloaded, and what they say of CTs in HU is not known.
    augment
        What the discriminator sees: ``diffaugment`` as in the paper, ``none`` or ``ada``; see
        `synthct.methods.adaptive_augment`. Reconstructions are of the augmented real images, which it saw.

    Raises
    ------
    UserError
        An entry is wrong, or the discriminator is another than FastGAN's.
    """

    published_images = 100  # the paper's "100-shot" sets

    def __init__(
        self,
        recipe: Recipe,
        *,
        latent: int = 256,
        reconstruction_weight: float = 1.0,
        augment: Augment = "diffaugment",
    ) -> None:
        if latent < 1 or reconstruction_weight < 0:
            raise UserError(
                f"The method fastgan cannot have latent {latent} and reconstruction_weight {reconstruction_weight:g}.",
                todo="Give 1 or more, and 0 or more.",
            )
        if recipe.data.classes:
            raise UserError(
                "The method fastgan cannot be told classes.", "`data.classes` names some.", "Leave `data.classes` out."
            )
        self.networks = build_noise_networks(recipe, latent)
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        if not isinstance(discriminator, FastGANDiscriminator):
            raise UserError(
                "The method fastgan cannot train with the discriminator "
                f"`{recipe.networks['discriminator'].get('name')}`.",
                "It must reconstruct what it sees.",
                "Set `networks.discriminator.name` to fastgan-discriminator.",
            )
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: network.parameters() for role, network in self.networks.items()}
        )
        self._latent_shape: tuple[int, ...] = generator.latent_shape  # type: ignore[assignment]
        self._discriminator = discriminator
        self._weight = reconstruction_weight
        self._augment = DiscriminatorAugmentation(augment)

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update D with its reconstructions, then G through the frozen D.

        Losses: ``d_real``, ``d_synthetic``, ``d_reconstruction`` (unweighted), ``g_adversarial``.
        """
        self._schedules.apply(progress)
        generator, discriminator = self.networks["generator"], self._discriminator
        real = batch["target"]
        latents = draw_latents(self._latent_shape, len(real), device=real.device).to(real.dtype)

        # G does not change until its own update, so that one pass serves both.
        synthetic = generator(latents)

        logits, reconstructions = discriminator.with_reconstructions(self._augment(real))
        judged = discriminator(self._augment(synthetic.detach()))
        losses = {
            "d_real": functional.relu(1 - precise(logits)).mean(),
            "d_synthetic": functional.relu(1 + precise(judged)).mean(),
            "d_reconstruction": torch.stack([masked_l1(*pair) for pair in reconstructions]).sum(),
        }
        update("discriminator", losses["d_real"] + losses["d_synthetic"] + self._weight * losses["d_reconstruction"])
        self._augment.look(precise(logits))

        with frozen(discriminator):
            losses["g_adversarial"] = -precise(discriminator(self._augment(synthetic))).mean()
            update("generator", losses["g_adversarial"])
        if self._augment.kind == "ada":
            losses["augment_p"] = torch.tensor(self._augment.probability)
        return {name: value.detach() for name, value in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what ADA has seen."""
        return {"augment": self._augment.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._augment.load_state_dict(state["augment"])
