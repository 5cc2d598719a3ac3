"""How well a CT lies on an MR, measured before and after on the same voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from synthct.volumes.geometry import grid_with_spacing, resample_onto
from synthct.volumes.hu import AIR_HU
from synthct.volumes.lookup import residual

_WORKING_MM = 2.0
_MARGIN_MM = 10.0
_BINS = 48
_WINDOW_HU = (-300.0, 700.0)
_LEAST_COVERAGE = 0.7
_LEAST_EXPLAINED = 0.05
_LEAST_GAIN = 0.003
_DICE_SLACK = 0.005
_LEAST_DICE = 0.9
_LEAST_JACOBIAN = 0.1


@dataclass(frozen=True)
class Agreement:
    """Three views of one alignment, and what they were measured on.

    Attributes
    ----------
    mutual_information
        In nats, of a joint histogram over the body and 10 mm around it.
    body_dice
        Overlap of the two body masks inside the common field of view.
    residual_hu
        Mean |CT − look-up(MR)| in the MR's body, the look-up fitted to this alignment: see `lookup.residual`.
    constant_hu
        The same for the best constant in place of the look-up.
    coverage
        Share of the MR's body that was measured: where the CT reaches before and after.
    """

    mutual_information: float
    body_dice: float
    residual_hu: float
    constant_hu: float = float("nan")
    coverage: float = 1.0


class Judge:
    """Measures alignments of one pair.

    Parameters
    ----------
    mr, mask
        Fixed image and its body mask, on one grid.
    ct, ct_body
        Moving image in HU without couch, and its body mask, on one grid.
    """

    def __init__(self, mr: sitk.Image, mask: sitk.Image, ct: sitk.Image, ct_body: sitk.Image) -> None:
        grid = grid_with_spacing(mr, [max(_WORKING_MM, value) for value in mr.GetSpacing()])
        self._grid, self._ct, self._ct_body = grid, ct, sitk.Cast(ct_body, sitk.sitkUInt8)
        self._field = sitk.Add(sitk.Multiply(self._ct_body, 0), 1)
        body = resample_onto(sitk.Cast(mask, sitk.sitkUInt8), grid, "nearest", 0)
        margin = [max(1, round(_MARGIN_MM / value)) for value in grid.spacing]
        self._body = sitk.GetArrayFromImage(body) != 0
        self._region = sitk.GetArrayFromImage(sitk.BinaryDilate(body, margin)) != 0
        self._mr = sitk.GetArrayFromImage(resample_onto(sitk.Cast(mr, sitk.sitkFloat32), grid))
        values = self._mr[self._region]
        self._mr_bins = np.unique(np.quantile(values, np.arange(1, _BINS) / _BINS))

    def compare(self, before: sitk.Transform, after: sitk.Transform) -> tuple[Agreement, Agreement]:
        """Measure two transforms on the voxels that the CT reaches with both of them."""
        sampled = [self._sample(transform) for transform in (before, after)]
        common = sampled[0][2] & sampled[1][2]
        wanted = self._body & sampled[0][2]
        coverage = float((self._body & common).sum() / max(1, wanted.sum()))
        if not (self._body & common).any():
            nothing = Agreement(0.0, 0.0, float("inf"), float("inf"), 0.0)
            return nothing, nothing
        first, second = (self._measure(ct, body, common, coverage) for ct, body, _ in sampled)
        return first, second

    def _sample(self, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ct = resample_onto(self._ct, self._grid, "linear", AIR_HU, transform)
        body = resample_onto(self._ct_body, self._grid, "nearest", 0, transform)
        field = resample_onto(self._field, self._grid, "nearest", 0, transform)
        return sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(body) != 0, sitk.GetArrayFromImage(field) != 0

    def _measure(self, ct: np.ndarray, ct_body: np.ndarray, common: np.ndarray, coverage: float) -> Agreement:
        body, region = self._body & common, self._region & common
        both = 2.0 * (body & ct_body).sum() / max(1, body.sum() + (ct_body & common).sum())
        inside = ct[body]
        return Agreement(
            _mutual_information(np.searchsorted(self._mr_bins, self._mr[region]), ct[region], len(self._mr_bins) + 1),
            float(both),
            residual(self._mr, ct, body),
            float(np.abs(inside - np.median(inside)).mean()),
            coverage,
        )


def verdict(before: Agreement, after: Agreement, shrinkage: float = 1.0) -> str:
    """Return why ``after`` is not better than ``before``, or an empty text when all three measures agree that it is.

    Parameters
    ----------
    before, after
        Of `Judge.compare`.
    shrinkage
        The smallest Jacobian determinant of the transform; at 0 and below it folds space.
    """
    if after.coverage < _LEAST_COVERAGE:
        return f"leaves the CT's field of view ({after.coverage:.0%} of the body covered)"
    against = []
    if after.mutual_information < before.mutual_information * (1 + _LEAST_GAIN):
        against.append(f"mutual information {before.mutual_information:.3f} → {after.mutual_information:.3f}")
    if after.body_dice < before.body_dice - _DICE_SLACK:
        against.append(f"body Dice {before.body_dice:.3f} → {after.body_dice:.3f}")
    if after.residual_hu > before.residual_hu * (1 - _LEAST_GAIN):
        against.append(f"look-up residual {before.residual_hu:.1f} → {after.residual_hu:.1f} HU")
    if against:
        return "no better: " + ", ".join(against)
    if after.body_dice < _LEAST_DICE:
        return f"the bodies do not match (Dice {after.body_dice:.3f} at best)"
    if after.residual_hu > after.constant_hu * (1 - _LEAST_EXPLAINED):
        found = f"look-up {after.residual_hu:.1f} HU, constant {after.constant_hu:.1f} HU"
        return f"the MR explains nothing of the CT ({found})"
    if shrinkage <= _LEAST_JACOBIAN:
        return f"space folds (smallest Jacobian {shrinkage:.2f})"
    return ""


def _mutual_information(mr_bin: np.ndarray, ct: np.ndarray, mr_bins: int) -> float:
    """Mutual information in nats of MR bins and CT values clipped to soft tissue and bone."""
    low, high = _WINDOW_HU
    ct_bin = np.clip((ct - low) / (high - low) * _BINS, 0, _BINS - 1).astype(np.int64)
    joint = np.bincount(mr_bin * _BINS + ct_bin, minlength=mr_bins * _BINS).reshape(mr_bins, _BINS).astype(float)
    joint /= joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / independent[filled])).sum())
