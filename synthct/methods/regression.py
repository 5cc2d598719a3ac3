"""The paired baseline: one network, trained on the difference to the true CT.

It is the rival that every GAN must beat (REFERENCE F: the best paired MR→CT today is a regression).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.generation import air_outside
from synthct.methods.label_input import label_channels, rare_class_weight
from synthct.methods.losses import masked_l1, masked_l2
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe
from synthct.volumes.hu import TISSUES
from synthct.volumes.scaling import make_scaling


class Regression(Method):
    """Mean error between generator output and CT, per voxel, and as a CT-segmentation network sees it if asked for.

    Parameters
    ----------
    recipe
        Roles: network ``generator``, optimiser ``generator``; with a ``feature_weight`` the network ``features``,
        as the card of the feature model has it.
    loss
        ``l1``: |sCT − CT|; ``l2``: its square, for which a large error counts more than many small ones.
    masked
        Only voxels inside the body mask count.
    bone_weight
        Weight of voxels whose target is bone (HU of `synthct.volumes.hu.TISSUES`); all others have 1. Bone is a
        few per cent of a body, and a plain mean neglects it; 3 to 5 is usual.
    rare_class_weight
        From label maps: a class weighs as many times more as it is rarer in the batch than the commonest one, at most
        this (`synthct.methods.label_input.rare_class_weight`). 1: all voxels weigh the same.
    feature_weight
        Of the anatomical-feature loss (REFERENCE F: the best paired MR→CT published has it), see `feature_error`.
        0: none.
    feature_model
        The model (task ct-to-tissues) whose network is ``features``: a model or run folder. It learns no more.

    Raises
    ------
    UserError
        The recipe's data are not paired, a feature loss lacks its network or model, or an entry is wrong.
    """

    generator_role = "generator"
    paired = True

    def __init__(
        self,
        recipe: Recipe,
        *,
        loss: Literal["l1", "l2"] = "l1",
        masked: bool = True,
        bone_weight: float = 1.0,
        rare_class_weight: float = 1.0,
        feature_weight: float = 0.0,
        feature_model: str | None = None,
    ) -> None:
        if not recipe.data.paired:
            raise UserError("The method regression needs pairs.", "`data.paired` is false.", "Set it to true.")
        scaling = make_scaling(recipe.data.input_scaling)
        if rare_class_weight < 1 or (rare_class_weight > 1 and not scaling.one_hot):
            raise UserError(
                f"`method.rare_class_weight` cannot be {rare_class_weight:g} here.",
                "It is 1 or more, and more than 1 only where the input is a label map scaled by one-hot.",
                "Set it to 1, or scale label maps by one-hot.",
            )
        if bool(feature_weight) != (feature_model is not None):
            raise UserError(
                "A feature loss needs `feature_weight` and `feature_model`.",
                f"They are {feature_weight:g} and {feature_model}.",
                "Give a run or model of the preset synthct-ct-tissues and a weight, or neither.",
            )
        roles = ["generator", "features"] if feature_weight else ["generator"]
        check_roles("networks", recipe.networks, required=roles)
        channels = 2 * recipe.data.neighbours + 1
        entry = recipe.networks["generator"]
        where = "`networks.generator` of the recipe"
        generator = build_network(entry, channels, 1, where=where, labels=label_channels(recipe))
        self.networks = nn.ModuleDict({"generator": generator})
        if feature_model is not None:
            features = build_network(recipe.networks["features"], 1, 1, where="`networks.features` of the recipe")
            if not hasattr(features, "features"):
                raise UserError(
                    f"The network {recipe.networks['features']['name']} cannot be `networks.features` of the recipe.",
                    "It does not show what its stages give.",
                    "Take a U-Net.",
                )
            self.networks["features"] = features.requires_grad_(False)
            self.pretrained = {"features": feature_model}
        self.optimisers, self._schedules = build_optimisers(recipe.optimisers, {"generator": generator.parameters()})
        self.body_only = masked
        self._loss, self._loss_name = (masked_l1, "l1") if loss == "l1" else (masked_l2, "l2")
        self._bone_weight = bone_weight
        self._rare_class_weight = rare_class_weight
        self._classes = scaling.classes or 0
        self._centre = recipe.data.neighbours
        self._feature_weight = feature_weight
        bone_hu = np.array([TISSUES["bone"][0]])
        self._bone = float(make_scaling(recipe.data.target_scaling).apply(bone_hu)[0])

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """One update of the generator.

        Losses: ``l1`` or ``l2`` (voxels weighted as the recipe says), ``features`` where it has them (unweighted).
        """
        self._schedules.apply(progress)
        target = batch["target"]
        prediction = self.networks["generator"](batch["input"])
        losses = {self._loss_name: self._loss(prediction, target, self._weight(batch))}
        loss = losses[self._loss_name]
        if self._feature_weight:
            shown = (air_outside(image, batch["mask"], self.body_only) for image in (prediction, target))
            losses["features"] = feature_error(self.networks["features"].eval(), *shown)
            loss = loss + self._feature_weight * losses["features"]
        update("generator", loss)
        return {name: value.detach() for name, value in losses.items()}

    def _weight(self, batch: Batch) -> Tensor | None:
        target = batch["target"]
        weight = batch["mask"].to(target.dtype) if self.body_only else None
        if self._bone_weight != 1:
            bone = torch.where(target >= self._bone, self._bone_weight, 1.0)
            weight = bone if weight is None else weight * bone
        if self._rare_class_weight != 1:
            labels = batch["input"][:, self._centre : self._centre + 1]
            rare = rare_class_weight(labels, weight, self._classes, self._rare_class_weight).to(target.dtype)
            weight = rare if weight is None else weight * rare
        return weight


def feature_error(network: nn.Module, prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the stages of ``network`` of the mean |φ(prediction) − φ(target)| of what a stage gives.

    Parameters
    ----------
    network
        With a method ``features``: one tensor for each stage of its encoder.
    prediction, target
        (N, 1, rows, columns), scaled as the network's own training images.
    """
    with torch.no_grad():
        wanted = network.features(target)  # type: ignore[operator]
    found = network.features(prediction)  # type: ignore[operator]
    return torch.stack([masked_l1(a, b) for a, b in zip(found, wanted, strict=True)]).mean()
