"""An image and the mask of what is outlined in it: what networks that are fed noise learn from (row C2)."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from synthct.data.cohort import Case
from synthct.errors import UserError
from synthct.recipe import Preparation
from synthct.volumes.couch import remove_couch
from synthct.volumes.geometry import (
    array_of,
    grid_of,
    grid_with_spacing,
    image_from_array,
    require_same_grid,
    resample_onto,
    to_axial,
)
from synthct.volumes.hu import AIR_HU
from synthct.volumes.label_numbers import listed_labels, unknown_labels
from synthct.volumes.read import read_image

_HIGHEST = 256


def read_pair(case: Case) -> tuple[sitk.Image, sitk.Image]:
    """Return a case's image and its mask (uint8; without one, 0 everywhere) on one grid.

    Raises
    ------
    UserError
        A file cannot be read, the image is constant, or the mask lies on another grid or holds other values than whole
        numbers from 0 to 255; the message names the case.
    """
    image = read_image(case.ct, case.ct_series, single_slice=True)
    values = sitk.GetArrayViewFromImage(image)
    if values.min() == values.max():
        raise UserError(
            f"The image of case {case.id} is constant ({values.min():g} everywhere).",
            f"Nothing can be learned from {case.ct.name}.",
            "Export it again, or take the case out of the cohort.",
        )
    if case.mask is None:
        return image, image_from_array(np.zeros(values.shape, np.uint8), image)
    mask = read_image(case.mask, single_slice=True)
    require_same_grid(mask, image, (f"The mask of case {case.id}", f"its image {case.ct.name}"))
    outlined = sitk.GetArrayViewFromImage(mask)
    unknown = unknown_labels(outlined, _HIGHEST)
    if unknown:
        raise UserError(
            f"The mask of case {case.id} holds {listed_labels(unknown)}.",
            "A mask holds whole numbers from 0 to 255, 0 where nothing is outlined.",
            f"Correct {case.mask.name}.",
        )
    return image, image_from_array(outlined.astype(np.uint8), image)


def prepare_pair(case: Case, preparation: Preparation) -> tuple[sitk.Image, sitk.Image]:
    """Return image (int16 HU, −1024 and above) and mask, without couch, cropped and resampled as asked.

    The image is resampled linearly, the mask by nearest neighbour.

    Raises
    ------
    UserError
        As `read_pair`, or a registration or bias correction is asked for.
    """
    if preparation.registration != "none" or preparation.bias_correction:
        raise UserError(
            "Images for a training from noise are neither registered nor corrected.",
            "There is no MR.",
            "Set `preparation.registration` to none and `preparation.bias_correction` to false.",
        )
    image, mask = read_pair(case)
    if preparation.remove_couch:
        image = remove_couch(image)
    if preparation.crop is not None:
        image, mask = _cropped(image, mask, preparation.crop)
    grid = grid_of(image) if preparation.spacing is None else grid_with_spacing(image, preparation.spacing)
    hu = array_of(resample_onto(image, grid, "linear", AIR_HU))
    hu = np.clip(np.rint(hu), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)
    return image_from_array(hu, grid), resample_onto(mask, grid, "nearest", 0)


def _cropped(image: sitk.Image, mask: sitk.Image, crop: tuple[float, float, float]) -> tuple[sitk.Image, sitk.Image]:
    """Return both axial, cut to ``crop`` mm (x, y, z) around the mask's box or the image's middle."""
    image, mask = to_axial(image), to_axial(mask)
    outlined = np.nonzero(sitk.GetArrayViewFromImage(mask))[::-1]
    starts, sizes = [], []
    for axis, (length, spacing, wanted) in enumerate(zip(image.GetSize(), image.GetSpacing(), crop, strict=True)):
        size = min(length, max(1, round(wanted / spacing)))
        found = outlined[axis]
        middle = (int(found.min()) + int(found.max()) + 1) / 2 if len(found) else length / 2
        starts.append(int(np.clip(round(middle - size / 2), 0, length - size)))
        sizes.append(size)
    return sitk.RegionOfInterest(image, sizes, starts), sitk.RegionOfInterest(mask, sizes, starts)
