"""Classes of images told apart by one network, whose features then say how like two sets of images are (row C12)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthct.errors import UserError
from synthct.methods.losses import precise
from synthct.methods.method import Batch, Method, Update
from synthct.methods.optimisers import build_optimisers, check_roles
from synthct.networks.registry import build_network
from synthct.recipe import CLASS_TASK, Recipe

UNKNOWN = ("first class", "second class")
"""Of a recipe that leaves them to its cohort, before there is one."""
SMALLEST = 32
"""Voxels along each side that a ResNet leaves at least one of."""


class Classification(Method):
    """The class of an image (its source centre, benign or malignant) by cross-entropy.

    Parameters
    ----------
    recipe
        Roles: network ``classifier``, optimiser ``classifier``. ``data.classes`` are the classes; a training takes
        those of its cohort where there are none, and until then the network has two.
    label_smoothing
        Share of the truth that is spread evenly over all classes, 0 to less than 1: with few cases less certainty.

    Raises
    ------
    UserError
        Another task, images with masks, a size or batch that is too small, or an entry is wrong.
    """

    generator_role = "classifier"
    body_only = False

    def __init__(self, recipe: Recipe, *, label_smoothing: float = 0.0) -> None:
        data = recipe.data
        if recipe.task != CLASS_TASK:
            raise UserError(
                f"The method classification does not go with `task: {recipe.task}`.", todo=f"Set it to {CLASS_TASK}."
            )
        if data.masks != "none":
            raise UserError(
                f"`data.masks` cannot be {data.masks} for the classes of images.",
                "The network sees the image alone; features of masks come from the same network.",
                "Set it to none.",
            )
        if data.fit == "montage":
            raise UserError(
                "`data.fit` cannot be montage for the classes of images.", todo="Take resize, centre or crop."
            )
        if min(data.size) < SMALLEST or recipe.training.batch < 2:
            raise UserError(
                f"`data.size` {list(data.size)} or `training.batch` {recipe.training.batch} is too small.",
                f"A ResNet halves each side five times, and its batch norm needs two samples or more of {SMALLEST} "
                "voxels a side.",
                "Give larger ones.",
            )
        if not 0 <= label_smoothing < 1:
            raise UserError(f"`label_smoothing` cannot be {label_smoothing:g}.", todo="Give 0 or more and less than 1.")
        check_roles("networks", recipe.networks, required=["classifier"])
        self.classes = data.classes or UNKNOWN
        where = "`networks.classifier` of the recipe"
        classifier = build_network(recipe.networks["classifier"], 1, len(self.classes), data.size, where=where)
        if getattr(classifier, "fc", None) is None:
            raise UserError(f"{where} is no classifier.", todo="Take resnet-classifier.")
        self.networks = nn.ModuleDict({"classifier": classifier})
        self.optimisers, self._schedules = build_optimisers(recipe.optimisers, {"classifier": classifier.parameters()})
        self.paired = data.paired
        self._smoothing = label_smoothing

    def training_step(self, batch: Batch, update: Update, progress: float) -> dict[str, Tensor]:
        """One update of the network. Losses: ``cross_entropy``; ``accuracy``, the share of the batch that is right."""
        self._schedules.apply(progress)
        scores = precise(self.networks["classifier"](batch["target"]))
        loss = functional.cross_entropy(scores, batch["class"], label_smoothing=self._smoothing)
        update("classifier", loss)
        right = (scores.detach().argmax(dim=1) == batch["class"]).to(scores.dtype).mean()
        return {"cross_entropy": loss.detach(), "accuracy": right}

    def preview(self, batch: Batch) -> Tensor:
        """Return the probabilities of the classes, (N, classes): no gradients, in eval mode."""
        network = self.networks["classifier"]
        training = network.training
        network.eval()
        with torch.no_grad():
            found: Tensor = network(batch["target"]).softmax(dim=1)
        network.train(training)
        return found
