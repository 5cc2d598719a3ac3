"""An image as larger voxels would show it (row C3, voxel resampling)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate


def in_larger_voxels(image: np.ndarray, spacing: Sequence[float], voxel_mm: float) -> np.ndarray:
    """Average ``image`` over voxels of ``voxel_mm`` and interpolate linearly back onto its own grid.

    Parameters
    ----------
    image
        (C, rows, columns) or (C, z, y, x), float32.
    spacing
        mm between voxels along each of the image's axes. Axes with voxels that are as large already stay as they are.
    """
    size = image.shape[1:]
    larger = [
        max(1, round(length * own / voxel_mm)) if own < voxel_mm else length
        for length, own in zip(size, spacing, strict=True)
    ]
    if larger == list(size):
        return image
    averaged = interpolate(torch.from_numpy(np.ascontiguousarray(image))[None], larger, mode="area")
    back = interpolate(averaged, size, mode="trilinear" if len(size) == 3 else "bilinear", align_corners=False)
    return np.asarray(back[0].numpy())
