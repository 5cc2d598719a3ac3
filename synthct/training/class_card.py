"""The card of a model that tells the classes of images; see `synthct.synthesis.card`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from synthct.data.cache import Volume
from synthct.methods.method import Method
from synthct.recipe import Recipe
from synthct.training.model_card import INTENDED_USE
from synthct.volumes.scaling import make_scaling


def class_card(recipe: Recipe, method: Method, training: Sequence[Volume]) -> dict[str, Any]:
    """Return the card without scores.

    Parameters
    ----------
    method
        As built from the recipe.
    training
        The volumes that are trained on, brought to size; the card remembers the median of their spacings.
    """
    data = recipe.data
    scaling = make_scaling(data.target_scaling)
    low, high = scaling.range
    return {
        "name": recipe.name,
        "task": recipe.task,
        "input": "CT",
        "target": f"{data.class_of} of the image",
        "network": dict(recipe.networks[method.generator_role]),
        "in_channels": 1,
        "out_channels": len(method.classes),
        "classes": list(method.classes),
        "class_of": data.class_of,
        "input_scaling": scaling.to_dict(),
        "target_scaling": scaling.to_dict(),
        "mask_scaling": make_scaling(data.mask_scaling).to_dict(),
        "preparation": dataclasses.asdict(recipe.preparation),
        "fit": data.fit,
        "planes": list(data.planes),
        "neighbours": 0,
        "size": list(data.size),
        "spacing": np.median([volume.spacing for volume in training], axis=0).round(4).tolist(),
        "hu_range": [round(low), round(high)],
        "bias_correction": False,
        "body_only": False,
        "statistics": {},
        "intended_use": INTENDED_USE,
    }
