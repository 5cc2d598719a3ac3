"""What a CT's body is made of: shares of bone and air, and its volume; of training CTs and of synthetic ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthct.evaluation.images.voxelwise import tissue_mask

CONTENTS = ("bone_fraction", "air_fraction", "body_ml")


def body_content(ct: NDArray[Any], body: NDArray[Any], voxel_ml: float) -> dict[str, float]:
    """Return ``bone_fraction`` and ``air_fraction`` of the body's voxels (HU ≥ 250, < −200) and ``body_ml``.

    Parameters
    ----------
    ct
        HU, any shape.
    body
        Same shape, not 0 inside.
    voxel_ml
        Volume of one voxel in ml.

    Raises
    ------
    ValueError
        The body is empty.
    """
    inside = ct[body != 0]
    if not inside.size:
        raise ValueError("the body is empty")
    return {
        "bone_fraction": float(np.mean(tissue_mask(inside, "bone"))),
        "air_fraction": float(np.mean(tissue_mask(inside, "air"))),
        "body_ml": float(inside.size * voxel_ml),
    }
