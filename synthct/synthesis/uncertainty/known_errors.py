"""What a model gets wrong where the CT is known, beside the standard deviation that it claimed: for calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.data.cache import Volume
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis.model_file import Model
from synthct.synthesis.prepared import axial_image
from synthct.synthesis.uncertainty.estimate import Uncertainty, translate_with_uncertainty
from synthct.synthesis.uncertainty.passes import PassEvents

VOXELS_PER_CASE = 2_000_000
"""More than these are drawn from at random: a factor needs no more."""

Slabs = Sequence[tuple[int, int]]


def known_errors(
    models: Sequence[Model],
    uncertainty: Uncertainty,
    cases: Sequence[tuple[Volume, Slabs | None]],
    planes: Sequence[str] | None = None,
    corrected: bool = False,
    device: str = "auto",
    batch: int | None = None,
    events: Events = SILENT,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Translate volumes whose CT is known and return errors and standard deviations, HU, one entry per body voxel.

    Parameters
    ----------
    models, uncertainty, planes, device, batch
        As for `synthct.synthesis.uncertainty.estimate.translate_with_uncertainty`.
    cases
        Prepared volumes, and the axial slices [start, stop) that count; None: all.
    corrected
        Whether their bias field was corrected in the preparation; it is not done again then.
    events
        Hears progress over all cases.

    Raises
    ------
    UserError
        No body in any of the slices, or as `translate_with_uncertainty` does.
    """
    if corrected:
        models = [replace(model, card={**model.card, "bias_correction": False}) for model in models]
    errors, deviations = [], []
    heard: set[str] = set()
    for number, (volume, slabs) in enumerate(cases):
        counts = _counted(volume, slabs)
        if not counts.any():
            continue
        spread = translate_with_uncertainty(
            axial_image(volume.input, volume.spacing),
            models,
            uncertainty,
            planes,
            axial_image(volume.mask, volume.spacing),
            device,
            batch,
            PassEvents(events, number, len(cases), f"case {number + 1} of {len(cases)}: {volume.id}", heard),
            f"The MR of {volume.id}",
        )
        places = np.flatnonzero(counts)
        if places.size > VOXELS_PER_CASE:
            places = np.sort(np.random.default_rng(number).choice(places, VOXELS_PER_CASE, replace=False))
        synthetic, deviation = (sitk.GetArrayFromImage(image).ravel() for image in (spread.mean, spread.deviation))
        errors.append(synthetic[places].astype(np.float32) - volume.ct.ravel()[places])
        deviations.append(deviation[places])
    if not errors:
        raise UserError("No case shows the body in the slices that count.", "There is nothing to compare.")
    return np.concatenate(errors), np.concatenate(deviations)


def _counted(volume: Volume, slabs: Slabs | None) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.asarray(volume.mask) > 0
    if slabs is None:
        return inside
    kept = np.zeros_like(inside)
    for start, stop in slabs:
        kept[start:stop] = inside[start:stop]
    return kept
