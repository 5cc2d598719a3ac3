"""The card of a model that makes images, or pairs of image and mask, from noise; see `synthct.synthesis.card`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from synthct.data.cache import Volume
from synthct.data.fitting import slices_laid_out
from synthct.methods.method import Method
from synthct.methods.noise import generator_entry, latent_shape_of, pair_channels
from synthct.recipe import Data, Recipe
from synthct.training.model_card import INTENDED_USE
from synthct.volumes.scaling import make_scaling


def noise_card(recipe: Recipe, method: Method, training: Sequence[Volume]) -> dict[str, Any]:
    """Return the card without scores.

    Parameters
    ----------
    method
        As built from the recipe.
    training
        The volumes that are trained on, brought to size: the median of their spacings becomes that of what is made.
    """
    data = recipe.data
    latent = latent_shape_of(method.networks[method.generator_role])
    low, high = make_scaling(data.target_scaling).range
    pairs = data.masks != "none"
    return {
        "name": recipe.name,
        "task": recipe.task,
        "input": "noise",
        "target": "CT and mask" if pairs else "CT",
        "network": generator_entry(recipe),
        "in_channels": latent[0],
        "out_channels": pair_channels(data),
        "latent_shape": list(latent),
        "channels": ["image", "mask"] if pairs else ["image"],
        "masks": data.masks,
        "mask_scaling": make_scaling(data.mask_scaling).to_dict() if pairs else None,
        "target_scaling": make_scaling(data.target_scaling).to_dict(),
        "preparation": dataclasses.asdict(recipe.preparation),
        "fit": data.fit,
        "planes": list(data.planes),
        "size": list(data.size),
        "spacing": np.median([volume.spacing for volume in training], axis=0).round(4).tolist(),
        "hu_range": [round(low), round(high)],
        "class_names": list(data.classes),
        "intended_use": INTENDED_USE,
        **({"montage": _montage(data, training)} if data.fit == "montage" else {}),
    }


def _montage(data: Data, training: Sequence[Volume]) -> dict[str, Any]:
    return {
        "slice": list(data.montage_slice),
        "slices": int(np.median([slices_laid_out(volume) for volume in training])),
    }
