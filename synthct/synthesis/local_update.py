"""A label map was edited: only what the edit can influence is synthesised anew, and blended into the old CT."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy import ndimage

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis.card import PLANES
from synthct.synthesis.model_file import Model
from synthct.synthesis.model_grid import model_grid
from synthct.synthesis.translate import translate
from synthct.volumes.geometry import array_of, axial_order, grid_of, image_from_array, require_same_grid

REACH_MM = 24.0
"""How far from a changed voxel the CT may change: a nodule's surroundings; a U-Net's influence falls off within it."""
_WHOLE = 0.5
"""Up to this share of the reach the new CT stands unblended."""


def local_update(
    previous_labels: sitk.Image,
    labels: sitk.Image,
    previous_ct: sitk.Image,
    model: Model,
    planes: Sequence[str] = ("axial",),
    mask: sitk.Image | str | None = None,
    reach_mm: float = REACH_MM,
    device: str | torch.device = "auto",
    batch: int | None = None,
    events: Events = SILENT,
    name: str = "The label map",
) -> sitk.Image:
    """Return the CT of ``labels``, from that of ``previous_labels``.

    Slices, tiles and windows of which none lies within ``reach_mm`` of a changed voxel are not computed. Up to half of
    that distance the result is what `translate` makes of the whole of ``labels``, voxel by voxel; from there to
    ``reach_mm`` it passes linearly into ``previous_ct``; beyond, and in slices along which a slice-wise model cannot
    see the change, it is ``previous_ct`` bit for bit.

    Parameters
    ----------
    previous_labels, labels
        Before and after the edit, on one grid.
    previous_ct
        What the model made of ``previous_labels``, on the same grid; int16 HU.
    reach_mm
        More than 0.
    model, planes, mask, device, batch, events, name
        See `synthct.synthesis.translate.translate`.

    Raises
    ------
    UserError
        Different grids, a model that takes no label maps, or as `translate`.
    """
    if model.input_scaling.classes is None:
        raise UserError(
            f"The model {model.card['name']} takes no label maps.",
            f"It translates a {model.card['input']}, which is not edited class by class.",
            "Translate the whole volume.",
        )
    if not reach_mm > 0:
        raise UserError(f"The reach cannot be {reach_mm:g} mm.", todo="Give more than 0.")
    for image, what in ((previous_labels, "the label map before"), (previous_ct, "the CT before")):
        require_same_grid(labels, image, (name, what))
    share, corner = _shares(previous_labels, labels, reach_mm, _slices_seen(labels, model, planes))
    if share is None:
        return sitk.Image(previous_ct)
    box = tuple(slice(start, start + length) for start, length in zip(corner, share.shape, strict=True))
    needed = np.zeros(labels.GetSize()[::-1], np.uint8)
    needed[box] = share > 0
    region = image_from_array(needed, labels)
    made = translate(labels, model, planes, mask, device, batch, events, name, region=region)
    result = array_of(previous_ct)
    new = sitk.GetArrayViewFromImage(made)[box]
    blended = result[box] + share * (new.astype(np.float32) - result[box])
    result[box] = np.where(share > 0, np.rint(blended), result[box])
    return image_from_array(result, labels)


def _slices_seen(labels: sitk.Image, model: Model, planes: Sequence[str]) -> tuple[int, int] | None:
    """Return the array's axis across the slices, and how many slices aside of a change it is seen; None: no such limit.

    On a grid of the model's own a slice's label comes from, and its HU go to, up to two slices aside.
    """
    if len(model.card["size"]) == 3 or len(planes) != 1 or planes[0] not in PLANES:
        return None
    grid = grid_of(labels)
    order, _ = axial_order(grid)
    across = order[2 - PLANES.index(planes[0])]
    neighbours = int(model.card.get("neighbours", 0))
    work = model_grid(grid, model.card.get("spacing"))
    if work is not grid:
        neighbours = math.ceil((neighbours + 2) * work.spacing[across] / grid.spacing[across])
    return 2 - across, neighbours


def _shares(
    before: sitk.Image, after: sitk.Image, reach_mm: float, seen: tuple[int, int] | None
) -> tuple[NDArray[np.float32] | None, list[int]]:
    """Return the new CT's share, 0 to 1, in a box around the changes, and the box's corner (z, y, x)."""
    changed = sitk.GetArrayViewFromImage(before) != sitk.GetArrayViewFromImage(after)
    if not changed.any():
        return None, [0, 0, 0]
    spacing = after.GetSpacing()[::-1]
    first, last = [], []
    for axis in range(3):
        places = np.flatnonzero(changed.any(axis=tuple(other for other in range(3) if other != axis)))
        aside = math.ceil(reach_mm / spacing[axis])
        if seen is not None and seen[0] == axis:
            aside = min(aside, seen[1])
        first.append(max(0, int(places[0]) - aside))
        last.append(min(changed.shape[axis], int(places[-1]) + 1 + aside))
    part = changed[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    distance = ndimage.distance_transform_edt(~part, sampling=spacing)
    share = np.clip((1 - distance / reach_mm) / (1 - _WHOLE), 0, 1).astype(np.float32)
    return share, first
