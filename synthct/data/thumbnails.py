"""A small picture of a case, MR or label map beside CT or image beside mask, by which a person sees a mix-up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.data.cohort import Case
from synthct.data.pairs import read_pair
from synthct.volumes.geometry import to_axial
from synthct.volumes.hu import AIR_HU
from synthct.volumes.read import read_image

SIDE = 96
"""Pixels of each of the two pictures."""
WINDOW_HU = (-500.0, 1000.0)
_MR_PERCENTILES = (1.0, 99.0)


def write_thumbnail(case: Case, path: Path) -> None:
    """Write the MR's middle axial slice and the CT at the same place, side by side, as a grey PNG of 192 × 96 pixels.

    The CT is shown where its own file puts it, unregistered: a pair that does not fit is seen not to fit.

    Raises
    ------
    UserError
        An image cannot be read.
    """
    if case.kind == "image":
        image, mask = (to_axial(part) for part in read_pair(case))
        plane = _middle_plane(image)
        left, right = _slice(image, plane, AIR_HU), _slice(mask, plane, 0.0, nearest=True)
        _write(path, _grey(left, *WINDOW_HU), _grey(right, 0.0, max(1.0, float(right.max()))))
        return
    mr, ct = to_axial(read_image(case.input, case.mr_series)), to_axial(read_image(case.ct, case.ct_series))
    plane = _middle_plane(mr)
    lowest = float(sitk.GetArrayViewFromImage(mr).min())
    nearest = case.kind == "labels"
    mr_slice, ct_slice = _slice(mr, plane, lowest, nearest), _slice(ct, plane, AIR_HU)
    low, high = np.percentile(mr_slice, _MR_PERCENTILES)
    _write(path, _grey(mr_slice, float(low), float(high)), _grey(ct_slice, *WINDOW_HU))


def _write(path: Path, left: np.ndarray, right: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.concatenate([left, right], axis=1)), str(path))


def _middle_plane(image: sitk.Image) -> sitk.Image:
    """Return an empty square of SIDE × SIDE × 1 voxels that holds the middle slice of an axial image."""
    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    pixel = float(max(size[:2] * spacing[:2])) / SIDE
    plane = sitk.Image(SIDE, SIDE, 1, sitk.sitkUInt8)
    plane.SetSpacing((pixel, pixel, float(spacing[2])))
    plane.SetDirection(image.GetDirection())
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint([*((size[:2] - 1) / 2), float(size[2] // 2)]))
    directions = np.array(image.GetDirection()).reshape(3, 3)
    plane.SetOrigin((centre - directions @ np.array([(SIDE - 1) / 2 * pixel] * 2 + [0.0])).tolist())
    return plane


def _slice(image: sitk.Image, plane: sitk.Image, outside: float, nearest: bool = False) -> np.ndarray:
    way = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    shown = sitk.Resample(image, plane, sitk.Transform(), way, outside, sitk.sitkFloat32)
    return sitk.GetArrayFromImage(shown)[0]


def _grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
