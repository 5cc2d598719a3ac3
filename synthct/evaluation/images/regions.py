"""The error of a synthetic CT in each region of a segmentation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.evaluation.images.pair import Pair
from synthct.evaluation.images.voxelwise import mae, mean_error
from synthct.volumes.geometry import array_of, image_from_array, resample_onto, same_grid
from synthct.volumes.segments import Segments

DEFINITIONS: dict[str, str] = {
    "mae_hu": "Mean absolute error in HU over the region's voxels that count.",
    "me_hu": "Mean of synthetic minus reference in HU over them.",
    "sd_hu": "Population standard deviation of the error over them.",
    "reference_mean_hu": "Mean HU of the reference there.",
    "synthetic_mean_hu": "Mean HU of the synthetic CT there.",
    "volume_ml": "Volume of the voxels that count.",
}


def score_regions(pair: Pair, segments: Segments) -> list[dict[str, Any]]:
    """Return one row per region: ``region``, ``voxels`` and the scores of ``DEFINITIONS``.

    A region on another grid is resampled (nearest). One without a voxel that counts has NaN for its scores.
    """
    return [{"region": name, **_row(pair, _on_grid(mask, pair))} for name, mask in segments]


def _row(pair: Pair, region: np.ndarray) -> dict[str, Any]:
    counted = region if pair.inside is None else region & pair.inside
    voxels = int(np.count_nonzero(counted))
    ml = voxels * math.prod(pair.grid.spacing) / 1000
    if not voxels:
        return {"voxels": 0, **dict.fromkeys(DEFINITIONS, math.nan), "volume_ml": 0.0}
    first, second = (array[counted].astype(np.float64) for array in (pair.reference, pair.synthetic))
    return {
        "voxels": voxels,
        "mae_hu": mae(first, second),
        "me_hu": mean_error(first, second),
        "sd_hu": float((second - first).std()),
        "reference_mean_hu": float(first.mean()),
        "synthetic_mean_hu": float(second.mean()),
        "volume_ml": ml,
    }


def _on_grid(mask: sitk.Image, pair: Pair) -> np.ndarray:
    if same_grid(mask, pair.grid):
        return array_of(mask) != 0
    return array_of(resample_onto(mask, pair.grid, "nearest", 0)) != 0


def error_map(pair: Pair) -> sitk.Image:
    """Return synthetic − reference in HU, float32 on the reference's grid; 0 where a voxel does not count."""
    difference = pair.synthetic.astype(np.float32) - pair.reference.astype(np.float32)
    if pair.inside is not None:
        difference[~pair.inside] = 0
    return image_from_array(difference, pair.grid)
