"""DCGAN and its class-conditional form (row D1): Radford et al. 2016; Mirza, Osindero 2014; Goodfellow et al. 2014."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from synthct.errors import UserError
from synthct.methods.generation import frozen
from synthct.methods.losses import binary_cross_entropy
from synthct.methods.method import Batch, Update
from synthct.methods.noise import NoiseMethod, build_noise_networks, draw_latents, latent_shape_of
from synthct.methods.optimisers import build_optimisers
from synthct.recipe import Recipe

REAL, SYNTHETIC = 1.0, 0.0


class DCGAN(NoiseMethod):
    """A generator fed noise against a discriminator; with ``data.classes`` both are told the class of each image.

    As ``vanilla-gan`` a recipe names the same step with the U-Nets of row C4, whose latents are volumes of noise.

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``discriminator``, optimisers of the same names.
    latent
        Length of the noise: 100 (row D1); for a volume of noise its channels, 1 (row C4).
    generator_loss
        ``non-saturating``: the generator minimises −log σ(D(G(z))); ``saturating``: log(1 − σ(D(G(z)))), the minimax of
        Goodfellow et al. 2014, whose gradient vanishes where D is sure (row D2).
    label_smoothing
        What is taken from the label 1 of real images in the discriminator's updates; 0: none.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        latent: int = 100,
        generator_loss: Literal["non-saturating", "saturating"] = "non-saturating",
        label_smoothing: float = 0.0,
    ) -> None:
        if latent < 1:
            raise UserError(f"`method.latent` cannot be {latent}.", todo="Give 1 or more.")
        if not 0 <= label_smoothing < 0.5:
            raise UserError(f"`label_smoothing` cannot be {label_smoothing}.", todo="Give 0 or more and less than 0.5.")
        self.networks = build_noise_networks(recipe, latent)
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: network.parameters() for role, network in self.networks.items()}
        )
        if recipe.method.get("name") == "vanilla-gan":
            self.published_images = 524  # rows C2 and C4: all that the thesis trained with
        self._saturating = generator_loss == "saturating"
        self._real = REAL - label_smoothing

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update D on a real batch and a synthetic one together, then G through the frozen D.

        The two batches pass D one after the other, each with its own statistics of batch norm (Radford et al. 2016).
        Losses: ``d_real``, ``d_synthetic``, ``g_adversarial``.
        """
        self._schedules.apply(progress)
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        real, classes = batch["target"], batch.get("class")
        latents = draw_latents(latent_shape_of(generator), len(real), device=real.device).to(real.dtype)
        synthetic = generator(latents, classes)

        d_real = binary_cross_entropy(discriminator(real, classes), self._real)
        d_synthetic = binary_cross_entropy(discriminator(synthetic.detach(), classes), SYNTHETIC)
        update("discriminator", d_real + d_synthetic)

        with frozen(discriminator):
            logits = discriminator(synthetic, classes)
            if self._saturating:
                g_adversarial = -binary_cross_entropy(logits, SYNTHETIC)
            else:
                g_adversarial = binary_cross_entropy(logits, REAL)
            update("generator", g_adversarial)
        losses = {"d_real": d_real, "d_synthetic": d_synthetic, "g_adversarial": g_adversarial}
        return {name: value.detach() for name, value in losses.items()}
