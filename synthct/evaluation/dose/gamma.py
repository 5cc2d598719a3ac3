"""Gamma index of two doses, by pymedphys (Low et al. 1998; global normalisation unless told otherwise)."""

from __future__ import annotations

import importlib.util
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import Grid, array_of, grid_of, resample_onto

CRITERIA = ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0))
"""Dose difference in percent and distance in mm."""
LOWEST_PERCENT = 10.0
"""Voxels of the reference below this share of the normalisation dose are not judged."""
CAP = 2.0
"""The search ends here: a gamma above is given as this."""


@dataclass(frozen=True)
class Gamma:
    """Of one criterion; NaN where no voxel is judged."""

    dose_percent: float
    distance_mm: float
    pass_percent: float
    mean: float
    voxels: int
    map: np.ndarray
    """z, y, x on the reference's grid, NaN where not judged."""

    @property
    def name(self) -> str:
        return f"{self.dose_percent:g}%/{self.distance_mm:g}mm"


def gamma(
    reference: sitk.Image,
    evaluated: sitk.Image,
    dose_percent: float,
    distance_mm: float,
    lowest_percent: float = LOWEST_PERCENT,
    normalisation_gy: float | None = None,
    local: bool = False,
) -> Gamma:
    """Return the gamma of ``evaluated`` at every voxel of ``reference`` that its grid reaches.

    Parameters
    ----------
    reference, evaluated
        In Gy. Grids may differ; where their axes are not parallel the evaluated dose is resampled onto the
        reference's grid first (linear).
    dose_percent
        Of ``normalisation_gy`` (None: the reference's maximum), with ``local`` of the dose in each voxel.

    Raises
    ------
    UserError
        pymedphys is not installed, or nothing of the reference lies above the threshold.
    """
    try:
        import pymedphys
    except ImportError as error:
        raise UserError(
            "The gamma index needs the package pymedphys.", "It is not installed.", "pip install 'synthct[dose]'"
        ) from error
    grid = grid_of(reference)
    moved = resample_onto(evaluated, grid, "linear", -1.0)
    reached = array_of(moved) >= 0
    if not _parallel(grid, grid_of(evaluated)):
        evaluated = sitk.Maximum(moved, 0.0)
    doses = [array_of(image).astype(np.float64) for image in (reference, evaluated)]
    highest = normalisation_gy or float(doses[0].max())
    if not (doses[0] >= highest * lowest_percent / 100).any():
        raise UserError(
            f"No voxel of the reference has {lowest_percent:g} % of {highest:g} Gy.",
            f"Its highest dose is {doses[0].max():g} Gy.",
            "Give a lower threshold or normalisation.",
        )
    doses[0][~reached] = 0  # below the threshold: neither searched nor judged
    axes = _axes(grid, grid), _axes(grid_of(evaluated), grid)
    found = _search(pymedphys, axes, doses, dose_percent, distance_mm, lowest_percent, highest, local, _interpolation())
    judged = found[np.isfinite(found)]
    return Gamma(
        dose_percent,
        distance_mm,
        100 * float(np.mean(judged <= 1)) if judged.size else math.nan,
        float(judged.mean()) if judged.size else math.nan,
        int(judged.size),
        found.astype(np.float32),
    )


def _search(
    pymedphys: Any,
    axes: tuple[Any, Any],
    doses: list[np.ndarray],
    dose_percent: float,
    distance_mm: float,
    lowest_percent: float,
    highest: float,
    local: bool,
    interpolation: str,
) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: np.ndarray = pymedphys.gamma(
            axes[0],
            doses[0],
            axes[1],
            doses[1],
            dose_percent,
            distance_mm,
            lower_percent_dose_cutoff=lowest_percent,
            max_gamma=CAP,
            local_gamma=local,
            global_normalisation=highest,
            interp_algo=interpolation,
        )
    return found


def _interpolation() -> str:
    """pymedphys' own interpolation where numba is there (several times faster), else SciPy's."""
    return "pymedphys" if importlib.util.find_spec("numba") else "scipy"


def _parallel(a: Grid, b: Grid) -> bool:
    """Whether two grids have the same axes, and each of them more than one voxel."""
    return min(b.size) > 1 and bool(np.allclose(a.direction, b.direction, atol=1e-4))


def _axes(grid: Grid, reference: Grid) -> tuple[np.ndarray, ...]:
    """Positions in mm along z, y, x of a grid in the axes of ``reference``."""
    turn = np.reshape(reference.direction, (3, 3)).T
    start = turn @ (np.asarray(grid.origin) - np.asarray(reference.origin))
    return tuple(start[axis] + np.arange(grid.size[axis]) * grid.spacing[axis] for axis in (2, 1, 0))
