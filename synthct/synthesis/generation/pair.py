"""One image, alone or with its mask, made from a latent by a model that was trained from noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthct.data.slices import AXES
from synthct.errors import UserError
from synthct.synthesis.generation.pair_postprocessing import binarise, keep_largest, remove_small
from synthct.synthesis.model_file import Model
from synthct.volumes.montage import Montage
from synthct.volumes.scaling import make_scaling


@dataclass(frozen=True)
class MaskOptions:
    """What is done to a generated mask (row C11).

    Parameters
    ----------
    threshold
        In mask values: what lies above is 1. None: 0.5, half-way to the first label, whatever the scaling.
    minimum_mm3
        Connected components smaller than this are removed; 0: none.
    largest_only
        Of what is left the largest connected component alone is kept.
    """

    threshold: float | None = None
    minimum_mm3: float = 0.0
    largest_only: bool = False

    def __post_init__(self) -> None:
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UserError(f"The threshold of the mask cannot be {self.threshold}.", todo="Give a number.")
        if not (math.isfinite(self.minimum_mm3) and self.minimum_mm3 >= 0):
            raise UserError(f"The minimum volume cannot be {self.minimum_mm3} mm³.", todo="Give 0 or more.")


def make_pair(
    model: Model, latent: Tensor, class_number: int | None = None, options: MaskOptions | None = None
) -> tuple[sitk.Image, sitk.Image | None]:
    """Return image (int16 HU) and, where the model makes it, mask (uint8, 0 and 1) of one latent.

    The grid is axial with the card's spacing, and its origin is 0: there is no patient.

    Parameters
    ----------
    latent
        ``latent_shape``, on the model's device.
    class_number
        Place in the card's ``class_names``; None for a model without classes.

    Raises
    ------
    UserError
        The latent is not one of this model's.
    """
    card = model.card
    if list(latent.shape) != card["latent_shape"]:
        raise UserError(
            f"A latent of {_times(latent.shape)} does not fit the model {card['name']}.",
            f"It takes latents of {_times(card['latent_shape'])}.",
            "Draw another one.",
        )
    classes = None if class_number is None else torch.tensor([class_number], device=latent.device)
    with torch.no_grad():
        made: NDArray[np.float32] = model.network(latent[None], classes)[0].float().cpu().numpy()
    options = options or MaskOptions()
    image, *mask = np.split(made[0], 2) if card["masks"] == "joined" else _off_the_montage(made, card)
    low, high = card["hu_range"]
    hu = np.clip(np.rint(make_scaling(card["target_scaling"]).invert(image)), low, high).astype(np.int16)
    if not mask:
        return _on_grid(hu, card), None
    scaling = make_scaling(card["mask_scaling"])
    if options.threshold is None:
        outlined = binarise(mask[0], scaling)
    else:
        outlined = (scaling.invert(mask[0]) > options.threshold).astype(np.uint8)
    whole = _volume(outlined, card)
    if options.minimum_mm3:
        whole = remove_small(whole, options.minimum_mm3, tuple(card["spacing"]))
    if options.largest_only:
        whole = keep_largest(whole)
    return _on_grid(hu, card), _on_grid(whole, card)


def montage_of(card: Mapping[str, Any]) -> Montage | None:
    """Return how slices lie on the pictures that a model makes; None where it makes no montage."""
    if card.get("fit") != "montage":
        return None
    (rows, columns), (tall, wide) = card["size"], card["montage"]["slice"]
    return Montage((rows, columns), (tall, wide))


def _off_the_montage(made: NDArray[Any], card: dict[str, Any]) -> list[NDArray[Any]]:
    """Return each channel of ``made``, of a montage as the volume that was laid out."""
    montage = montage_of(card)
    return list(made) if montage is None else [montage.take_back(part, card["montage"]["slices"]) for part in made]


def _volume(array: NDArray[Any], card: dict[str, Any]) -> NDArray[Any]:
    """Return z, y, x; a slice lies in the plane that the model learned, axial where it learned several."""
    if array.ndim == 3:
        return array
    planes = card["planes"]
    return np.expand_dims(array, AXES[planes[0]] if len(planes) == 1 else 0)


def _on_grid(array: NDArray[Any], card: dict[str, Any]) -> sitk.Image:
    image = sitk.GetImageFromArray(_volume(array, card))
    image.SetSpacing(card["spacing"])
    return image


def _times(shape: Any) -> str:
    return "×".join(str(int(length)) for length in shape)
