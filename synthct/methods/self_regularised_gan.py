"""Unpaired GAN with self-regularisation: Shrivastava et al. 2017, "Learning from simulated and unsupervised images".

The lectures' recipe (row D2) for unpaired images: an adversarial loss alone may give a realistic CT of another body, so
that what the generator gives is held to what it was given. There is one generator and no way back.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.generation import air_outside, frozen
from synthct.methods.image_pool import ImagePool
from synthct.methods.losses import binary_cross_entropy, least_squares, masked_l1, precise
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe

REAL, SYNTHETIC = 1.0, 0.0
"""The paper's labels are the other way round, which changes nothing."""
_FAINT = 1e-3
"""Below this slope per voxel, on the scale from −1 to 1, there is no edge: 1.5 HU in a window of 3000."""


class SelfRegularisedGAN(Method):
    """A generator MR → CT against a discriminator of CT, and λ · |φ(G(MR)) − φ(MR)| in place of a truth.

    MR and CT of one tissue have different intensities, bone is dark in one and bright in the other, so that the
    difference of the images themselves, as in the paper, would hold the generator to the MR's contrast. What both
    images of one body share is where its borders are. φ is therefore by default a map of edges in which neither unit,
    nor sign, nor strength of the contrast counts, see `edges`.

    Parameters
    ----------
    recipe
        Roles: networks ``generator`` and ``discriminator`` (of CT: one logit per patch, as in the paper, or per
        image), optimisers of the same names.
    compared
        φ. ``edges``: as above. ``image``: nothing is done to the images, the paper's ψ = identity: for images of
        one kind.
    weight
        λ.
    adversarial
        ``cross-entropy`` (the paper, per patch) or ``least-squares``.
    generator_loss
        ``non-saturating``: the generator minimises −log D(sCT), as in the paper; ``saturating``: log(1 − D(sCT)),
        whose gradient vanishes where D is sure (row D2).
    pool
        Past synthetic images that the discriminator is shown again (the paper's history of refined images); 0: none.
    masked
        What lies outside the body counts nowhere: the comparison is made inside, and the discriminator sees air (−1,
        the lowest target value) outside.

    Raises
    ------
    UserError
        Choices that do not go together, or an entry is wrong.
    """

    generator_role = "generator"

    def __init__(
        self,
        recipe: Recipe,
        *,
        compared: Literal["edges", "image"] = "edges",
        weight: float = 10.0,
        adversarial: Literal["cross-entropy", "least-squares"] = "cross-entropy",
        generator_loss: Literal["non-saturating", "saturating"] = "non-saturating",
        pool: int = 50,
        masked: bool = False,
    ) -> None:
        if adversarial == "least-squares" and generator_loss == "saturating":
            raise UserError(
                "`generator_loss: saturating` does not go with `adversarial: least-squares`.",
                "The negative of a square has no lower bound.",
                "Set one of the two to its default.",
            )
        roles = ["generator", "discriminator"]
        check_roles("networks", recipe.networks, required=roles)
        self._middle = recipe.data.neighbours
        channels = {"generator": 2 * self._middle + 1, "discriminator": 1}
        self.networks = nn.ModuleDict(
            {
                role: build_network(
                    recipe.networks[role], channels[role], 1, recipe.data.size, where=f"`networks.{role}` of the recipe"
                )
                for role in roles
            }
        )
        self.optimisers, self._schedules = build_optimisers(
            recipe.optimisers, {role: self.networks[role].parameters() for role in roles}
        )
        self.paired = recipe.data.paired
        self.body_only = masked
        self._compared = compared
        self._weight = weight
        self._adversarial = binary_cross_entropy if adversarial == "cross-entropy" else least_squares
        self._saturating = generator_loss == "saturating"
        self._pool = ImagePool(pool)

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """Update G through the frozen D, then D on both kinds of images, its loss halved (algorithm 1 of the paper).

        Losses: ``g_adversarial``, ``g_self`` (unweighted), ``d_real``, ``d_synthetic`` (neither halved).
        """
        self._schedules.apply(progress)
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        mr = batch["input"][:, self._middle : self._middle + 1]
        synthetic = generator(batch["input"])
        shown = air_outside(synthetic, batch["mask"], self.body_only)
        real = air_outside(batch["target"], batch.get("target_mask", batch["mask"]), self.body_only)

        with frozen(discriminator):
            logits = discriminator(shown)
            if self._saturating:
                losses = {"g_adversarial": -self._adversarial(logits, SYNTHETIC)}
            else:
                losses = {"g_adversarial": self._adversarial(logits, REAL)}
            losses["g_self"] = self.self_regularisation(mr, synthetic, batch["mask"])
            update("generator", losses["g_adversarial"] + self._weight * losses["g_self"])

        losses["d_real"] = self._adversarial(discriminator(real), REAL)
        losses["d_synthetic"] = self._adversarial(discriminator(self._pool.query(shown)), SYNTHETIC)
        update("discriminator", 0.5 * (losses["d_real"] + losses["d_synthetic"]))
        return {name: value.detach() for name, value in losses.items()}

    def self_regularisation(self, mr: Tensor, synthetic: Tensor, mask: Tensor) -> Tensor:
        """Return the mean |φ(synthetic) − φ(mr)|, with ``masked`` inside the body."""
        if self._compared == "edges":
            inside = mask if self.body_only else torch.ones_like(mask)
            mr, synthetic = edges(mr, inside), edges(synthetic, inside)
        return masked_l1(synthetic, mr, mask if self.body_only else None)

    def state_dict(self) -> dict[str, Any]:
        """Return the image pool."""
        return self._pool.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._pool.load_state_dict(state)


def edges(image: Tensor, inside: Tensor) -> Tensor:
    """Return |∇x| / (|∇x| + m) with the mean m of |∇x| over ``inside``: 0 where flat, 1/2 at a mean slope, below 1.

    The unit and the sign of the contrast drop out, and a strong border counts little more than a clear one.

    Parameters
    ----------
    image
        (N, 1, rows, columns), or with slices; slopes are taken to the next voxel along each axis.
    inside
        Same shape, 0 or 1; m is taken for each sample by itself.
    """
    image = precise(image)
    axes = range(2, image.dim())
    steps = [torch.diff(image, dim=axis, append=image.narrow(axis, -1, 1)) for axis in axes]
    squares = torch.stack([step.square() for step in steps]).sum(dim=0)
    slope = (squares + _FAINT**2).sqrt() - _FAINT
    mean = (slope * inside).sum(dim=[1, *axes], keepdim=True) / inside.sum(dim=[1, *axes], keepdim=True).clamp(min=1)
    return slope / (slope + mean + _FAINT)
