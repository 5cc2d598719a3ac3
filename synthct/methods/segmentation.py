"""Segmentation of CT into tissues, and the network whose features a regression may be trained on (REFERENCE F).

Tissues that HU define could be had by thresholding, and a network that thresholds has no features worth comparing.
Therefore each CT is spoilt before the network sees it: it has to find the tissues again by their shape and place.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.methods.losses import precise
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import Recipe
from synthct.volumes.hu import FAT_HU, TISSUES
from synthct.volumes.scaling import make_scaling

CLASSES = ("outside the body", "air", "fat", "soft tissue", "bone")
"""Value in a label map → what it is."""


class Segmentation(Method):
    """Tissue classes of a CT that is spoilt by blur, gain, offset and noise, by Dice loss and cross-entropy.

    Parameters
    ----------
    recipe
        Roles: network ``segmenter`` (its ``output`` must be linear), optimiser ``segmenter``.
    blur
        Standard deviation in voxels of the Gaussian that a share of each image, drawn from 0 to 1, goes through.
    gain
        HU above air are multiplied by a number drawn from 1 ± this.
    offset
        A number drawn from ± this is added, in HU.
    noise
        The standard deviation of white noise that is added is drawn from 0 to this, in HU.

    Raises
    ------
    UserError
        2.5D data, a network whose output is not linear, a negative number, or an entry is wrong.
    """

    generator_role = "segmenter"
    classes = CLASSES

    def __init__(
        self,
        recipe: Recipe,
        *,
        blur: float = 1.5,
        gain: float = 0.1,
        offset: float = 50.0,
        noise: float = 100.0,
    ) -> None:
        from monai.losses import DiceCELoss
        from monai.networks.layers import GaussianFilter

        if recipe.data.neighbours:
            raise UserError(
                "The method segmentation takes single slices of the CT, or volumes.",
                f"`data.neighbours` is {recipe.data.neighbours}.",
                "Set it to 0.",
            )
        if min(blur, gain, offset, noise) < 0 or gain >= 1:
            raise UserError(
                f"`blur`, `gain`, `offset` and `noise` cannot be {blur:g}, {gain:g}, {offset:g} and {noise:g}.",
                todo="Give numbers of 0 or more, and a gain below 1.",
            )
        check_roles("networks", recipe.networks, required=["segmenter"])
        entry = recipe.networks["segmenter"]
        where = "`networks.segmenter` of the recipe"
        segmenter = build_network(entry, 1, len(CLASSES), recipe.data.size, where=where)
        if not isinstance(getattr(segmenter, "output", None), nn.Identity):
            raise UserError(
                f"{where} must have a linear output.", "Class scores have no bounds.", "Set its `output` to linear."
            )
        self.networks = nn.ModuleDict({"segmenter": segmenter})
        self.optimisers, self._schedules = build_optimisers(recipe.optimisers, {"segmenter": segmenter.parameters()})
        self.paired = recipe.data.paired
        self.body_only = False
        self._gain = gain
        scaling = make_scaling(recipe.data.target_scaling)
        self._range = tuple(float(value) for value in scaling.apply(np.asarray(scaling.range)))
        self._air, self._fat, self._soft, self._bone = (
            float(scaling.apply(np.array([hu]))[0]) for hu in (-1000.0, FAT_HU[0], FAT_HU[1], TISSUES["bone"][0])
        )
        low, high = scaling.range
        self._offset, self._noise = 2 * offset / (high - low), 2 * noise / (high - low)
        self._blur = GaussianFilter(len(recipe.data.size), blur) if blur else None
        self._loss = DiceCELoss(to_onehot_y=True, softmax=True)

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """One update of the network. Loss: ``dice_ce``, the sum of Dice loss and cross-entropy of all classes.

        The truth is ``batch["labels"]`` where a batch has them, (N, 1, rows, columns), or `labels`.
        """
        self._schedules.apply(progress)
        target = batch["target"]
        truth = batch["labels"] if "labels" in batch else self.labels(target, batch.get("target_mask", batch["mask"]))
        scores = precise(self.networks["segmenter"](self.spoilt(target)))
        loss = self._loss(scores, truth)
        update("segmenter", loss)
        return {"dice_ce": loss.detach()}

    def preview(self, batch: Batch) -> Tensor:
        """Return the class of each voxel of the clean CT ``batch["target"]``, (N, 1, rows, columns)."""
        scores = super().preview({"input": batch["target"]})
        return scores.argmax(dim=1, keepdim=True).to(scores.dtype)

    def labels(self, ct: Tensor, mask: Tensor) -> Tensor:
        """Return the class (see `CLASSES`) of each voxel of a scaled CT by its HU, as floating-point numbers."""
        classes = 1.0 + (ct >= self._fat) + 1.0 * (ct >= self._soft) + 1.0 * (ct >= self._bone)
        return torch.where(mask > 0, classes, 0.0).to(ct.dtype)

    def spoilt(self, ct: Tensor) -> Tensor:
        """Return a scaled CT (N, 1, rows, columns) after blur, gain, offset and noise, drawn for each sample."""

        def drawn(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand((len(ct), *[1] * (ct.dim() - 1)), dtype=ct.dtype, device=ct.device)

        if self._blur is not None:
            lowest = self._range[0]  # the filter takes 0 for what lies beyond the image
            ct = torch.lerp(ct, self._blur(ct - lowest).to(ct.dtype) + lowest, drawn(0, 1))
        ct = self._air + (ct - self._air) * drawn(1 - self._gain, 1 + self._gain)
        ct = ct + drawn(-self._offset, self._offset) + drawn(0, self._noise) * torch.randn_like(ct)
        return ct.clamp(*self._range)
