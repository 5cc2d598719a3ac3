"""HA-GAN: Sun et al. 2022, as the Oslo thesis trained it (rows C2, C9)."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.diff_augment import shift_steps, shifted
from synthct.methods.generation import frozen
from synthct.methods.losses import binary_cross_entropy, masked_l1
from synthct.methods.method import Batch, Update
from synthct.methods.noise import NoiseMethod, draw_latents, pair_channels
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.methods.r1 import r1_penalty
from synthct.networks.ha_gan import PARTS, RATIO, HAGANGenerator
from synthct.networks.registry import build_network
from synthct.recipe import Recipe

REAL, GENERATED = 1.0, 0.0
ENCODERS = ("encoder", "global_encoder")
NETWORKS = {
    "generator": "ha-gan-generator",
    "discriminator": "ha-gan-discriminator",
    "encoder": "ha-gan-encoder",
    "global_encoder": "ha-gan-global-encoder",
}
"""Role → the network that it is."""


class HAGAN(NoiseMethod):
    """A generator that, in training, makes a sub-volume at full and the whole at low resolution from one trunk.

    Both heads stand on the latent volume A = G^A(z): G^L on all of it, G^H on the slices under a sub-volume, an
    eighth of the depth, at a place r that is drawn for each step. So that a sub-volume shows what the low-resolution
    volume shows there, r counts voxels of A. Memory is that of the low resolution and of one sub-volume.

    Parameters
    ----------
    recipe
        Roles: networks ``generator``, ``discriminator`` (D^H and D^L) and, with ``encoders``, ``encoder`` (E^H) and
        ``global_encoder`` (E^G); optimisers of the same names.
    latent
        Length of z: 1024 (row C9).
    generator_steps
        Updates of the generator for one of the discriminator; each after the first has latents of its own.
    encoders
        Whether E^H and E^G are trained. Each is updated by an optimiser of its own and the generator by neither, so
        that the λ of the total loss (equation 10) do not enter, and the generator is the same without them, draw for
        draw: they give latents of real volumes, for as many operations again (at 64³ two thirds as many).
    r1_weight, r1_every
        γ of γ/2 · E‖∇D(real)‖² (`r1_penalty`), over sub-volume and low resolution together; in every ``r1_every``-th
        step, with its weight times as much (Karras et al. 2020). 0, the paper's: never.
    augment
        ``shift``: what the discriminator sees is shifted in its slices, sub-volume and low resolution alike (Zhao et
        al. 2020, `synthct.methods.diff_augment`), so that a few hundred volumes are not known by heart. ``none``, the
        paper's: as it is.

    Raises
    ------
    UserError
        Classes, which HA-GAN is not told, a size that is not a cube of 32 to 256, or an entry is wrong.
    """

    published_images = 524  # row C2; the paper's two data sets have thousands

    def __init__(
        self,
        recipe: Recipe,
        *,
        latent: int = 1024,
        generator_steps: int = 1,
        encoders: bool = True,
        r1_weight: float = 0.0,
        r1_every: int = 16,
        augment: Literal["none", "shift"] = "none",
    ) -> None:
        if recipe.data.classes:
            raise UserError(
                "The method ha-gan cannot be told classes.", "`data.classes` names some.", "Leave `data.classes` out."
            )
        for name, value in (("latent", latent), ("generator_steps", generator_steps), ("r1_every", r1_every)):
            if value < 1:
                raise UserError(f"`method.{name}` of ha-gan cannot be {value}.", todo="Give 1 or more.")
        if r1_weight < 0:
            raise UserError(f"`method.r1_weight` of ha-gan cannot be {r1_weight:g}.", todo="Give 0 or more.")
        roles = ["generator", "discriminator", *(ENCODERS if encoders else ())]
        check_roles("networks", recipe.networks, required=roles, optional=ENCODERS)
        channels = pair_channels(recipe.data)
        self.networks = nn.ModuleDict()

        def build(role: str, given: int, wanted: int) -> None:
            entry, where = recipe.networks[role], f"`networks.{role}` of the recipe"
            if entry.get("name") != NETWORKS[role]:
                raise UserError(
                    f"{where} cannot be {entry.get('name')}.",
                    "HA-GAN's networks take parts of volumes, and their places.",
                    f"Take {NETWORKS[role]}.",
                )
            self.networks[role] = build_network(entry, given, wanted, recipe.data.size, where=where)

        build("generator", latent, channels)
        build("discriminator", channels, 1)
        if encoders:
            build("encoder", channels, self._generator.latent_channels)
            build("global_encoder", self._generator.latent_channels, latent)
        entries = {role: entry for role, entry in recipe.optimisers.items() if encoders or role not in ENCODERS}
        self.optimisers, self._schedules = build_optimisers(
            entries, {role: self.networks[role].parameters() for role in roles}
        )
        self._generator_steps = generator_steps
        self._encoders = encoders
        self._r1_weight, self._r1_every = r1_weight, r1_every
        self._augment = augment
        self._done = 0

    @property
    def _generator(self) -> HAGANGenerator:
        return cast(HAGANGenerator, self.networks["generator"])

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update D, G (``generator_steps`` times), E^H and E^G, in this order.

        D and the first update of G see the same generated volumes (the text draws new ones): the generator has not
        changed between, and its pass is spared. Losses: ``d_real``, ``d_synthetic`` (equations 6 and 7, on the mean of
        both logits; the text adds the two), ``r1`` (unweighted, in the steps that have it), ``g_adversarial``
        (non-saturating; the last update's), ``e_l1`` (equation 8), ``ge_l1_low`` and ``ge_l1_high`` (equation 9; E^G
        descends their mean).
        """
        self._schedules.apply(progress)
        generator, discriminator = self._generator, self.networks["discriminator"]
        real = batch["target"]
        sides = generator.measures
        r = int(torch.randint(sides.positions, ()))
        place = torch.full((len(real),), r / (sides.positions - 1), device=real.device)
        real_part, real_low = sides.crop(real, r), sides.low_resolution(real)

        part, low = self._generate(len(real), r, real)
        real_seen = self._seen(real_part, real_low)
        on_real = discriminator(*real_seen, place)
        on_synthetic = discriminator(*self._seen(part.detach(), low.detach()), place)
        losses = {
            "d_real": binary_cross_entropy(on_real, REAL),
            "d_synthetic": binary_cross_entropy(on_synthetic, GENERATED),
        }
        loss = losses["d_real"] + losses["d_synthetic"]
        if self._r1_weight and self._done % self._r1_every == 0:
            losses["r1"] = r1_penalty(lambda *seen: discriminator(*seen, place), *real_seen)
            loss = loss + self._r1_weight / 2 * self._r1_every * losses["r1"]
        update("discriminator", loss)

        discriminator.eval()  # its spectral norm stands still
        with frozen(discriminator):
            for number in range(self._generator_steps):
                if number:
                    part, low = self._generate(len(real), r, real)
                losses["g_adversarial"] = binary_cross_entropy(discriminator(*self._seen(part, low), place), REAL)
                update("generator", losses["g_adversarial"])
        discriminator.train()

        if self._encoders:
            with frozen(generator):
                losses |= self._encode(real, real_part, real_low, r, update)
        self._done += 1
        return {name: value.detach() for name, value in losses.items()}

    def _seen(self, part: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        """Return sub-volumes and low resolutions as the discriminator is shown them, the one still in the other."""
        if self._augment == "none":
            return part, low
        steps = shift_steps(low)
        return shifted(part, RATIO * steps), shifted(low, steps)

    def _generate(self, count: int, r: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return generated sub-volumes at r and whole volumes at low resolution, from one pass of the trunk."""
        generator = self._generator
        z = draw_latents(generator.latent_shape, count, device=like.device).to(like.dtype)
        a = generator.trunk(z)
        return generator.high(generator.measures.crop_latent(a, r)), generator.low(a)

    def _encode(self, real: Tensor, real_part: Tensor, real_low: Tensor, r: int, update: Update) -> dict[str, Tensor]:
        """Update E^H on the sub-volume at r, then E^G on the whole, through the frozen generator."""
        generator, encoder = self._generator, self.networks["encoder"]
        sides = generator.measures
        losses = {"e_l1": masked_l1(generator.high(encoder(real_part)), real_part)}
        update("encoder", losses["e_l1"])

        with torch.no_grad():
            parts = [sides.crop(real, number * sides.latent_slices) for number in range(PARTS)]
            encoded = torch.cat([encoder(part) for part in parts], dim=2)
        a = generator.trunk(self.networks["global_encoder"](encoded))
        losses["ge_l1_low"] = masked_l1(generator.low(a), real_low)
        losses["ge_l1_high"] = masked_l1(generator.high(sides.crop_latent(a, r)), real_part)
        update("global_encoder", 0.5 * (losses["ge_l1_low"] + losses["ge_l1_high"]))
        return losses

    def state_dict(self) -> dict[str, Any]:
        """Return the steps taken, which say when R1's turn comes."""
        return {"steps": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done = state["steps"]
