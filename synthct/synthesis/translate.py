"""One volume translated by a model, on exactly its own grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
import torch

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis.card import PLANES
from synthct.synthesis.device import choose_device
from synthct.synthesis.input_checks import check_length, check_voxels, warn_of_ct
from synthct.synthesis.likeness.watch import Watch
from synthct.synthesis.model_file import Model
from synthct.synthesis.model_grid import model_grid, sampled_back
from synthct.synthesis.predictor import Predictor
from synthct.synthesis.progress import SliceProgress
from synthct.synthesis.slicewise import translate_array
from synthct.synthesis.volumewise import translate_volume
from synthct.volumes.bias import correct_bias
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import Grid, axial_view, grid_of, image_from_array, resample_onto, same_grid
from synthct.volumes.hu import AIR_HU
from synthct.volumes.label_numbers import OUTSIDE_BODY, body_of_labels, label_beyond, require_labels
from synthct.volumes.scaling import Scaling


def translate(
    image: sitk.Image,
    model: Model,
    planes: Sequence[str] = ("axial",),
    mask: sitk.Image | str | None = None,
    device: str | torch.device = "auto",
    batch: int | None = None,
    events: Events = SILENT,
    name: str = "The input",
    watch: Watch | None = None,
    region: sitk.Image | None = None,
) -> sitk.Image:
    """Translate a volume slice by slice, and average over planes where several are given; or in 3D, as the model is.

    A label map is never mixed: it is brought onto the model's grid by nearest neighbour, and where it says "outside the
    body" the result is air.

    Slices larger than the model's size are cut into overlapping tiles. Memory grows with the volume by the result
    (int16) alone; the device holds one batch of slices. What a 3D model holds: `synthct.synthesis.volumewise`.

    Parameters
    ----------
    image
        3D scalar image of any size, spacing and orientation.
    model
        As from `synthct.synthesis.model_file.load_model`.
    planes
        axial, coronal, sagittal; several are averaged. A 3D model has axial alone.
    mask
        Outside it the result is air. ``"auto"``: the body found in the input. None: nothing is set to air.
    device
        See `synthct.synthesis.device.choose_device`.
    batch
        Slices (3D: windows) at once; None: chosen by device. It changes the speed only.
    events
        Hears progress in slices, and warnings.
    name
        What errors and warnings call the input.
    watch
        Entered, and judges whether the input is like the training data; None: nobody asks.
    region
        Mask on the grid of ``image``: only where it is not 0 is the result wanted, and only there is it right.

    Returns
    -------
    SimpleITK.Image
        int16 HU on exactly the grid of ``image``, within the model's ``hu_range``.

    Raises
    ------
    UserError
        A constant or non-finite volume, a label that is no class of the model, an unknown plane or device, a mask that
        covers nothing, too little memory.
    """
    planes = _checked_planes(planes, model, events)
    if model.card.get("classes"):
        raise UserError(
            f"The model {model.card['name']} gives no HU.",
            f"It finds classes of a {model.card['input']}: {', '.join(model.card['classes'])}.",
            "Choose a model that translates; this one serves as `feature_model` of a training."
            if model.card["task"] == "ct-to-tissues"
            else "Choose a model that translates; this one serves as --features of `synthct distribution`.",
        )
    predictor = Predictor(model, choose_device(device), batch, events)
    grid = grid_of(image)
    scaling = model.input_scaling
    fitted = scaling.percentiles is not None and scaling.low is None
    corrected = bool(model.card.get("bias_correction"))
    lowest = check_input(image, model, name, events)
    labels = scaling.classes is not None
    if labels and mask is None and (sitk.GetArrayViewFromImage(image) == OUTSIDE_BODY).any():
        mask = "auto"
    body = find_body(image, mask, model, name, events) if mask is not None or fitted or corrected else None
    if corrected:
        image = correct_bias(image, body)
    work = model_grid(grid, model.card.get("spacing"))
    inside = body
    if work is not grid:
        image = resample_onto(image, work, "nearest" if labels else "linear", outside=lowest)
        inside = None if body is None else resample_onto(body, work, "nearest", 0)
        region = None if region is None else _region_on(region, work)
    if watch is not None:
        watch.look(image, inside, planes, predictor.device)
    wanted = inside if mask is not None and work is grid else None
    if region is not None:
        wanted = region if wanted is None else sitk.Mask(region, wanted)
    hu = _translated(image, inside, planes, model, scaling, predictor, lowest, wanted, events, watch)
    del image, inside
    if work is not grid:
        hu = sampled_back(hu, work, grid)
    if mask is not None and body is not None:
        for plane, covered in zip(hu, sitk.GetArrayViewFromImage(body), strict=True):
            plane[covered == 0] = _air(model)
    return image_from_array(hu, grid)


def _translated(
    image: sitk.Image,
    inside: sitk.Image | None,
    planes: Sequence[str],
    model: Model,
    scaling: Scaling,
    predictor: Predictor,
    lowest: float,
    wanted: sitk.Image | None,
    events: Events,
    watch: Watch | None,
) -> np.ndarray:
    """HU of an image on the model's grid, int16, shape (z, y, x) of the image."""
    voxels = axial_view(sitk.GetArrayViewFromImage(image), image)
    covered = None if inside is None else axial_view(sitk.GetArrayViewFromImage(inside), image)
    progress = SliceProgress(events, sum(voxels.shape[PLANES.index(plane)] for plane in planes))
    hu = np.full(image.GetSize()[::-1], _air(model), np.int16)
    target, fitted = axial_view(hu, image), scaling.fit(voxels, covered)
    needed = None if wanted is None else axial_view(sitk.GetArrayViewFromImage(wanted), image)
    if len(model.card["size"]) == 3:
        translate_volume(voxels, target, model, fitted, predictor, progress, lowest, needed)
    else:
        begin = None if watch is None else watch.begin_block
        translate_array(voxels, target, planes, model, fitted, predictor, progress, lowest, needed, begin)
    return hu


def _region_on(region: sitk.Image, work: Grid) -> sitk.Image:
    """Return a mask on the model's grid that holds every voxel from which one of ``region`` is sampled back."""
    soft = resample_onto(sitk.Cast(region != 0, sitk.sitkFloat32), work, "linear", 0)
    near: sitk.Image = sitk.BinaryDilate(soft > 0, [2, 2, 2])
    return near


def _checked_planes(planes: Sequence[str], model: Model, events: Events) -> list[str]:
    chosen = list(dict.fromkeys([planes] if isinstance(planes, str) else planes))
    for plane in chosen:
        if plane not in PLANES:
            raise UserError(f"There is no plane {plane}.", f"Known: {', '.join(PLANES)}.", "Correct the option planes.")
    if not chosen:
        raise UserError("No plane was chosen.", todo=f"Choose one or more of {', '.join(PLANES)}.")
    trained = model.card.get("planes") or ["axial"]
    if len(model.card["size"]) == 3 and chosen != ["axial"]:
        raise UserError(
            f"The model {model.card['name']} cannot be applied to {' and '.join(chosen)} slices.",
            "It is a 3D one and sees all planes at once.",
            "Leave the option planes out, or set it to axial.",
        )
    new = [plane for plane in chosen if plane not in trained]
    if new:
        events.warning(
            f"The model was not trained on {' and '.join(new)} slices.",
            f"It was trained on {' and '.join(trained)} ones.",
            "Expect a worse result in these planes.",
        )
    return chosen


def check_input(image: sitk.Image, model: Model, name: str, events: Events) -> float:
    """Refuse or warn of the input; return what lies around it: its lowest value, or the label beyond a label map."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f"{name} is not a 3D image with one value per voxel.", todo="Choose another image.")
    check_length(image.GetSize(), image.GetSpacing(), name)
    view = sitk.GetArrayViewFromImage(image)
    lowest = check_voxels(view, name)
    classes = model.input_scaling.classes
    if classes is not None:
        require_labels(view, classes, name)
        return float(label_beyond(classes))
    warn_of_ct(view, model.card, name, events)
    return lowest


def find_body(
    image: sitk.Image, mask: sitk.Image | str | None, model: Model, name: str, events: Events
) -> sitk.Image | None:
    """The mask that was given, on the grid of ``image``, or the body found in it."""
    if isinstance(mask, sitk.Image):
        mask = mask if same_grid(mask, image) else resample_onto(mask, image, "nearest", 0)
        if not sitk.GetArrayViewFromImage(mask).any():
            raise UserError(
                f"The mask covers no voxel of {name}.", "Everything would be air.", "Give the mask of this image."
            )
        return mask
    if mask not in (None, "auto"):
        raise UserError(f"The mask cannot be {mask!r}.", todo="Give an image, auto or nothing.")
    if model.input_scaling.classes is not None:
        return body_of_labels(image)
    modality = "ct" if str(model.card.get("input", "MR")).upper() == "CT" else "mr"
    try:
        return body_mask(image, modality)
    except UserError as error:
        if mask == "auto":
            raise
        events.warning(f"No body was found in {name}.", str(error), "Its intensities are scaled over the whole image.")
        return None


def _air(model: Model) -> int:
    """HU of air, or the model's lowest where that is higher."""
    return max(AIR_HU, math.ceil(model.card["hu_range"][0]))
