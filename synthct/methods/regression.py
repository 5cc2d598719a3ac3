"""The paired baseline: one network, trained on the difference to the true CT.

It is the rival that every GAN must beat (REFERENCE F: the best paired MR→CT today is a regression).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.losses import masked_l1
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe
from synthct.volumes.hu import TISSUES
from synthct.volumes.scaling import make_scaling


class Regression(Method):
    """Mean absolute error between generator output and CT, per voxel.

    Parameters
    ----------
    recipe
        Roles: network ``generator``, optimiser ``generator``.
    masked
        Only voxels inside the body mask count.
    bone_weight
        Weight of voxels whose target is bone (HU of `synthct.volumes.hu.TISSUES`); all others have 1. Bone is a
        few per cent of a body, and a plain mean neglects it; 3 to 5 is usual.

    Raises
    ------
    UserError
        The recipe's data are not paired, or an entry is wrong.
    """

    generator_role = "generator"
    paired = True

    def __init__(self, recipe: Recipe, *, masked: bool = True, bone_weight: float = 1.0) -> None:
        if not recipe.data.paired:
            raise UserError("The method regression needs pairs.", "`data.paired` is false.", "Set it to true.")
        check_roles("networks", recipe.networks, required=["generator"])
        channels = 2 * recipe.data.neighbours + 1
        entry = recipe.networks["generator"]
        generator = build_network(entry, channels, 1, where="`networks.generator` of the recipe")
        self.networks = nn.ModuleDict({"generator": generator})
        self.optimisers, self._schedules = build_optimisers(recipe.optimisers, {"generator": generator.parameters()})
        self.body_only = masked
        self._bone_weight = bone_weight
        bone_hu = np.array([TISSUES["bone"][0]])
        self._bone = float(make_scaling(recipe.data.target_scaling).apply(bone_hu)[0])

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """One update of the generator. Losses: ``l1`` (weighted as the recipe says)."""
        self._schedules.apply(progress)
        target = batch["target"]
        prediction = self.networks["generator"](batch["input"])
        loss = masked_l1(prediction, target, self._weight(target, batch["mask"]))
        update("generator", loss)
        return {"l1": loss.detach()}

    def _weight(self, target: Tensor, mask: Tensor) -> Tensor | None:
        weight = mask.to(target.dtype) if self.body_only else None
        if self._bone_weight == 1:
            return weight
        bone = torch.where(target >= self._bone, self._bone_weight, 1.0)
        return bone if weight is None else weight * bone
