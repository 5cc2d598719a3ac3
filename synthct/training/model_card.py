"""The card of the model that a run keeps: what it translates and how it was trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthct.data.cache import Volume
from synthct.methods.method import Method
from synthct.recipe import Recipe
from synthct.volumes.scaling import make_scaling

_LATTICE = 4
_INTENDED_USE = "Research only; not a medical device, not for diagnosis or treatment."


def model_card(recipe: Recipe, method: Method, training: Sequence[Volume]) -> dict[str, Any]:
    """Return the card without scores; see `synthct.synthesis.card` for its keys.

    Parameters
    ----------
    method
        As built from the recipe; says which network is exported.
    training
        The volumes that are trained on.
    """
    data = recipe.data
    low, high = make_scaling(data.target_scaling).range
    spacing = recipe.preparation.spacing
    return {
        "name": recipe.name,
        "task": recipe.task,
        "input": "MR",
        "target": "CT",
        "network": dict(recipe.networks[method.generator_role]),
        "in_channels": 2 * data.neighbours + 1,
        "out_channels": 1,
        "input_scaling": make_scaling(data.input_scaling).to_dict(),
        "target_scaling": make_scaling(data.target_scaling).to_dict(),
        "planes": list(data.planes),
        "neighbours": data.neighbours,
        "size": list(data.size),
        "spacing": None if spacing is None else list(spacing),
        "hu_range": [round(low), round(high)],
        "bias_correction": recipe.preparation.bias_correction,
        "body_only": method.body_only,
        "statistics": _statistics(training),
        "intended_use": _INTENDED_USE,
    }


def training_summary(
    recipe: Recipe, volumes: tuple[int, int], step: int, scores: Mapping[str, float], start: str | None
) -> dict[str, Any]:
    """Return the card's ``training``: recipe, numbers of training and validation volumes, steps, date, scores."""
    summary: dict[str, Any] = {
        "preset": recipe.name,
        "source": recipe.source,
        "cohort": f"{volumes[0]} cases, {volumes[1]} for validation",
        "steps": step,
        "seed": recipe.training.seed,
        "date": time.strftime("%Y-%m-%d"),
        "scores": {name.removeprefix("validation/"): round(value, 3) for name, value in scores.items()},
        "scores_are": "means over the validation volumes, inside the body mask",
    }
    return summary if start is None else {**summary, "started_from": start}


def _statistics(volumes: Sequence[Volume]) -> dict[str, Any]:
    spacing = np.array([volume.spacing for volume in volumes])
    extent = spacing * np.array([volume.shape[::-1] for volume in volumes])
    bright = [float(np.percentile(volume.mr[::_LATTICE, ::_LATTICE, ::_LATTICE], 99)) for volume in volumes]
    return {
        "spacing_mm": _ranges(spacing),
        "extent_mm": _ranges(extent),
        "intensity_p99": [round(min(bright), 1), round(max(bright), 1)],
    }


def _ranges(values: np.ndarray) -> list[list[float]]:
    return [[round(float(column.min()), 3), round(float(column.max()), 3)] for column in values.T]
