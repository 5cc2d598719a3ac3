"""Which voxels belong to the patient."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import array_of, image_from_array, resample_onto, to_axial

_WORKING_MM = 2.0
_CLOSING_MM = 6.0
_OPENING_MM = 3.0
_SHARE = 0.1
"""Parts smaller than this share of the largest one are not body: two legs are kept, ghosts and markers are not."""
_BRIGHTEST = 99.0
_TISSUE_BRIGHTNESS = 0.3
"""Tissue is at least this bright, on the square-root scale, of the brightest percentile (a tenth in intensity)."""
_TISSUE_SHARE = 0.15
_CONTRAST = 1.6


def body_mask(image: sitk.Image, modality: str = "mr") -> sitk.Image:
    """Mark the body, its air-filled cavities included.

    MR: averaged to about 2 mm (noise), Otsu's threshold on the square root of the intensities clipped at a high
    percentile (so that bright fat does not push muscle into the background), closed by 6 mm (cortical bone), large
    parts kept, holes filled in every axial plane. CT: `synthct.volumes.couch.body_without_couch`.

    Parameters
    ----------
    image
        3D MR in any unit, or CT in HU.
    modality
        ``"mr"`` or ``"ct"``.

    Returns
    -------
    SimpleITK.Image
        uint8, 1 inside, on the grid of ``image``.

    Raises
    ------
    UserError
        When the image is constant or holds no body.
    """
    if modality == "ct":
        from synthct.volumes.couch import body_without_couch

        return sitk.Cast(body_without_couch(image), sitk.sitkUInt8)
    if modality != "mr":
        raise ValueError(f"modality must be mr or ct, not {modality!r}")
    small = to_axial(_averaged(image))
    mask = _bright(small)
    mask = _with_border(mask, sitk.BinaryMorphologicalClosing, _CLOSING_MM)
    mask = _large_parts(_with_border(mask, sitk.BinaryMorphologicalOpening, _OPENING_MM))
    filled = array_of(mask)
    for index in range(filled.shape[0]):
        filled[index] = sitk.GetArrayFromImage(sitk.BinaryFillhole(mask[:, :, index]))
    mask = image_from_array(filled, mask)
    mask = sitk.ZeroFluxNeumannPad(mask, [2, 2, 2], [2, 2, 2])  # so that the outermost voxels are reached
    return resample_onto(mask, image)


def _averaged(image: sitk.Image) -> sitk.Image:
    """Average blocks of voxels to about the working voxel size, float32."""
    factors = [max(1, round(_WORKING_MM / step)) for step in image.GetSpacing()]
    factors = [min(factor, n) for factor, n in zip(factors, image.GetSize(), strict=True)]
    return sitk.Cast(sitk.BinShrink(image, factors), sitk.sitkFloat32)


def _bright(image: sitk.Image) -> sitk.Image:
    """Threshold between air and tissue, on the square root of the intensities.

    Where little air is in the field of view, Otsu's threshold falls between muscle and fat. It is therefore repeated
    on what lies below, as long as that splits into something dark and a large part of tissue's brightness.
    """
    view = sitk.GetArrayViewFromImage(image)
    low, high = float(view.min()), float(np.percentile(view, _BRIGHTEST))
    if not high > low:
        high = float(view.max())
    if not high > low:
        raise UserError("The MR is constant.", f"Every voxel is {low:g}; no body can be found.", "Check the image.")
    values = np.sqrt(np.clip(view.ravel() - low, 0, high - low))
    brightest = np.sqrt(high - low)
    threshold = _otsu(values)
    while True:
        below = values[values < threshold]
        if below.size < 2 or below.max() <= below.min():
            break
        next_threshold = _otsu(below)
        tissue, air = below[below >= next_threshold], below[below < next_threshold]
        large = tissue.size >= _TISSUE_SHARE * (values.size - below.size)
        bright = tissue.mean() >= _TISSUE_BRIGHTNESS * brightest and tissue.mean() >= _CONTRAST * air.mean()
        if not (large and bright):
            break
        threshold = next_threshold
    return sitk.BinaryThreshold(image, low + threshold**2, 3e38, 1, 0)


def _otsu(values: np.ndarray) -> float:
    """Otsu's threshold: the value that splits a histogram into the two classes furthest apart (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = values.size - below
    sums = np.cumsum(counts * centres)
    distance = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1 + int(np.argmax(below * above * distance**2))])


def _with_border(mask: sitk.Image, operation: object, radius_mm: float) -> sitk.Image:
    """Apply a morphological operation in the axial planes as if the image went on beyond its border."""
    radius = [max(1, round(radius_mm / step)) for step in mask.GetSpacing()[:2]]
    margin = [radius[0] + 1, radius[1] + 1, 0]
    padded = sitk.ZeroFluxNeumannPad(mask, margin, margin)
    result = operation(padded, [*radius, 0], sitk.sitkBall)  # type: ignore[operator]
    return result[margin[0] : -margin[0], margin[1] : -margin[1], :]


def _large_parts(mask: sitk.Image) -> sitk.Image:
    """Keep the largest component and those of at least a tenth of it."""
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(mask))
    sizes = np.bincount(sitk.GetArrayViewFromImage(labels).ravel())[1:]
    if not sizes.size:
        raise UserError("No body was found in the MR.", "Nothing in it is large and bright.", "Give a mask.")
    return sitk.BinaryThreshold(labels, 1, int((sizes >= _SHARE * sizes[0]).sum()), 1, 0)
