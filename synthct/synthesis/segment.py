"""A trained segmentation network, or an ensemble of them, applied to a CT of any size and grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.synthesis.model_file import Model, load_model
from synthct.volumes.geometry import (
    array_of,
    back_from_axial,
    image_from_array,
    resample_onto,
    resample_to_spacing,
    to_axial,
)
from synthct.volumes.hu import AIR_HU
from synthct.volumes.scaling import make_scaling

SEGMENTATION_TASK = "ct-to-lesions"
"""The task in a card of a model that finds lesions in CTs."""
_OVERLAP = 0.5
_WINDOWS = 4
"""Windows at once; little more is gained by more."""


def load_segmenter(path: Path | str, device: torch.device | str = "cpu") -> Model:
    """Load a model that finds lesions.

    Raises
    ------
    UserError
        A model for something else, or as for `load_model`.
    """
    model = load_model(path, device)
    if model.card.get("task") != SEGMENTATION_TASK:
        raise UserError(
            f"The model {model.card['name']} finds no lesions.",
            f"Its task is {model.card.get('task')}.",
            "Give a model that `synthct experiment` has trained.",
        )
    return model


def segment_image(models: Sequence[Model], ct: sitk.Image, device: torch.device) -> sitk.Image:
    """Return the mask of what the mean probability of all ``models`` calls a lesion, uint8, on the grid of ``ct``."""
    total = np.zeros(ct.GetSize()[::-1], np.float32)
    for model in models:
        total += probability_image(model, ct, device)
    return image_from_array((total >= 0.5 * len(models)).astype(np.uint8), ct)


def probability_image(model: Model, ct: sitk.Image, device: torch.device) -> np.ndarray:
    """Return each voxel's probability of a lesion, float32, shape (z, y, x) on the grid of ``ct``."""
    axial, scaled = as_seen(model, ct)
    found = lesion_probability(model.network, scaled, model.card["size"], device)
    image = resample_onto(image_from_array(found, axial), to_axial(ct))
    return array_of(back_from_axial(image, ct))


def as_seen(model: Model, ct: sitk.Image) -> tuple[sitk.Image, np.ndarray]:
    """Return the CT turned to axial with the model's spacing, and its voxels scaled, float32, shape (z, y, x)."""
    axial = to_axial(ct)
    if model.card["spacing"] is not None:
        axial = resample_to_spacing(axial, model.card["spacing"], outside=AIR_HU)
    return axial, model.input_scaling.apply(array_of(axial))


def lesion_probability(
    network: nn.Module, scaled: np.ndarray, size: Sequence[int], device: torch.device | str
) -> np.ndarray:
    """Return the probability of class 1 in each voxel, by overlapping windows with Gaussian weights.

    Parameters
    ----------
    network
        Takes (N, 1, slices, rows, columns), on ``device``; gives scores of two classes.
    scaled
        Float32, (z, y, x).
    size
        Slices, rows, columns of a window; an image that is smaller is padded with air.
    """
    from monai.inferers import sliding_window_inference

    kind = next(network.parameters()).dtype

    def predictor(windows: Tensor) -> Tensor:
        return torch.softmax(network(windows.to(kind)).float(), dim=1)[:, 1:]

    with torch.inference_mode():
        found: Any = sliding_window_inference(
            torch.from_numpy(np.ascontiguousarray(scaled))[None, None],
            tuple(size),
            _WINDOWS,
            predictor,
            overlap=_OVERLAP,
            mode="gaussian",
            padding_mode="constant",
            cval=-1.0,
            sw_device=device,
            device="cpu",
        )
    return np.asarray(found[0, 0].numpy(), dtype=np.float32)


def segmentation_card(
    name: str,
    network: dict[str, Any],
    size: Sequence[int],
    spacing: Sequence[float] | None,
    intensity: dict[str, Any],
    classes: Sequence[str],
    training: dict[str, Any],
) -> dict[str, Any]:
    """Return the card of a model that finds lesions; see `synthct.synthesis.card`.

    Parameters
    ----------
    intensity
        Entry of a scaling with a fixed window.
    training
        What it was trained on.
    """
    scaling = make_scaling(intensity)
    low, high = scaling.range
    return {
        "name": name,
        "task": SEGMENTATION_TASK,
        "input": "CT",
        "target": "lesions",
        "network": network,
        "in_channels": 1,
        "out_channels": len(classes),
        "classes": list(classes),
        "input_scaling": scaling.to_dict(),
        "target_scaling": scaling.to_dict(),
        "planes": ["axial"],
        "neighbours": 0,
        "size": list(size),
        "spacing": None if spacing is None else list(spacing),
        "hu_range": [round(low), round(high)],
        "training": training,
        "intended_use": "Research only; not a medical device, not for diagnosis or treatment.",
    }
