"""Templates of nodules, cut from a mask and its CT: shape, size, HU and malignancy (row B9)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull, distance

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.template_preview import preview_of
from synthct.volumes.geometry import Grid, array_of, grid_of, image_from_array, require_same_grid

SMALLEST_VOXELS = 3
"""A nodule of fewer has no shape."""


@dataclass(frozen=True)
class Template:
    """One nodule, without a place.

    Attributes
    ----------
    name
        Unique in a library.
    shape
        uint8, 1 inside, one empty voxel around it; spacing and direction of where it was cut from. Its physical
        origin (0, 0, 0) is the voxel centre nearest to its centre of mass.
    facts
        ``volume_mm3``, ``equivalent_diameter_mm`` (of a ball of that volume), ``longest_diameter_mm`` (see
        `longest_diameter`), ``voxels``, ``hu`` (``mean``, ``sd``, ``min``, ``median``, ``max``), ``malignancy`` (of the
        table, or None), ``source`` (``case`` and ``label``; where it was cut from a file also ``ct``, its name, and
        ``ct_fingerprint``, by which a data set finds templates of held-out cases).
    preview
        RGB picture, uint8, shape (rows, columns, 3), or None.
    """

    name: str
    shape: sitk.Image
    facts: dict[str, Any]
    preview: np.ndarray | None = field(default=None, compare=False)


def cut_templates(
    ct: sitk.Image,
    nodules: sitk.Image,
    case: str,
    by: Literal["auto", "labels", "components"] = "auto",
    malignancy: Mapping[int, float | None] | None = None,
    events: Events = SILENT,
    names: tuple[str, str] = ("The CT", "the nodule mask"),
) -> list[Template]:
    """Cut every nodule out of a mask; those that cannot be templates are named in warnings.

    Parameters
    ----------
    ct
        3D CT in HU.
    nodules
        0 outside, one number per nodule or one for all, on the grid of ``ct``.
    case
        Templates are called ``CASE-01``, ``CASE-02``, ... by the nodule's number.
    by
        ``"labels"``: each value is a nodule; ``"components"``: each part that hangs together (by faces, edges or
        corners); ``"auto"``: labels if there are several or a table is given, else components.
    malignancy
        Label → malignancy, as from `read_malignancy`.
    events
        Hears which nodules were left out: cut off by the image's border, or of fewer than 3 voxels.
    names
        What CT and mask are called in messages.

    Raises
    ------
    UserError
        Different grids, values that are no labels, an empty mask, or no nodule that can be a template.
    """
    labels = nodule_labels(ct, nodules, by, malignancy, names)
    hu = array_of(ct)
    templates, refused = [], []
    boxes = ndimage.find_objects(np.maximum(labels, 0))
    for label, box in enumerate(boxes, 1):
        if box is None:
            continue
        inside = labels[box] == label
        reason = _refusal(inside, box, labels.shape)
        if reason:
            refused.append(f"nodule {label} {reason}")
            events.warning(f"Nodule {label} of {names[1]} was left out.", f"It {reason}.")
            continue
        facts = _facts(inside, hu[box][inside], nodules.GetSpacing())
        facts["malignancy"] = (malignancy or {}).get(label)
        facts["source"] = {"case": case, "label": label}
        preview = preview_of(hu, labels, label, box, grid_of(ct))
        templates.append(Template(f"{case}-{label:02d}", _shape(inside, nodules), facts, preview))
    if not templates:
        raise UserError(f"No nodule of {names[1]} can be a template.", f"The {'; the '.join(refused)}.")
    return templates


def nodule_labels(
    ct: sitk.Image,
    nodules: sitk.Image,
    by: Literal["auto", "labels", "components"] = "auto",
    malignancy: Mapping[int, float | None] | None = None,
    names: tuple[str, str] = ("The CT", "the nodule mask"),
) -> np.ndarray:
    """Return one number per nodule, int32, on the grid of both images; see `cut_templates`.

    Raises
    ------
    UserError
        Different grids, values that are no labels, or an empty mask.
    """
    require_same_grid(ct, nodules, names)
    labels = array_of(nodules)
    if labels.dtype.kind == "f" and np.any(labels != np.rint(labels)):
        raise UserError(f"{names[1]} holds values that are no whole numbers.", "A mask or label map is needed.")
    present = np.unique(labels[labels != 0])
    if not present.size:
        raise UserError(f"{names[1]} is empty.", "There is no nodule to cut out.", "Check the mask.")
    if by == "components" or (by == "auto" and present.size == 1 and not malignancy):
        return np.asarray(ndimage.label(labels != 0, np.ones((3, 3, 3)))[0])
    return labels.astype(np.int32)


def longest_diameter(inside: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Return the largest distance in mm between the centres of two outer faces of a shape's voxels, in 3D.

    Parameters
    ----------
    inside
        bool, (z, y, x), not empty.
    spacing
        mm along x, y, z.
    """
    step = np.asarray(spacing)[::-1]
    centres = np.argwhere(inside & ~ndimage.binary_erosion(inside)) * step
    faces = np.concatenate([centres + sign * axis / 2 for axis in np.diag(step) for sign in (-1, 1)])
    corners = faces[ConvexHull(faces).vertices]
    return float(distance.pdist(corners).max())


def read_malignancy(path: Path | str) -> dict[int, float | None]:
    """Read columns ``id`` (the nodule's value in the mask) and ``malignancy`` from a CSV; empty means not known.

    Raises
    ------
    UserError
        Naming the file and line: unreadable, a column missing, or no number.
    """
    path = Path(path).expanduser()
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"The table {path} does not exist.", todo="Check the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The table {path} cannot be read.", f"{error}.", "It must be a CSV.") from error
    if not rows or not {"id", "malignancy"} <= set(rows[0]):
        raise UserError(
            f"The table {path} has no rows, or no columns id and malignancy.", todo="`synthct lidc` writes one."
        )
    values: dict[int, float | None] = {}
    for number, row in enumerate(rows, 2):
        try:
            text = (row["malignancy"] or "").strip()
            values[int(row["id"])] = float(text) if text else None
        except (TypeError, ValueError):
            raise UserError(
                f"Line {number} of {path} cannot be read.", f"id {row['id']!r}, malignancy {row['malignancy']!r}."
            ) from None
    return values


def _refusal(inside: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...]) -> str:
    voxels = int(np.count_nonzero(inside))
    if voxels < SMALLEST_VOXELS:
        return f"has {voxels} voxel{'s' if voxels > 1 else ''}; {SMALLEST_VOXELS} are needed"
    if any(part.start == 0 or part.stop == length for part, length in zip(box, shape, strict=True)):
        return "touches the border of the image, which may have cut it"
    return ""


def _facts(inside: np.ndarray, hu: np.ndarray, spacing: tuple[float, ...]) -> dict[str, Any]:
    volume = float(np.count_nonzero(inside) * np.prod(spacing))
    values = hu.astype(float)
    return {
        "voxels": int(np.count_nonzero(inside)),
        "volume_mm3": round(volume, 3),
        "equivalent_diameter_mm": round((6 * volume / np.pi) ** (1 / 3), 3),
        "longest_diameter_mm": round(longest_diameter(inside, spacing), 3),
        "hu": {
            "mean": round(float(values.mean()), 1),
            "sd": round(float(values.std()), 1),
            "min": round(float(values.min()), 1),
            "median": round(float(np.median(values)), 1),
            "max": round(float(values.max()), 1),
        },
    }


def _shape(inside: np.ndarray, reference: sitk.Image) -> sitk.Image:
    """Put a shape, with one empty voxel around it, where its middle voxel is at the origin of the world."""
    array = np.pad(inside, 1).astype(np.uint8)
    frame = grid_of(reference)
    middle = np.rint(np.argwhere(array).mean(axis=0))[::-1]
    origin = -(frame.index_to_world[:3, :3] @ middle)
    size: tuple[int, int, int] = array.shape[::-1]  # type: ignore[assignment]
    return image_from_array(array, Grid(size, frame.spacing, tuple(origin.tolist()), frame.direction))
