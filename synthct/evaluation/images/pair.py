"""A reference CT and a synthetic CT brought onto one grid, with what counts and what the reader must know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.errors import UserError
from synthct.volumes.geometry import Grid, array_of, grid_of, require_same_grid, resample_onto, same_grid
from synthct.volumes.hu import AIR_HU

WHOLE, MASKED = "whole image, unmasked", "inside the mask"
_COVERED = 0.99
"""A synthetic CT that covers less of what is scored is said to be cut."""


@dataclass(frozen=True)
class Pair:
    """Two CTs in HU, z, y, x, on the grid of the reference."""

    reference: NDArray[Any]
    synthetic: NDArray[Any]
    inside: NDArray[np.bool_] | None
    """The voxels that count; None: all."""
    grid: Grid
    notes: list[str] = field(default_factory=list)
    region: str = WHOLE
    """In words, which voxels count."""


def make_pair(
    reference: sitk.Image,
    synthetic: sitk.Image,
    mask: sitk.Image | None = None,
    names: tuple[str, str, str] = ("reference", "synthetic", "mask"),
    other_grid: Literal["resample", "refuse"] = "resample",
    no_numbers: Literal["refuse", "leave-out"] = "refuse",
) -> Pair:
    """Bring a synthetic CT and a mask onto the reference's grid.

    Parameters
    ----------
    mask
        Voxels other than 0 count; None: the whole image.
    names
        How to name the three in messages (paths).
    other_grid
        Where a grid differs: resample onto the reference's (linear, the mask nearest) with a note, or refuse.
    no_numbers
        Voxels that are NaN or infinite in either CT: refuse, or leave them out with a note of how many.

    Raises
    ------
    UserError
        When the images do not overlap, a grid or value is refused, or no voxel counts.
    """
    notes: list[str] = []
    covered = None
    if other_grid == "refuse":
        require_same_grid(reference, synthetic, names[:2])
        if mask is not None:
            require_same_grid(reference, mask, (names[0], names[2]))
    bad = [_no_numbers(image) for image in (reference, synthetic)]
    for image_bad, name in zip(bad, names, strict=False):
        if image_bad.any() and no_numbers == "refuse":
            raise UserError(
                f"{name} holds {np.count_nonzero(image_bad)} NaN or infinite values.",
                todo="Repair the image, or leave such voxels out.",
            )
    moved = synthetic if not bad[1].any() else _replaced(synthetic, bad[1])
    if not same_grid(reference, synthetic):
        covered = _covered(reference, synthetic, names)
        spoilt = resample_onto(_as_image(bad[1], synthetic), reference, "linear", 0) if bad[1].any() else None
        bad[1] = array_of(spoilt) > 0 if spoilt is not None else np.zeros((), bool)
        moved = resample_onto(moved, reference, interpolation="linear", outside=AIR_HU)
        notes.append("The synthetic CT was on another grid and was resampled onto the reference's (linear).")
    if mask is not None and not same_grid(reference, mask):
        mask = resample_onto(mask, reference, interpolation="nearest", outside=0)
        notes.append("The mask was on another grid and was resampled onto the reference's (nearest).")
    inside = None if mask is None else _inside(mask, names, notes)
    region = WHOLE if inside is None else MASKED
    arrays = [array_of(reference), array_of(moved)]
    left_out = bad[0] | bad[1]
    if left_out.any():
        whole = np.ones(left_out.shape, bool) if inside is None else inside
        notes.append(f"{np.count_nonzero(left_out & whole)} voxels are NaN or infinite and are left out.")
        inside, region = whole & ~left_out, f"{region}, without voxels that are no number"
        for array in arrays:
            array[left_out] = AIR_HU
        if not inside.any():
            raise UserError(f"No voxel of {names[0]} that counts is a number in both.", todo="Repair the images.")
    if covered is not None:
        share = float(np.mean(covered if inside is None else covered[inside]))
        if share < _COVERED:
            notes.append(f"The synthetic CT covers {share:.0%} of what is scored; the rest counts as air in it.")
    return Pair(arrays[0], arrays[1], inside, grid_of(reference), notes, region)


def _inside(mask: sitk.Image, names: tuple[str, str, str], notes: list[str]) -> NDArray[np.bool_]:
    values = array_of(mask)
    inside: NDArray[np.bool_] = values != 0
    if not inside.any():
        raise UserError(
            f"{names[2]} marks no voxel of {names[0]}.",
            "There is nothing to score.",
            "Give a mask that covers the body.",
        )
    held = values[inside]
    if held.min() != held.max():
        notes.append(f"The mask is not binary (values up to {held.max():g}): every voxel other than 0 counts.")
    return inside


def _no_numbers(image: sitk.Image) -> NDArray[np.bool_]:
    view = sitk.GetArrayViewFromImage(image)
    return ~np.isfinite(view) if view.dtype.kind == "f" else np.zeros((), bool)


def _replaced(image: sitk.Image, bad: NDArray[np.bool_]) -> sitk.Image:
    array = array_of(image)
    array[bad] = AIR_HU
    return _as_image(array, image)


def _as_image(array: NDArray[Any], place: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.CopyInformation(place)
    return image


def _covered(reference: sitk.Image, synthetic: sitk.Image, names: tuple[str, str, str]) -> NDArray[np.bool_]:
    """Where the synthetic CT reaches; refused where that is nowhere: resampled, it would be scored as air."""
    everywhere = sitk.Image(synthetic.GetSize(), sitk.sitkUInt8) + 1
    everywhere.CopyInformation(synthetic)
    covered: NDArray[np.bool_] = array_of(resample_onto(everywhere, reference, "nearest", 0)) != 0
    if not covered.any():
        raise UserError(
            f"{names[1]} does not overlap {names[0]}.",
            "They lie in different places in space.",
            "Give images of one patient in one frame of reference, or register them first.",
        )
    return covered
