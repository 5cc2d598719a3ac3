"""All scores of one synthetic CT against its reference, with the definition of each, as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.evaluation.images.artefacts import BORDER_MM, checkerboard_ratio, diversity, slice_jump
from synthct.evaluation.images.pair import MASKED, WHOLE, Pair, make_pair
from synthct.evaluation.images.structural import SMALLEST_SIDE, WINDOW, msssim_synthrad2025, ssim_synthrad2023
from synthct.evaluation.images.voxelwise import SYNTHRAD_2023, SYNTHRAD_2025, dice, mae, mean_error, psnr, tissue_mask
from synthct.evaluation.plain_values import without_nan
from synthct.volumes.geometry import array_of, axial_order, axial_view, require_same_grid, resample_onto
from synthct.volumes.hu import TISSUES
from synthct.whole_file import write_whole

_BONE, _AIR = TISSUES["bone"][0], TISSUES["air"][1]

DEFINITIONS: dict[str, str] = {
    "mae_hu": "Mean absolute error in HU, not clipped (SynthRAD).",
    "me_hu": "Mean of synthetic minus reference in HU, not clipped.",
    "psnr_2500_db": "10·log10(2500² / mean squared error) in dB, not clipped (Umeå thesis, row A10).",
    "psnr_synthrad2023_db": "PSNR in dB, both clipped to [-1024, 3000], data range 4024 (SynthRAD 2023).",
    "psnr_synthrad2025_db": "PSNR in dB, both clipped to [-1024, 3071], data range 4095 (SynthRAD 2025).",
    "ssim_synthrad2023": "SSIM, clipped to [-1024, 3000], -1024 outside the mask, shifted by +1024, uniform 7×7×7 "
    "window, three voxels at every face left out (SynthRAD 2023).",
    "msssim_synthrad2025": "MS-SSIM over five scales, clipped to [-1024, 3071], edge-padded to at least 97 voxels "
    "(SynthRAD 2025).",
    **{
        f"mae_{tissue}_hu": f"Mean absolute error in HU where the reference is {tissue}: {low:g} to {high:g} HU."
        for tissue, (low, high) in TISSUES.items()
    },
    "dice_bone": f"Dice overlap of bone, HU ≥ {_BONE:g} in each image; null where neither has any.",
    "dice_air": f"Dice overlap of air, HU < {_AIR:g} in each image; null where neither has any.",
    "slice_jump": "Mean absolute change of the error (synthetic minus reference) from axial slice to slice over that "
    "within the slices, per mm, at one distance: the largest of the three spacings; 1 or less: no jumps. The mask "
    f"eroded by {BORDER_MM:g} mm in every axial slice.",
    **{
        f"checkerboard_stride{stride}": "Share of the in-plane spectral energy (axial slices, mean taken away, Hann "
        f"window) within 1/32 cycles per voxel of {where} along rows, columns or both: synthetic over reference. "
        "Well above 1: a checkerboard."
        for stride, where in ((2, "1/2 cycle per voxel"), (4, "1/4 and 1/2 cycles per voxel, 1/2 alone left out,"))
    },
    "diversity_hu": "Mean absolute difference in HU between two outputs for one input, over all pairs.",
}


@dataclass(frozen=True)
class Scores:
    """Scores by name (see ``DEFINITIONS``); NaN where a score is not defined for this pair."""

    values: dict[str, float]
    region: str
    """Over which voxels the scores run."""
    voxels: int
    notes: list[str] = field(default_factory=list)
    """What the reader must know: resampled, a score left out and why."""

    def to_dict(self) -> dict[str, Any]:
        """Scores by name, and the definition of each; NaN as None, infinity as the text "inf"."""
        return {
            **{name: without_nan(value) for name, value in self.values.items()},
            "region": self.region,
            "voxels": self.voxels,
            "notes": self.notes,
            "definitions": {name: f"{DEFINITIONS[name]} Region: {self.region}." for name in self.values},
        }


def score_pair(
    reference: sitk.Image,
    synthetic: sitk.Image,
    mask: sitk.Image | None = None,
    names: tuple[str, str, str] = ("reference", "synthetic", "mask"),
) -> Scores:
    """Score a synthetic CT against its reference CT, both in HU; see `synthct.evaluation.images.pair.make_pair`.

    Raises
    ------
    UserError
        When the images do not overlap, a value is NaN or infinite, or the mask is empty.
    """
    return scores_of(make_pair(reference, synthetic, mask, names))


def scores_of(pair: Pair) -> Scores:
    """Score two CTs that lie on one grid."""
    scores = replace(score_arrays(pair.reference, pair.synthetic, pair.inside, pair.notes), region=pair.region)
    order, _ = axial_order(pair.grid)
    spacing = [pair.grid.spacing[axis] for axis in order]
    ct, synthetic_ct = (axial_view(array, pair.grid) for array in (pair.reference, pair.synthetic))
    counted = None if pair.inside is None else axial_view(pair.inside, pair.grid)
    scores.values.update(_artefacts(ct, synthetic_ct, counted, spacing, scores.notes))
    return scores


def score_diversity(
    outputs: Sequence[sitk.Image], names: Sequence[str], mask: sitk.Image | None = None
) -> dict[str, float]:
    """Return ``diversity_hu`` of several outputs of one stochastic method for one input.

    Parameters
    ----------
    outputs
        In HU, on one grid.
    names
        What messages call them.
    mask
        Voxels other than 0 count; resampled (nearest) where it is on another grid. None: everywhere.

    Raises
    ------
    UserError
        Outputs on different grids.
    """
    for output, name in zip(outputs, names, strict=True):
        require_same_grid(outputs[0], output, (str(names[0]), str(name)))
    if mask is not None:
        mask = resample_onto(mask, outputs[0], interpolation="nearest", outside=0)
    inside = None if mask is None else array_of(mask) != 0
    return {"diversity_hu": diversity([array_of(output) for output in outputs], inside)}


def score_arrays(
    reference: NDArray[np.generic],
    synthetic: NDArray[np.generic],
    mask: NDArray[np.bool_] | None = None,
    notes: list[str] | None = None,
    spacing: Sequence[float] | None = None,
) -> Scores:
    """Score two arrays (z, y, x, HU) of one shape over ``mask`` (None: everywhere).

    ``spacing`` is x, y, z in mm of arrays that lie axial (z through the slices); without it slice jump and
    checkerboard are left out.
    """
    notes = list(notes or [])
    values = {
        "mae_hu": mae(reference, synthetic, mask),
        "me_hu": mean_error(reference, synthetic, mask),
        "psnr_2500_db": psnr(reference, synthetic, mask, data_range=2500),
        "psnr_synthrad2023_db": psnr(reference, synthetic, mask, data_range=4024, clip=SYNTHRAD_2023),
        "psnr_synthrad2025_db": psnr(reference, synthetic, mask, data_range=4095, clip=SYNTHRAD_2025),
        "ssim_synthrad2023": math.nan,
        "msssim_synthrad2025": math.nan,
    }
    core = tuple(slice(WINDOW // 2, -(WINDOW // 2)) for _ in range(3))
    if min(reference.shape) < WINDOW:
        notes.append(f"SSIM is left out: it needs at least {WINDOW} voxels along every axis.")
    elif mask is not None and not mask[core].any():
        notes.append("SSIM is left out: the mask lies within three voxels of the volume's faces.")
    else:
        values["ssim_synthrad2023"] = ssim_synthrad2023(reference, synthetic, mask)
        values["msssim_synthrad2025"] = msssim_synthrad2025(reference, synthetic, mask)
        if min(reference.shape) < SMALLEST_SIDE:
            notes.append(f"MS-SSIM is computed on a volume edge-padded to {SMALLEST_SIDE} voxels per axis.")
    everywhere = mask if mask is not None else np.ones(reference.shape, dtype=bool)
    for tissue in TISSUES:
        region = tissue_mask(reference, tissue) & everywhere
        values[f"mae_{tissue}_hu"] = mae(reference, synthetic, region) if region.any() else math.nan
        if not region.any():
            notes.append(f"No voxel of the reference that counts is {tissue}: its error is not defined.")
    for tissue in ("bone", "air"):
        values[f"dice_{tissue}"] = dice(
            tissue_mask(reference, tissue) & everywhere, tissue_mask(synthetic, tissue) & everywhere
        )
    if spacing is not None:
        values.update(_artefacts(reference, synthetic, mask, spacing, notes))
    if not values["mae_hu"]:
        notes.append("Both images are equal in every voxel that counts: PSNR is infinite. Is it the same file twice?")
    return Scores(values, WHOLE if mask is None else MASKED, int(np.count_nonzero(everywhere)), notes)


def _artefacts(
    reference: NDArray[Any],
    synthetic: NDArray[Any],
    mask: NDArray[Any] | None,
    spacing: Sequence[float],
    notes: list[str],
) -> dict[str, float]:
    """Slice jump and checkerboards of axial arrays."""
    jump = slice_jump(reference, synthetic, spacing, mask)
    if math.isnan(jump):
        notes.append("The slice jump is left out: the error is the same everywhere, or the mask is too small.")
    ratios = {f"checkerboard_stride{n}": checkerboard_ratio(reference, synthetic, n, mask) for n in (2, 4)}
    return {"slice_jump": jump, **ratios}


def write_csv(rows: Mapping[str, Scores], path: Path) -> None:
    """Write one line per case, its name and every score."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["case", "region", *DEFINITIONS])
    for case, scores in rows.items():
        writer.writerow([case, scores.region, *(scores.values.get(name, math.nan) for name in DEFINITIONS)])
    write_whole(path, text.getvalue())
