"""The card of the model that a run keeps: what it translates and how it was trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from synthct.data.cache import Volume
from synthct.evaluation.images.body_content import CONTENTS, body_content
from synthct.methods.method import Method
from synthct.recipe import Recipe
from synthct.synthesis.likeness.sampled_features import sampled_features
from synthct.synthesis.likeness.training_statistics import describe_features, describe_histograms, intensity_histogram
from synthct.synthesis.model_file import Model
from synthct.volumes.scaling import Scaling, make_scaling

CASES = 24
"""Training volumes whose histograms and features the card remembers: enough for a spread, seconds to look at."""

_LATTICE = 4
_SAMPLE = 2_000_000
_SCORES_ARE = {
    "validation/dice": "means over the validation volumes, their CT spoilt as in training",
    "validation/accuracy": "of the validation cases; chance is 1 divided by the number of classes where they are even",
    "validation/statistics_distance": "Fréchet distance of simple image statistics, generated to real; not an FID",
}
_INSIDE = "means over the validation volumes, inside the body mask"
INTENDED_USE = "Research only; not a medical device, not for diagnosis or treatment."


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
    scaling = make_scaling(data.input_scaling)
    labels = scaling.classes
    low, high = make_scaling(data.target_scaling).range
    ct = make_scaling(data.target_scaling).to_dict()
    tissues: dict[str, Any] = {"input": "CT", "target": "tissues", "classes": list(method.classes), "input_scaling": ct}
    tissues |= {"bias_correction": False, "statistics": {}}
    spacing = recipe.preparation.spacing
    return {
        "name": recipe.name,
        "task": recipe.task,
        "input": "MR" if labels is None else "label map",
        "target": "CT",
        "network": dict(recipe.networks[method.generator_role]),
        "in_channels": (2 * data.neighbours + 1) * (labels or 1 if scaling.one_hot else 1),
        "out_channels": len(method.classes) or 1,
        "input_scaling": scaling.to_dict(),
        "target_scaling": ct,
        "planes": list(data.planes),
        "neighbours": data.neighbours,
        "size": list(data.size),
        "spacing": None if spacing is None else list(spacing),
        "hu_range": [round(low), round(high)],
        "bias_correction": recipe.preparation.bias_correction,
        "body_only": method.body_only,
        "statistics": _statistics(training, scaling),
        "intended_use": INTENDED_USE,
        **(tissues if method.classes else {}),
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
        "scores_are": _scores_are(scores),
    }
    return summary if start is None else {**summary, "started_from": start}


def _scores_are(scores: Mapping[str, float]) -> str:
    return next((words for name, words in _SCORES_ARE.items() if name in scores), _INSIDE)


def with_features(
    card: Mapping[str, Any], network: nn.Module, training: Sequence[Volume], device: torch.device | str
) -> dict[str, Any]:
    """Return the card with what ``network``, as trained so far, sees in the training volumes.

    At most `CASES` volumes are looked at, each in a few slices (`synthct.synthesis.likeness.sampled_features`).
    """
    model = Model(network, dict(card))
    if model.input_scaling.classes is not None:
        return dict(card)  # of label maps only numbers, spacing and extent are compared
    features = []
    for volume in _chosen(training):
        scaling = model.input_scaling.fit(volume.input, volume.mask)
        seen = sampled_features(model, volume.input, volume.mask, scaling, device)
        if seen is not None:
            features.append(seen)
    network.to(device)  # synthesis may have fled to the CPU when memory ran out
    known = describe_features(features)
    statistics = dict(card["statistics"])
    return {**card, "statistics": statistics if known is None else {**statistics, "features": known}}


def _statistics(volumes: Sequence[Volume], scaling: Scaling) -> dict[str, Any]:
    spacing = np.array([volume.spacing for volume in volumes])
    extent = spacing * np.array([volume.shape[::-1] for volume in volumes])
    sizes = {"spacing_mm": _ranges(spacing), "extent_mm": _ranges(extent)}
    if scaling.classes is not None:
        return {**sizes, **_contents(volumes)}
    bright = [float(np.percentile(volume.input[::_LATTICE, ::_LATTICE, ::_LATTICE], 99)) for volume in volumes]
    histograms = [
        intensity_histogram(volume.input, volume.mask, scaling.fit(volume.input, volume.mask))
        for volume in _chosen(volumes)
    ]
    known = describe_histograms(histograms)
    return {
        **sizes,
        "intensity_p99": [round(min(bright), 1), round(max(bright), 1)],
        **({} if known is None else {"histogram": known}),
        **_contents(volumes),
    }


def _contents(volumes: Sequence[Volume]) -> dict[str, list[float]]:
    """Lowest and highest share of bone and air, and volume, of the training bodies; shares on a lattice of voxels."""
    found = []
    for volume in volumes:
        step = max(1, round((float(np.prod(volume.shape)) / _SAMPLE) ** (1 / 3)))
        lattice = (slice(None, None, step),) * 3
        counted = np.count_nonzero(volume.mask[lattice])
        if counted:
            body_ml = np.count_nonzero(volume.mask) * float(np.prod(volume.spacing)) / 1000
            found.append(body_content(volume.ct[lattice], volume.mask[lattice], body_ml / counted))
    return {
        name: [round(function(content[name] for content in found), 5) for function in (min, max)]
        for name in CONTENTS
        if found
    }


def _chosen(volumes: Sequence[Volume]) -> list[Volume]:
    """At most `CASES` volumes, evenly chosen."""
    if len(volumes) <= CASES:
        return list(volumes)
    return [volumes[number] for number in np.linspace(0, len(volumes) - 1, CASES).round().astype(int)]


def _ranges(values: np.ndarray) -> list[list[float]]:
    return [[round(float(column.min()), 3), round(float(column.max()), 3)] for column in values.T]
