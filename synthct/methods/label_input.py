"""Label maps as the input of a method: which channels hold them, and which methods cannot take them."""

from __future__ import annotations

import torch
from torch import Tensor

from synthct.errors import UserError
from synthct.networks.one_hot import LabelChannels
from synthct.recipe import LABEL_TASK, Recipe
from synthct.volumes.scaling import make_scaling


def label_channels(recipe: Recipe) -> LabelChannels | None:
    """Return the input's channels that are turned into one per class; None for intensities and scaled labels."""
    scaling = make_scaling(recipe.data.input_scaling)
    if not scaling.one_hot or scaling.classes is None:
        return None
    return LabelChannels(2 * recipe.data.neighbours + 1, scaling.classes)


def rare_class_weight(labels: Tensor, mask: Tensor | None, classes: int, most: float) -> Tensor:
    """Return the weight of every voxel: that of the commonest class is 1, rarer ones have the inverse of their share.

    Classes balanced by their inverse frequency, as Eigen and Fergus (ICCV 2015, section 6.2.1) do for the loss of a
    segmentation, here for the error of HU and with a limit, without which a class of a few voxels would rule a step. A
    nodule is less than a thousandth of a chest, and a plain mean hardly asks for its HU.

    Parameters
    ----------
    labels
        Label numbers, any shape.
    mask
        Same shape; voxels that are 0 are not counted. None: all are.
    most
        No class weighs more than this.

    Returns
    -------
    Tensor
        float32, the shape of ``labels``. In a training by several processes the shares are those of the joint batch.
    """
    numbers = labels.round().long().clamp(0, classes - 1)
    counted = numbers.flatten() if mask is None else numbers[mask > 0]
    counts = torch.bincount(counted, minlength=classes)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
    weights = (counts.max().clamp(min=1) / counts.clamp(min=1)).float().clamp(max=most)
    return weights[numbers]


def require_label_recipe(recipe: Recipe) -> None:
    """Refuse what does not go with label maps, and label scalings where the task has none.

    Raises
    ------
    UserError
        Naming the recipe's key.
    """
    scaling = make_scaling(recipe.data.input_scaling)
    if (recipe.task == LABEL_TASK) != (scaling.classes is not None):
        raise UserError(
            f"`data.input_scaling` {scaling.name} does not go with `task: {recipe.task}`.",
            "Label maps are scaled by one-hot or lidc-label, and intensities by the others.",
            "Change one of the two.",
        )
    if scaling.classes is None:
        return
    augmentation = recipe.data.augmentation
    changed = {
        "gamma": augmentation.gamma,
        "bias_field": augmentation.bias_field,
        "resampling.probability": augmentation.resampling.probability,
    }
    for name, value in changed.items():
        if value:
            raise UserError(
                f"`data.augmentation.{name}` cannot be {value:g} for label maps.",
                "It changes intensities, and label numbers have none.",
                "Set it to 0.",
            )
    if recipe.preparation.registration != "none" or recipe.preparation.bias_correction:
        raise UserError(
            "A label map is neither registered nor corrected.",
            "It belongs to the CT that it was made from, and holds no intensities.",
            "Set `preparation.registration` to none and `preparation.bias_correction` to false.",
        )
    method = str(recipe.method.get("name"))
    if method in ("segmentation", "self-regularised-gan") or (method == "cyclegan" and scaling.one_hot):
        cycle = method == "cyclegan"
        raise UserError(
            f"The method {method} cannot be trained from label maps scaled by {scaling.name}.",
            "The way back gives one channel." if cycle else "It compares intensities of input and CT.",
            "Take lidc-label." if cycle else "Take regression, conditional-gan, gan, wgan or cyclegan.",
        )
