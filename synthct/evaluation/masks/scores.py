"""How well one mask agrees with another: overlap, surfaces and volume (rows B11, C14).

What happens where a mask is empty is defined here once and said in ``DEFINITIONS``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE_MM = 1.0

DEFINITIONS: dict[str, str] = {
    "dice_percent": "2·TP / (2·TP + FP + FN). Both masks empty: not defined; one empty: 0.",
    "sensitivity_percent": "TP / (TP + FN). Reference empty: not defined.",
    "precision_percent": "TP / (TP + FP). Prediction empty: not defined.",
    "f2_percent": "5·TP / (5·TP + FP + 4·FN). Both masks empty: not defined; one empty: 0.",
    "accuracy_percent": "(TP + TN) / all voxels: close to 100 for anything small, whatever is found.",
    "hausdorff95_mm": "The larger of the two directed 95th percentiles of the distances from surface to surface. Both "
    "masks empty: not defined; one empty: infinite, so that a missed lesion is not left out of the median.",
    "surface_dice_percent": "Share of both surfaces within {tolerance:g} mm of the other. Both empty: not defined; one "
    "empty: 0.",
    "volume_error_ml": "Volume of the prediction minus volume of the reference.",
    "volume_error_percent": "That error over the volume of the reference. Reference empty: not defined.",
    "reference_ml": "Volume of the reference.",
    "predicted_ml": "Volume of the prediction.",
}

Mask = NDArray[Any]


def mask_scores(
    reference: Mask, predicted: Mask, spacing: Sequence[float], tolerance_mm: float = TOLERANCE_MM
) -> dict[str, float]:
    """Score ``predicted`` against ``reference``.

    Parameters
    ----------
    reference, predicted
        z, y, x of one shape; what is not 0 belongs to the mask.
    spacing
        x, y, z in mm.
    tolerance_mm
        Of the surface Dice.

    Returns
    -------
    dict
        The scores of ``DEFINITIONS``, NaN where they are not defined.
    """
    if reference.shape != predicted.shape:
        raise ValueError(f"the masks must have one shape, got {reference.shape} and {predicted.shape}")
    truth, found = reference != 0, predicted != 0
    tp = int(np.count_nonzero(truth & found))
    fn, fp = int(np.count_nonzero(truth)) - tp, int(np.count_nonzero(found)) - tp
    ml = math.prod(spacing) / 1000
    hausdorff, surface = _surfaces(truth, found, spacing, tolerance_mm)
    return {
        "dice_percent": _percent(2 * tp, 2 * tp + fp + fn),
        "sensitivity_percent": _percent(tp, tp + fn),
        "precision_percent": _percent(tp, tp + fp),
        "f2_percent": _percent(5 * tp, 5 * tp + fp + 4 * fn),
        "accuracy_percent": _percent(truth.size - fp - fn, truth.size),
        "hausdorff95_mm": hausdorff,
        "surface_dice_percent": surface,
        "volume_error_ml": (fp - fn) * ml,
        "volume_error_percent": _percent(fp - fn, tp + fn),
        "reference_ml": (tp + fn) * ml,
        "predicted_ml": (tp + fp) * ml,
    }


def definitions(tolerance_mm: float = TOLERANCE_MM) -> dict[str, str]:
    """Return what each score means, with the tolerance that was used."""
    return {name: text.format(tolerance=tolerance_mm) for name, text in DEFINITIONS.items()}


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else math.nan


def _surfaces(truth: Mask, found: Mask, spacing: Sequence[float], tolerance_mm: float) -> tuple[float, float]:
    """Return Hausdorff 95 in mm and surface Dice in percent, by MONAI, on the box that holds both masks."""
    either = truth | found
    if not either.any():
        return math.nan, math.nan
    if not truth.any() or not found.any():
        return math.inf, 0.0
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    box = tuple(slice(max(int(line.min()) - 1, 0), int(line.max()) + 2) for line in np.nonzero(either))
    first, second = (torch.from_numpy(np.pad(mask[box], 1).astype(np.float32))[None, None] for mask in (found, truth))
    order = [float(length) for length in reversed(spacing)]
    distance = compute_hausdorff_distance(first, second, include_background=True, percentile=95, spacing=order)
    surface = compute_surface_dice(first, second, [tolerance_mm], include_background=True, spacing=order)
    return float(distance), 100 * float(surface)
