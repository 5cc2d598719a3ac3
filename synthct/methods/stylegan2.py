"""StyleGAN2's training: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN" (REFERENCE C7)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from synthct.errors import UserError
from synthct.methods.adaptive_augment import Augment, DiscriminatorAugmentation
from synthct.methods.generation import frozen
from synthct.methods.joint_mean import joint_mean
from synthct.methods.losses import judgement, precise
from synthct.methods.method import Batch, Update
from synthct.methods.noise import NoiseMethod, build_noise_networks, draw_latents
from synthct.methods.optimisers import build_optimisers
from synthct.methods.r1 import r1_penalty
from synthct.networks.full_precision import full_precision
from synthct.networks.stylegan2 import StyleGAN2Generator
from synthct.options import Options
from synthct.recipe import Recipe

_PATH_DECAY = 0.01


class StyleGAN2(NoiseMethod):
    """Non-saturating logistic losses, R1 on the discriminator and path lengths on the generator, both lazily.

    A regularisation comes every k-th step, as an optimiser step of its own, with its weight times k; the optimiser's
    rate and betas become lr·c and β^c with c = k / (k + 1), so that a recipe's numbers mean what they would if
    it came at every step (appendix B of the paper). Both are computed in 32 bit, outside autocast.

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` (``stylegan2``) and ``discriminator``, optimisers of the same names.
    latent
        Length of z.
    mixing
        Share of images with two styles, the second from a random layer on: 0.9 (Karras et al. 2019, section 3.1).
    r1_weight, r1_every
        γ of γ/2 · E‖∇D(real)‖² (Mescheder et al. 2018): 10, every 16 steps; a weight of 0: never. Where images are
        augmented, the gradient is taken at the augmented ones, which are what the discriminator sees.
    path_weight, path_every, path_shrink
        Of the path lengths: 2, every 8 steps, on a batch divided by 2. The paper's weight ln 2 / (r² (ln r − ln 2))
        is 2 divided by the r² pixels and the 2 log₂ r − 2 layers that `path_lengths` takes means over. 0: never.
    augment
        What the discriminator sees: images as they are (``none``), ``diffaugment`` or ``ada``; see
        `synthct.methods.adaptive_augment`.
    ada_target, ada_ramp
        Of ``ada``: what the mean sign of D(real) is steered to, and thousands of images for p from 0 to 1.

    Raises
    ------
    UserError
        An entry is wrong, or the generator is another than StyleGAN2's.
    """

    published_images = 1336  # the smallest set of ADA (Karras et al. 2020, MetFaces)

    def __init__(
        self,
        recipe: Recipe,
        *,
        latent: int = 512,
        mixing: float = 0.9,
        r1_weight: float = 10.0,
        r1_every: int = 16,
        path_weight: float = 2.0,
        path_every: int = 8,
        path_shrink: int = 2,
        augment: Augment = "none",
        ada_target: float = 0.6,
        ada_ramp: float = 500.0,
    ) -> None:
        if not 0 <= mixing <= 1:
            raise UserError(f"`mixing` cannot be {mixing:g}.", todo="Give a share of the images, 0 to 1.")
        if min(r1_every, path_every, path_shrink, latent) < 1 or min(r1_weight, path_weight) < 0:
            raise UserError(
                "A number of the method stylegan2 is too small.",
                todo="Give 1 or more for r1_every, path_every, path_shrink and latent; weights of 0 or more.",
            )
        if recipe.data.classes:
            raise UserError(
                "The method stylegan2 cannot be told classes.",
                "`data.classes` names some.",
                "Leave `data.classes` out.",
            )
        self.networks = build_noise_networks(recipe, latent)
        generator = self.networks["generator"]
        if not isinstance(generator, StyleGAN2Generator):
            raise UserError(
                f"The method stylegan2 cannot train the generator `{recipe.networks['generator'].get('name')}`.",
                "Style mixing and path lengths need its styles.",
                "Set `networks.generator.name` to stylegan2.",
            )
        self._generator = generator
        every = {"generator": path_every if path_weight else 0, "discriminator": r1_every if r1_weight else 0}
        self.optimisers, self._schedules = build_optimisers(
            {role: lazily(entry, every.get(role, 0)) for role, entry in recipe.optimisers.items()},
            {role: network.parameters() for role, network in self.networks.items()},
        )
        self.cycle = math.lcm(*(number for number in every.values() if number), 1)
        self._every = every
        self._mixing = mixing
        self._r1_weight = r1_weight
        self._path_weight = path_weight
        self._path_shrink = path_shrink
        self._augment = DiscriminatorAugmentation(augment, ada_target, ada_ramp)
        self._path_mean = 0.0
        self._done = 0

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update D, regularise it when its turn comes, then the same for G through the frozen D.

        Losses: ``d_real``, ``d_synthetic``, ``g_adversarial``; in the steps that have them ``r1`` (E‖∇D‖²) and
        ``path_length`` (the penalty), both unweighted; with ``ada`` its ``augment_p``.
        """
        self._schedules.apply(progress)
        generator, discriminator = self._generator, self.networks["discriminator"]
        real = batch["target"]

        # G does not change until its own update, so that one pass serves both.
        synthetic = generator.image(self._styles(len(real), real, track=True))

        logits = discriminator(self._augment(real))
        losses = {
            "d_real": functional.softplus(-precise(logits)).mean(),
            "d_synthetic": functional.softplus(precise(discriminator(self._augment(synthetic.detach())))).mean(),
        }
        update("discriminator", losses["d_real"] + losses["d_synthetic"])
        self._augment.look(judgement(logits))
        if self._turn("discriminator"):
            losses["r1"] = r1_penalty(discriminator, self._augment(real))
            update("discriminator", self._r1_weight / 2 * self._every["discriminator"] * losses["r1"])

        with frozen(discriminator):
            losses["g_adversarial"] = functional.softplus(-precise(discriminator(self._augment(synthetic)))).mean()
            update("generator", losses["g_adversarial"])
        if self._turn("generator"):
            losses["path_length"] = self._path_penalty(max(1, len(real) // self._path_shrink), real)
            update("generator", self._path_weight * self._every["generator"] * losses["path_length"])

        if self._augment.kind == "ada":
            losses["augment_p"] = torch.tensor(self._augment.probability)
        self._done += 1
        return {name: value.detach() for name, value in losses.items()}

    def _turn(self, role: str) -> bool:
        every = self._every[role]
        return every > 0 and self._done % every == 0

    def _styles(self, count: int, like: Tensor, track: bool = False) -> Tensor:
        """Draw w for every layer of ``count`` images, (count, layers, style), a share of them mixed of two."""
        generator = self._generator
        latents = draw_latents(generator.latent_shape, 2 * count, device=like.device).to(like.dtype)
        first, second = generator.styles(latents).chunk(2)
        if track:
            generator.track(joint_mean(first.detach().mean(dim=0)))
        change = torch.randint(1, generator.layers, (count, 1), device=like.device)
        mixed = torch.rand((count, 1), device=like.device) < self._mixing
        layer = torch.arange(generator.layers, device=like.device)
        others = (mixed & (layer >= change))[..., None]
        return torch.where(others, generator.repeated(second), generator.repeated(first))

    def _path_penalty(self, count: int, like: Tensor) -> Tensor:
        """Return E(‖Jᵀy‖ − a)², a being the running mean of ‖Jᵀy‖ (section 3.2)."""
        with full_precision(like.device):
            styles = self._styles(count, like)
            lengths = path_lengths(self._generator.image(styles), styles)
        mean = joint_mean(lengths.detach().mean()).item()
        self._path_mean += _PATH_DECAY * (mean - self._path_mean)
        return (lengths - self._path_mean).square().mean()

    def state_dict(self) -> dict[str, Any]:
        """Return the steps taken, the running mean of path lengths and what ADA has seen."""
        return {"steps": self._done, "path_mean": self._path_mean, "augment": self._augment.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._done, self._path_mean = state["steps"], state["path_mean"]
        self._augment.load_state_dict(state["augment"])


def lazily(entry: Options, every: int) -> Options:
    """Return an optimiser's entry with lr·c, β₁^c and β₂^c, c = every / (every + 1); 0: as it is."""
    if not every:
        return entry
    share = every / (every + 1)
    changed = dict(entry)
    for name, power in (("lr", False), ("beta1", True), ("beta2", True)):
        value = entry.get(name, {"beta1": 0.9, "beta2": 0.999}.get(name))
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            changed[name] = value**share if power else value * share
    return changed


def path_lengths(images: Tensor, styles: Tensor) -> Tensor:
    """Return ‖Jᵀy‖ for each image (N,): how far the image moves for a small step of its style (section 3.2).

    J is the derivative of the image by its styles and y a random image, N(0, 1) / √(rows · columns). The root is
    of the mean over layers of the squared lengths.

    Parameters
    ----------
    images
        (N, channels, rows, columns), computed from ``styles`` in 32 bit.
    styles
        (N, layers, style).
    """
    direction = torch.randn_like(images) / math.sqrt(images.shape[-2] * images.shape[-1])
    (slope,) = torch.autograd.grad((images * direction).sum(), styles, create_graph=True)
    return slope.square().sum(dim=2).mean(dim=1).sqrt()
