"""Volumes that were prepared for training translated as they are: nothing of the card's preparation is done again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.events import SILENT, Events
from synthct.synthesis.model_file import Model
from synthct.synthesis.translate import translate


def translate_prepared(
    model: Model,
    mr: NDArray[Any],
    spacing: Sequence[float],
    body: NDArray[Any] | None = None,
    device: str = "auto",
    events: Events = SILENT,
) -> NDArray[np.int16]:
    """Return the synthetic CT (HU) of a prepared MR in the first of the card's planes; arrays are z, y, x.

    Parameters
    ----------
    spacing
        x, y, z in mm.
    body
        1 inside; air is put outside. None: no mask.
    """
    card = {**model.card, "bias_correction": False, "spacing": None}
    mask = None if body is None else axial_image(body, spacing)
    image = axial_image(mr, spacing)
    result = translate(image, Model(model.network, card), (card["planes"][0],), mask, device, events=events)
    return sitk.GetArrayFromImage(result)


def axial_image(array: NDArray[Any], spacing: Sequence[float]) -> sitk.Image:
    """Return an array (z, y, x, towards S, P, L) as an image with ``spacing`` (x, y, z in mm) at the origin."""
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing(list(spacing))
    return image
