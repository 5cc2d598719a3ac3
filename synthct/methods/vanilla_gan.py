"""The vanilla GANs of row C4: Goodfellow et al. 2014 as it stands, with a U-Net that is fed a volume of noise."""

from __future__ import annotations

from torch import Tensor

from synthct.methods.generation import frozen
from synthct.methods.losses import binary_cross_entropy
from synthct.methods.method import Batch, Update
from synthct.methods.noise import NoiseMethod, build_noise_networks, draw_latents
from synthct.methods.optimisers import build_optimisers
from synthct.recipe import Recipe

REAL, SYNTHETIC = 1.0, 0.0


class VanillaGAN(NoiseMethod):
    """A generator noise → pair against a discriminator that sees real pairs and generated ones.

    Per batch one update of the discriminator on both, then one of the generator with the same latents through the
    frozen discriminator, with the non-saturating loss; binary cross-entropy throughout (row C4).

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``discriminator`` (one logit per image), optimisers of the same names.
    latent
        First entry of the generator's ``latent_shape``: 1, the channels of noise, for a U-Net (the "latent 16" and
        "154" of row C4 are its sides); the length of the latent for a generator that takes a vector.

    Raises
    ------
    UserError
        A role is missing or an entry is wrong.
    """

    def __init__(self, recipe: Recipe, *, latent: int = 1) -> None:
        self.networks = build_noise_networks(recipe, latent)
        self._latent_shape: tuple[int, ...] = self.networks["generator"].latent_shape  # type: ignore[assignment]
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: network.parameters() for role, network in self.networks.items()}
        )

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update D, then G. Losses: ``d_real``, ``d_synthetic``, ``g_adversarial``."""
        self._schedules.apply(progress)
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        real = batch["target"]
        latents = draw_latents(self._latent_shape, len(real), device=real.device).to(real.dtype)

        synthetic = generator(latents)
        d_real = binary_cross_entropy(discriminator(real), REAL)
        d_synthetic = binary_cross_entropy(discriminator(synthetic.detach()), SYNTHETIC)
        update("discriminator", d_real + d_synthetic)

        with frozen(discriminator):
            g_adversarial = binary_cross_entropy(discriminator(synthetic), REAL)
            update("generator", g_adversarial)
        losses = {"d_real": d_real, "d_synthetic": d_synthetic, "g_adversarial": g_adversarial}
        return {name: value.detach() for name, value in losses.items()}
