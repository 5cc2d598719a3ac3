"""Doses compared: differences in all, and what structures receive (dose-volume histograms)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.errors import UserError
from synthct.volumes.geometry import array_of, grid_of, image_from_array, resample_onto

DEFINITIONS: dict[str, str] = {
    "d98_gy": "Dose that 98 % of the structure's volume receives at least: the 2nd percentile of its voxels.",
    "d95_gy": "Dose that 95 % of the structure's volume receives at least.",
    "d50_gy": "Median dose of the structure.",
    "d2_gy": "Dose that 2 % of the structure's volume receives at least: the near-maximum.",
    "mean_gy": "Mean dose of the structure.",
    "volume_ml": "Volume of the structure within the dose grid.",
    "covered": "Share of the voxels to be judged that lie within the evaluated dose's grid.",
    "difference": "Evaluated minus reference; in percent of the normalisation dose where the name says so.",
    "gamma": "For each voxel of the reference the smallest of √(Δdose² / criterion² + distance² / criterion²) to the "
    "evaluated dose (Low et al. 1998), sought up to 2; by pymedphys. Global: the dose criterion is a share of the "
    "normalisation dose; local: of the voxel's own.",
    "pass_percent": "Share of the judged voxels with a gamma of at most 1.",
}
_SHARES = {"d98_gy": 98, "d95_gy": 95, "d50_gy": 50, "d2_gy": 2}
BINS = 200


def dose_metrics(voxels: NDArray[Any]) -> dict[str, float]:
    """Return D98, D95, D50, D2 and the mean of a structure's voxels (n,), in Gy."""
    values = np.asarray(voxels, dtype=np.float64).ravel()
    found = {name: float(np.percentile(values, 100 - share)) for name, share in _SHARES.items()}
    return {**found, "mean_gy": float(values.mean())}


def dose_volume(voxels: NDArray[Any], doses: NDArray[Any]) -> NDArray[np.float64]:
    """Return the share of a structure's voxels (n,) in percent that receive at least each of ``doses`` (m,)."""
    values = np.sort(np.asarray(voxels, dtype=np.float64).ravel())
    return 100 * (1 - np.searchsorted(values, doses, side="left") / values.size)


@dataclass(frozen=True)
class StructureDoses:
    """Both doses in Gy at a structure's voxels, (n,) each; those beyond either dose grid are left out."""

    reference: NDArray[Any]
    evaluated: NDArray[Any]
    volume_ml: float
    covered: float
    """Share of the structure that lies within both dose grids."""


def structure_doses(reference: sitk.Image, evaluated: sitk.Image, mask: sitk.Image, name: str) -> StructureDoses:
    """Return both doses at a structure's voxels, on the mask's grid (linear).

    Raises
    ------
    UserError
        The structure is empty, or lies beyond the dose.
    """
    inside = array_of(mask) != 0
    if not inside.any():
        raise UserError(f"The structure {name} is empty.", todo="Leave it out.")
    place = grid_of(mask)
    both = [array_of(resample_onto(dose, place, "linear", -1.0))[inside] for dose in (reference, evaluated)]
    covered = (both[0] >= 0) & (both[1] >= 0)
    if not covered.any():
        raise UserError(
            f"The structure {name} lies beyond the dose grid.", todo="Give structures and doses of one patient."
        )
    ml = math.prod(place.spacing) / 1000
    return StructureDoses(both[0][covered], both[1][covered], float(covered.sum()) * ml, float(covered.mean()))


def difference_scores(
    reference: sitk.Image, evaluated: sitk.Image, normalisation_gy: float, lowest_percent: float
) -> tuple[dict[str, float], sitk.Image]:
    """Return summary numbers of evaluated − reference, and the map of it in Gy on the reference's grid.

    The summary is over voxels in which the reference is at least ``lowest_percent`` of ``normalisation_gy`` and that
    the evaluated dose reaches; ``covered`` is their share. Beyond its grid the evaluated dose is 0 in the map.

    Raises
    ------
    UserError
        No voxel is left.
    """
    moved = array_of(resample_onto(sitk.Cast(evaluated, sitk.sitkFloat32), reference, "linear", -1.0))
    known = array_of(reference).astype(np.float32)
    high = known >= normalisation_gy * lowest_percent / 100
    judged = high & (moved >= 0)
    if not judged.any():
        raise UserError(
            "The evaluated dose nowhere reaches what the reference irradiates.",
            f"Voxels from {lowest_percent:g} % of {normalisation_gy:g} Gy on are compared.",
            "Give doses of one patient, or a lower threshold or normalisation.",
        )
    difference = image_from_array(np.maximum(moved, 0) - known, reference)
    values = (moved - known)[judged].astype(np.float64)
    scores = {
        "covered": float(judged.sum() / high.sum()),
        "mean_difference_gy": float(values.mean()),
        "mean_absolute_difference_gy": float(np.abs(values).mean()),
        "mean_difference_percent": 100 * float(values.mean()) / normalisation_gy,
        "largest_difference_gy": float(values[np.abs(values).argmax()]),
    }
    return scores, difference


def compared(first: Mapping[str, float], second: Mapping[str, float], normalisation_gy: float) -> dict[str, Any]:
    """Return metrics of reference and evaluated side by side, with the differences in Gy and percent."""
    return {
        name: {
            "reference": first[name],
            "evaluated": second[name],
            "difference": second[name] - first[name],
            "difference_percent": 100 * (second[name] - first[name]) / normalisation_gy,
        }
        for name in first
    }
