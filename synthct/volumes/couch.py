"""Take the couch, head rest and blankets off a CT."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from synthct.errors import UserError
from synthct.volumes.geometry import array_of, back_from_axial, image_from_array, to_axial
from synthct.volumes.hu import AIR_HU

_BODY_HU = -350.0
_SHEET_MM = 5.0
_SMALL_PIECE_MM = 45.0
_SMALL_HOLE_MM2 = 3000.0
_LARGE_PART = 0.1


def remove_couch(ct: sitk.Image, outside_hu: float = AIR_HU) -> sitk.Image:
    """Set everything but the body to air: couch, head rest, blankets, tubes.

    Parameters
    ----------
    ct
        3D CT in HU.
    outside_hu
        What to put there, in HU.

    Returns
    -------
    SimpleITK.Image
        Pixel type and grid of ``ct``.

    Raises
    ------
    UserError
        When no body is found.
    """
    body = sitk.Cast(body_without_couch(ct), sitk.sitkUInt8)
    return sitk.Mask(ct, body, outside_hu)


def body_without_couch(ct: sitk.Image) -> sitk.Image:
    """Mark the body in a CT, its air-filled cavities included and the couch left out.

    In every axial plane small holes are filled (sinuses, airways, but not the inside of a hollow couch), an opening
    with a disc takes off what is thinner than 10 mm (the sheets of a couch, even one that touches the skin), the large
    parts of what remains are the body, and thin pieces up to 45 mm long that hang on it (ears, fingers, the
    rounded-off corners) are given back.

    Returns
    -------
    SimpleITK.Image
        uint8, 1 inside, on the grid of ``ct``.

    Raises
    ------
    UserError
        When nothing in the image is a body, or its pixel type holds no negative HU.
    """
    axial = to_axial(ct)
    if sitk.GetArrayViewFromImage(axial).dtype.kind == "u":
        raise UserError(
            "The CT's values have no sign, so it is not in HU.",
            "In HU air is about −1000; something else was stored, or a number was added to all of it.",
            "Export it again in HU, or subtract what was added (often 1024).",
        )
    area = axial.GetSpacing()[0] * axial.GetSpacing()[1]
    dense_array = array_of(sitk.BinaryThreshold(axial, _BODY_HU, 1e6, 1, 0))
    for plane in dense_array:
        _fill_holes(plane, _SMALL_HOLE_MM2 / area)
    dense = image_from_array(dense_array, axial)
    radius = [max(1, round(_SHEET_MM / axial.GetSpacing()[axis])) for axis in range(2)]
    margin = [*radius, 0]
    # the border is repeated outwards: a body cut by the field of view is not eaten there
    padded = sitk.ZeroFluxNeumannPad(dense, margin, margin)
    opened = sitk.BinaryMorphologicalOpening(padded, [*radius, 0], sitk.sitkBall)
    opened = opened[margin[0] : -margin[0], margin[1] : -margin[1], :]
    body = _large_parts(opened)
    if body is None:
        raise UserError("No body was found in the CT.", f"Nothing large lies above {_BODY_HU:.0f} HU.", "Is it in HU?")
    result = array_of(body)
    for plane, dense_plane in zip(result, dense_array, strict=True):
        _give_back(plane, dense_plane, _SMALL_PIECE_MM / np.array(axial.GetSpacing()[1::-1]))
        _fill_holes(plane)
    return back_from_axial(image_from_array(result, axial), ct)


def _large_parts(mask: sitk.Image) -> sitk.Image | None:
    """Keep the largest component and those of at least a tenth of it."""
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(mask))
    sizes = np.bincount(sitk.GetArrayViewFromImage(labels).ravel())[1:]
    if not sizes.size:
        return None
    return sitk.BinaryThreshold(labels, 1, int((sizes >= _LARGE_PART * sizes[0]).sum()), 1, 0)


def _fill_holes(plane: np.ndarray, largest: float = np.inf) -> None:
    """Fill the holes of a plane (y, x) of at most ``largest`` pixels, in place."""
    labels, count = ndimage.label(plane == 0)
    if count:
        sizes = np.bincount(labels.ravel())
        fill = sizes <= largest
        fill[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = False
        fill[0] = False
        plane[fill[labels]] = 1


def _give_back(body: np.ndarray, dense: np.ndarray, longest: np.ndarray) -> None:
    """Add the thin pieces of a plane (y, x) that touch the body and span at most ``longest`` pixels, in place."""
    labels, count = ndimage.label((dense != 0) & (body == 0))
    touching = np.unique(labels[ndimage.binary_dilation(body)])
    boxes = ndimage.find_objects(labels)
    keep = np.zeros(count + 1, bool)
    for label in touching[touching > 0]:
        spans = [part.stop - part.start for part in boxes[label - 1]]
        keep[label] = bool(np.all(spans <= longest))
    body[keep[labels]] = 1
