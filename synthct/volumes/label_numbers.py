"""Label maps as a network's input: which numbers may stand in them, what lies beyond them, where the body is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import array_of, image_from_array
from synthct.volumes.hu import AIR_HU

OUTSIDE_BODY = 6
"""The class "outside the body" of our own recipes (row B3); tables without it have six classes, 0 to 5."""
MOST_CLASSES = 256
"""Label maps are kept as uint8."""
_TISSUE_HU = 40
_MOST_NAMED = 5


def label_beyond(classes: int) -> int:
    """Return the label that lies beyond a label map of so many classes: outside the body, or 0 (row B3, lung air)."""
    return OUTSIDE_BODY if classes > OUTSIDE_BODY else 0


def unknown_labels(voxels: np.ndarray, classes: int) -> list[float]:
    """Return the values that are none of 0 to ``classes`` − 1, each once, sorted; read slice by slice.

    Parameters
    ----------
    voxels
        Any three axes.
    """
    found: set[float] = set()
    known = np.arange(classes)
    for plane in voxels:
        if plane.dtype.kind in "ui" and plane.min() >= 0 and plane.max() < classes:
            continue
        found.update(float(value) for value in np.setdiff1d(plane, known))
    return sorted(found)


def require_labels(voxels: np.ndarray, classes: int, name: str) -> None:
    """Refuse a label map with values that are no class.

    Raises
    ------
    UserError
        Naming the values and what ``name`` calls the label map.
    """
    unknown = unknown_labels(voxels, classes)
    if unknown:
        raise UserError(
            f"{name} holds {listed_labels(unknown)}, which no class of the model has.",
            f"Its classes have the numbers 0 to {classes - 1}.",
            "Map them to known classes (`synthct labels`), or choose a model with more classes.",
        )


def listed_labels(values: Sequence[float]) -> str:
    """Return ``the value 9`` or ``the values 9, 12``, the first five."""
    named = ", ".join(f"{value:g}" for value in values[:_MOST_NAMED])
    more = f" and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else ""
    return f"the value{'s' if len(values) > 1 else ''} {named}{more}"


def body_of_labels(labels: sitk.Image) -> sitk.Image:
    """Return where the body is, uint8 on the grid of ``labels``.

    Everything but the class "outside the body", where the label map has it; else the filled hull of all classes but 0,
    found as in a CT whose class 0 is air.

    Raises
    ------
    UserError
        Nothing but class 0.
    """
    array = array_of(labels)
    if (array == OUTSIDE_BODY).any():
        return image_from_array((array != OUTSIDE_BODY).astype(np.uint8), labels)
    hu = np.where(array == 0, AIR_HU, _TISSUE_HU).astype(np.int16)
    return body_mask(image_from_array(hu, labels), "ct")
