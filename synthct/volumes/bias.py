"""Take the coil's slow brightness changes out of an MR."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import image_from_array, require_same_grid, resample_onto

_WORKING_MM = 8.0
_ITERATIONS = [50, 40, 30]
_SLAB_VOXELS = 16_000_000


def correct_bias(mr: sitk.Image, mask: sitk.Image | None = None) -> sitk.Image:
    """Divide an MR by its bias field (row A1; N4, Tustison 2010, doi:10.1109/TMI.2010.2046908).

    The field is found on voxels about 8 mm apart (not on averages, which blur the histogram that N4 sharpens) and
    applied at full resolution. The mean inside the mask stays as it was.

    Parameters
    ----------
    mr
        3D MR, any unit.
    mask
        Voxels other than 0 are the body; None: `body_mask`.

    Returns
    -------
    SimpleITK.Image
        Grid and pixel type of ``mr`` (integers rounded).

    Raises
    ------
    UserError
        When the mask is empty or on another grid.
    """
    field = bias_field(mr, mask)
    source = sitk.GetArrayViewFromImage(mr)
    result = np.empty(source.shape, source.dtype)
    step = max(1, _SLAB_VOXELS // source[0].size)
    for start in range(0, len(source), step):  # in slabs: the field at full resolution is never there as a whole
        stop = min(len(source), start + step)
        slab = sitk.GetArrayFromImage(resample_onto(field, mr[:, :, start:stop]))
        np.divide(source[start:stop], slab, out=slab)
        if source.dtype.kind in "iu":
            limits = np.iinfo(source.dtype)
            np.clip(np.rint(slab, out=slab), limits.min, limits.max, out=slab)
        result[start:stop] = slab
    return image_from_array(result, mr)


def bias_field(mr: sitk.Image, mask: sitk.Image | None = None) -> sitk.Image:
    """Return the field that `correct_bias` divides by: float32, mean about 1, coarse, reaching beyond the image."""
    mask = body_mask(mr, "mr") if mask is None else mask
    require_same_grid(mr, mask, ("The MR", "its body mask"))
    factors = [min(n, max(1, round(_WORKING_MM / step))) for step, n in zip(mr.GetSpacing(), mr.GetSize(), strict=True)]
    small = sitk.Cast(sitk.Shrink(mr, factors), sitk.sitkFloat32)
    inside = sitk.Shrink(mask, factors) != 0
    chosen = sitk.GetArrayViewFromImage(inside) > 0
    if not chosen.any():
        raise UserError("The body mask is empty.", "The bias field is found inside the body.", "Check the mask.")
    values = sitk.GetArrayViewFromImage(small)[chosen]
    brightest = float(np.percentile(values, 99))
    if not brightest > 0:
        raise UserError("The MR is not above zero inside the body.", "A bias field cannot be found.", "Check the mask.")
    filter_ = sitk.N4BiasFieldCorrectionImageFilter()
    filter_.SetMaximumNumberOfIterations(_ITERATIONS)
    filter_.Execute(sitk.Clamp(small, sitk.sitkFloat32, 0.01 * brightest), inside)
    log_field = sitk.GetArrayFromImage(filter_.GetLogBiasFieldAsImage(small))
    reached = log_field[chosen]
    np.clip(log_field, reached.min(), reached.max(), out=log_field)  # far from the body the spline runs away
    field = np.exp(log_field)
    field *= np.float32((values / field[chosen]).mean() / values.mean())
    margin = [2, 2, 2]
    return sitk.ZeroFluxNeumannPad(image_from_array(field.astype(np.float32), small), margin, margin)
