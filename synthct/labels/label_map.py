"""A CT, or a map of other labels, as a label map of tissue classes and nodules (row B3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.airways import find_airways
from synthct.labels.classes import ClassTable, TissueClass
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import array_of, image_from_array, require_same_grid

_LUNGS_ML = 500
"""Less air than this in a body is bowel gas, or of sinuses."""


def label_ct(
    ct: sitk.Image,
    table: ClassTable,
    nodules: sitk.Image | None = None,
    body: sitk.Image | None = None,
    events: Events = SILENT,
    names: tuple[str, str, str] = ("The CT", "the nodule mask", "the body mask"),
) -> sitk.Image:
    """Label every voxel of a CT by its HU, its windpipe, what lies outside the body, and nodules over all.

    Parameters
    ----------
    ct
        3D CT in HU; pre-processed, so that it holds whole numbers (`synthct.labels.preprocessing`).
    table
        The classes.
    nodules
        0, and 1 or one number per nodule, on the grid of ``ct``.
    body
        Not 0 inside, on the grid of ``ct``; None: found in the CT, if the table has a class for what is outside or
        for airways.
    events
        Hears a warning where nodules lie outside the body, and where lungs have no windpipe.
    names
        What CT and masks are called in messages.

    Returns
    -------
    SimpleITK.Image
        uint8 indices of the classes, on the grid of ``ct``.

    Raises
    ------
    UserError
        Masks on other grids or with values that are no labels, nodules for a table without a class for them, no body.
    """
    labels = table.label_hu(array_of(ct))
    airways = table.of_source("airways")
    if body is None and (airways is not None or table.of_source("outside") is not None):
        body = body_mask(ct, "ct")
    if airways is not None and body is not None:
        require_same_grid(ct, body, (names[0], names[2]))
        rest = labels == table.rest.index
        labels[rest & (array_of(find_airways(ct, body)) != 0)] = airways.index
        _require_windpipe(labels, table, body, events, names[0])
    return _with_masks(labels, ct, table, nodules, body, events, names)


def label_segmentation(
    segmentation: sitk.Image,
    mapping: Mapping[int, str],
    table: ClassTable,
    nodules: sitk.Image | None = None,
    body: sitk.Image | None = None,
    events: Events = SILENT,
    names: tuple[str, str, str] = ("The segmentation", "the nodule mask", "the body mask"),
) -> sitk.Image:
    """Make a label map from any other labels: each value becomes the class that the mapping names.

    Parameters
    ----------
    segmentation
        3D, whole numbers.
    mapping
        Value → name of a class of ``table``; 0 is the class for the rest unless it says otherwise.
    table, nodules, body, events, names
        As for `label_ct`; without a body nothing but the mapping says what is outside.

    Raises
    ------
    UserError
        Naming the values that the mapping does not know, a class that the table does not know, and as `label_ct`.
    """
    array = _whole(segmentation, names[0])
    classes = {0: table.rest} | {value: table.named(name, f"for {value}") for value, name in mapping.items()}
    present, where = np.unique(array, return_inverse=True)
    unknown = [int(value) for value in present if int(value) not in classes]
    if unknown:
        raise UserError(
            f"{names[0]} holds {_listed(unknown)}, of which the mapping says nothing.",
            f"It knows {_listed(sorted(classes))}.",
            "Add a class for each.",
        )
    indices = np.array([classes[int(value)].index for value in present], np.uint8)
    labels = indices[where.reshape(array.shape)]
    return _with_masks(labels, segmentation, table, nodules, body, events, names)


def require_classes(labels: sitk.Image, table: ClassTable, name: str) -> np.ndarray:
    """Return a label map's voxels as uint8, (z, y, x), or refuse what is no label map of this table.

    Raises
    ------
    UserError
        Naming ``name`` and the values that are no class.
    """
    array = _whole(labels, name)
    known = {entry.index for entry in table.classes}
    unknown = [int(value) for value in np.unique(array) if int(value) not in known]
    if unknown:
        classes = ", ".join(f"{entry.index} {entry.name}" for entry in table.classes)
        raise UserError(
            f"{name} holds {_listed(unknown)}, which the table {table.name} does not know.",
            f"Its classes: {classes}.",
            "Give the table that the label map was made with, or make it anew.",
        )
    return array.astype(np.uint8)


def count_classes(labels: sitk.Image, table: ClassTable) -> list[dict[str, object]]:
    """Return name, index, voxels and millilitres of every class, in the table's order."""
    counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel(), minlength=256)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    return [
        {
            "name": entry.name,
            "index": entry.index,
            "voxels": int(counts[entry.index]),
            "ml": round(float(counts[entry.index]) * voxel_ml, 3),
        }
        for entry in table.classes
    ]


def _with_masks(
    labels: np.ndarray,
    reference: sitk.Image,
    table: ClassTable,
    nodules: sitk.Image | None,
    body: sitk.Image | None,
    events: Events,
    names: tuple[str, str, str],
) -> sitk.Image:
    """Put what is outside the body, and then the nodules, over the labels."""
    planted = None
    if nodules is not None:
        require_same_grid(reference, nodules, (names[0], names[1]))
        planted = _whole(nodules, names[1]) > 0
    if body is not None:
        require_same_grid(reference, body, (names[0], names[2]))
    outside = table.of_source("outside")
    if outside is not None and body is not None:
        beyond = array_of(body) == 0
        labels[beyond] = outside.index
        if planted is not None and (lost := int(np.count_nonzero(beyond & planted))):
            events.warning(
                f"{lost} voxels of {names[1]} lie outside the body.", "They stay nodule.", "Check both masks."
            )
    if planted is not None:
        labels[planted] = _nodule_class(table).index
    return image_from_array(labels, reference)


def _require_windpipe(labels: np.ndarray, table: ClassTable, body: sitk.Image, events: Events, name: str) -> None:
    """Warn where there is as much air as in lungs, and no windpipe."""
    airways = table.of_source("airways")
    if airways is None or (labels == airways.index).any():
        return
    air = (
        np.count_nonzero((labels == table.rest.index) & (array_of(body) != 0))
        * float(np.prod(body.GetSpacing()))
        / 1000
    )
    if air > _LUNGS_ML:
        events.warning(
            f"No windpipe was found in {name}.",
            f"It holds {air:.0f} ml of {table.rest.name}, and no tube near the midline leads down into it for 15 mm.",
            f"If it shows one, give it the class {airways.name} ({airways.index}) by hand before nodules are planted.",
        )


def _nodule_class(table: ClassTable) -> TissueClass:
    entry = table.of_source("nodules")
    if entry is None:
        raise UserError(f"The table {table.name} has no class for nodules.", "One with `from: nodules` is needed.")
    return entry


def _whole(image: sitk.Image, name: str) -> np.ndarray:
    """Return the voxels, or refuse them where they are no labels."""
    array = array_of(image)
    odd = array[array != np.rint(array)] if array.dtype.kind == "f" else array[:0]
    if odd.size or (array.size and array.min() < 0):
        value = odd.flat[0] if odd.size else array.min()
        raise UserError(
            f"{name} holds the value {value:g}.", "Labels are whole numbers from 0 on.", "Give a mask, not an image."
        )
    return array


def _listed(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:10]))
    return f"{shown} and {len(values) - 10} more" if len(values) > 10 else shown
