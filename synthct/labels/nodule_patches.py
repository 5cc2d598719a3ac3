"""Patches around nodules, with masks and classes, as a cohort that a network is trained on from noise (row D1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.templates import nodule_labels
from synthct.volumes.geometry import Grid, array_of, image_from_array, resample_onto, to_axial
from synthct.volumes.hu import AIR_HU
from synthct.volumes.write import write_image

BENIGN, MALIGNANT = "benign", "malignant"
INDETERMINATE = 3.0
"""Malignancy, 1 to 5, that is neither: below it a nodule counts as benign, above it as malignant."""
_MOST = 512


@dataclass(frozen=True)
class NodulePatch:
    """One nodule in the middle of a patch.

    Attributes
    ----------
    name
        ``CASE-01``, by the nodule's number.
    image, mask
        int16 HU, and uint8 with 1 in this nodule; axial, of one grid.
    nodule_class
        `BENIGN`, `MALIGNANT`, or None where it is not known or neither.
    """

    name: str
    image: sitk.Image
    mask: sitk.Image
    nodule_class: str | None


def class_of(malignancy: float | None) -> str | None:
    """Return the class of a malignancy, 1 to 5; None for 3 and where it is not known."""
    if malignancy is None or malignancy == INDETERMINATE:
        return None
    return BENIGN if malignancy < INDETERMINATE else MALIGNANT


def cut_patches(
    ct: sitk.Image,
    nodules: sitk.Image,
    case: str,
    size: Sequence[int] = (56, 56),
    spacing: Sequence[float] | None = None,
    by: Literal["auto", "labels", "components"] = "auto",
    malignancy: Mapping[int, float | None] | None = None,
    names: tuple[str, str] = ("The CT", "the nodule mask"),
) -> list[NodulePatch]:
    """Cut a patch around every nodule of a mask; what lies beyond the CT is air.

    Parameters
    ----------
    ct, nodules, case, by, malignancy, names
        As for `synthct.labels.templates.cut_templates`.
    size
        Rows and columns of an axial slice through the nodule's centre of mass; or slices, rows and columns.
    spacing
        x, y, z in mm; None: the CT's own. The image is resampled linearly, the mask by nearest neighbour.

    Raises
    ------
    UserError
        A size that is none, different grids, values that are no labels, or an empty mask.
    """
    if len(size) not in (2, 3) or not all(2 <= side <= _MOST for side in size):
        raise UserError(
            f"A patch cannot have the size {', '.join(map(str, size))}.",
            f"Two numbers (rows, columns) or three (slices first), 2 to {_MOST} each.",
        )
    if spacing is not None and not (len(spacing) == 3 and all(0 < length < np.inf for length in spacing)):
        raise UserError(f"A patch cannot have the spacing {', '.join(map(str, spacing))} mm.", "Give x, y and z.")
    labels = nodule_labels(ct, nodules, by, malignancy, names)
    image, numbers = to_axial(ct), to_axial(image_from_array(labels.astype(np.int32), nodules))
    found = array_of(numbers)
    patches = []
    for label in np.unique(found[found > 0]).tolist():
        middle = np.rint(np.argwhere(found == label).mean(axis=0))[::-1]
        grid = _around(image, middle, size, tuple(spacing or image.GetSpacing()))
        hu = array_of(resample_onto(image, grid, "linear", AIR_HU))
        hu = np.clip(np.rint(hu), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)
        mask = (array_of(resample_onto(numbers, grid, "nearest", 0)) == label).astype(np.uint8)
        told = class_of((malignancy or {}).get(label))
        name = f"{case}-{label:02d}"
        patches.append(NodulePatch(name, image_from_array(hu, grid), image_from_array(mask, grid), told))
    return patches


def add_patches(
    folder: Path | str,
    patches: Sequence[NodulePatch],
    patient: str,
    overwrite: bool = False,
    events: Events = SILENT,
) -> list[str]:
    """Write patches into ``images`` and ``masks`` of ``folder``, list them in its ``cohort.json``, return their names.

    All patches of a patient stay in one part of any split; their class is the case's ``diagnosis``.

    Raises
    ------
    UserError
        A name that is taken (then nothing is added), or a folder that cannot be written.
    """
    from synthct.data.cohort import Case, Cohort, read_cohort, write_cohort

    folder = Path(folder).expanduser()
    manifest = folder / "cohort.json"
    before = read_cohort(manifest).cases if manifest.exists() else ()
    names = [patch.name for patch in patches]
    taken = [case.id for case in before if case.id in names]
    if taken and not overwrite:
        raise UserError(
            f"The cohort {manifest} has {', '.join(taken)} already.",
            "Nothing was added.",
            "Give the case another name (--case), or replace them (--overwrite).",
        )
    cases = []
    for number, patch in enumerate(patches):
        events.progress(number, len(patches), "patches", patch.name)
        files = [folder / kind / f"{patch.name}.nii.gz" for kind in ("images", "masks")]
        for file, image in zip(files, (patch.image, patch.mask), strict=True):
            write_image(image, file, overwrite=overwrite)
        cases.append(Case(patch.name, None, files[0], files[1], patient=patient, diagnosis=patch.nodule_class))
    kept = tuple(case for case in before if case.id not in names)
    write_cohort(Cohort((*kept, *cases), folder.resolve()), manifest, overwrite=True)
    return names


def _around(image: sitk.Image, middle: np.ndarray, size: Sequence[int], spacing: tuple[float, ...]) -> Grid:
    """Return the axial grid of a patch whose middle voxel lies at index ``middle`` (x, y, z) of an axial image."""
    sides = (size[-1], size[-2], size[0] if len(size) == 3 else 1)
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint(middle.tolist()))
    directions = np.array(image.GetDirection()).reshape(3, 3)
    offset = directions @ (np.array([side // 2 for side in sides]) * np.array(spacing))
    origin = (centre - offset).tolist()
    x, y, z = spacing
    return Grid(sides, (x, y, z), (origin[0], origin[1], origin[2]), image.GetDirection())
