"""Which voxels belong to the patient."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import array_of, back_from_axial, image_from_array, to_axial

_CT_THRESHOLD_HU = -300.0


def body_mask(image: sitk.Image, modality: str = "mr") -> sitk.Image:
    """Mark the body, its air-filled cavities included: threshold, large components, filled slice by slice.

    Parameters
    ----------
    image
        3D MR in any unit, or CT in HU.
    modality
        ``"mr"``: the lower of Otsu's two thresholds (a single one takes muscle for background
        where fat is bright). ``"ct"``: −300 HU, the couch taken off.

    Returns
    -------
    SimpleITK.Image
        uint8, 1 inside, on the grid of ``image``.

    Raises
    ------
    UserError
        When the image is constant or holds no body.
    """
    axial = to_axial(image)
    view = sitk.GetArrayViewFromImage(axial)
    if modality == "ct":
        threshold = _CT_THRESHOLD_HU
    else:
        sample = np.asarray(view[:: max(1, view.shape[0] // 64), ::2, ::2], dtype=np.float32)
        low, high = float(sample.min()), float(np.percentile(sample, 99))
        if not high > low:
            raise UserError("The MR is constant.", "No body can be found in it.")
        clipped = sitk.GetImageFromArray(np.clip(sample, low, high))
        otsu = sitk.OtsuMultipleThresholdsImageFilter()
        otsu.SetNumberOfThresholds(2)
        otsu.Execute(clipped)
        threshold = float(otsu.GetThresholds()[0])
    mask = sitk.GreaterEqual(axial, threshold)
    mask = sitk.BinaryMorphologicalClosing(mask, [3, 3, 1])
    opened = sitk.BinaryMorphologicalOpening(mask, [3, 3, 0])
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(opened))
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(labels)
    sizes = [statistics.GetNumberOfPixels(label) for label in statistics.GetLabels()]
    if not sizes:
        raise UserError("No body was found in the image.", todo="Give a mask.")
    keep = sum(size >= 0.1 * sizes[0] for size in sizes)
    seeds = sitk.BinaryThreshold(labels, 1, keep, 1, 0)
    array = array_of(seeds)
    for index in range(array.shape[0]):
        array[index] = sitk.GetArrayFromImage(sitk.BinaryFillhole(seeds[:, :, index]))
    return back_from_axial(image_from_array(array, axial), image)
