"""Where a CT was measured, seen from the MR's grid."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from synthct.volumes.geometry import Grid, array_of, resample_onto


def measured(ct: sitk.Image, grid: sitk.Image | Grid, transform: sitk.Transform | None = None) -> np.ndarray:
    """Return which voxels of ``grid`` (z, y, x; bool) lie inside the CT's field of view."""
    field_of_view = sitk.Image(ct.GetSize(), sitk.sitkUInt8) + 1
    field_of_view.CopyInformation(ct)
    return array_of(resample_onto(field_of_view, grid, "nearest", 0, transform)) != 0


def covered(mask: sitk.Image, ct: sitk.Image) -> float:
    """Return the share of a body mask that lies inside the CT's field of view."""
    body = array_of(mask) != 0
    return float(measured(ct, mask)[body].mean()) if body.any() else 0.0
