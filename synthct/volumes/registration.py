"""Lay a CT onto an MR of the same patient, and prove that it helped.

Mattes mutual information, coarse to fine, from several starts including identity. Mutual information alone is easily
fooled (a limb slipping along its axis, a cropped field of view, the couch), so a result is accepted only when three
measures on the same voxels agree; otherwise the images stay where the scanner put them and the reason is told.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.agreement import Agreement, Judge, verdict
from synthct.volumes.body import body_mask
from synthct.volumes.couch import body_without_couch, remove_couch
from synthct.volumes.geometry import resample_onto, resample_to_spacing

KINDS = ("rigid", "affine", "bspline")
_SOFT_WINDOW_HU = (-250.0, 600.0)
_COARSE_MM, _FINE_MM = 6.0, 3.0
_SEARCH_MM = (-30.0, -15.0, 0.0, 15.0, 30.0)
_REACH_MM = 40.0
_CONTROL_POINT_MM = 50.0
_LARGEST_BEND_MM = 15.0
_BEND_VOXELS = 30_000
_BEND_STEPS = 25  # more steps still raise the mutual information, but no longer lower the residual


@dataclass(frozen=True)
class Registration:
    """What came of a registration.

    Attributes
    ----------
    transform
        Maps LPS points of the fixed image to points of the moving one (SimpleITK's sense); identity when nothing was
        accepted.
    accepted
        Whether ``transform`` is anything but identity.
    kind
        What ``transform`` is: ``"identity"``, ``"rigid"``, ``"affine"`` or ``"bspline"``.
    before, after
        The agreement at identity and at the transform, on the same voxels. When nothing was accepted, ``after`` is
        that of the best candidate.
    reason
        One sentence per step: what was accepted or why it was not.
    """

    transform: sitk.Transform
    accepted: bool
    kind: str
    before: Agreement
    after: Agreement
    reason: str


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let ITK use one thread: several add up a B-spline's gradient in any order, and the descent goes elsewhere."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@_one_thread()
def register(
    fixed: sitk.Image,
    moving: sitk.Image,
    kind: str = "rigid",
    fixed_mask: sitk.Image | None = None,
    events: Events = SILENT,
    seed: int = 0,
) -> Registration:
    """Find where the CT ``moving`` lies on the MR ``fixed``.

    Parameters
    ----------
    fixed
        3D MR.
    moving
        3D CT in HU; its couch is ignored.
    kind
        ``"rigid"``; ``"affine"`` and ``"bspline"`` start from the accepted rigid result (the latter from identity as
        well: where a limb is bent, the rigid optimum may sit on the fat and off the bone) and must improve on it.
    fixed_mask
        Body mask on the grid of ``fixed``; None: `body_mask`.
    events
        Told about the steps, and warned when identity is kept.
    seed
        Of the voxels drawn for the metric. One thread is used, so that the same seed gives the same transform.

    Raises
    ------
    UserError
        For an unknown ``kind``, and where no body is found in one of the images.
    """
    if kind not in KINDS:
        raise UserError(f"There is no registration called {kind!r}.", f"Known are {', '.join(KINDS)}.")
    mask = fixed_mask if fixed_mask is not None else body_mask(fixed, "mr")
    pair = _Pair(fixed, moving, mask, seed)
    judge = Judge(fixed, mask, pair.ct, pair.ct_body)
    steps = 1 + (kind != "rigid")
    identity = sitk.Transform(3, sitk.sitkIdentity)

    events.progress(0, steps, "registration", "rigid")
    current: sitk.Transform = identity
    candidates = [(candidate, *judge.compare(identity, candidate)) for candidate in _rigid_candidates(pair)]
    judged = [(verdict(before, after), candidate, before, after) for candidate, before, after in candidates]
    refusal, candidate, before, after = min(judged, key=lambda item: (bool(item[0]), item[3].residual_hu))
    reasons = [f"rigid: {refusal or 'accepted'}"]
    done = "identity"
    if not refusal:
        current, done = candidate, "rigid"

    if kind != "rigid":
        events.progress(1, steps, "registration", kind)
        starts = [current] if kind == "affine" or done == "identity" else [current, identity]
        refined = [(_affine if kind == "affine" else _bspline)(pair, start) for start in starts]
        against_current = [judge.compare(current, candidate) for candidate in refined]
        verdicts = [
            verdict(*pairing, shrinkage=smallest_jacobian(candidate, mask))
            for candidate, pairing in zip(refined, against_current, strict=True)
        ]
        best = min(range(len(refined)), key=lambda i: (bool(verdicts[i]), against_current[i][1].residual_hu))
        reasons.append(f"{kind}: {verdicts[best] or 'accepted'}")
        if not verdicts[best]:
            current, done = refined[best], kind
            before, after = judge.compare(identity, current)
    events.progress(steps, steps, "registration", done)
    reason = "; ".join(reasons)
    if done == "identity":
        events.warning("The registration was not accepted; the images stay as they are.", reason, "Look at the pair.")
    return Registration(current, done != "identity", done, before, after, reason)


def smallest_jacobian(transform: sitk.Transform, mask: sitk.Image, spacing_mm: float = 6.0) -> float:
    """Return the smallest Jacobian determinant of a transform within a mask: 1 keeps volumes, ≤ 0 folds space."""
    coarse = resample_to_spacing(sitk.Cast(mask, sitk.sitkUInt8), [spacing_mm] * 3, "nearest", 0)
    to_field = sitk.TransformToDisplacementFieldFilter()
    to_field.SetReferenceImage(coarse)
    determinants = sitk.DisplacementFieldJacobianDeterminant(to_field.Execute(transform))
    inside = sitk.GetArrayViewFromImage(coarse) != 0
    values = sitk.GetArrayViewFromImage(determinants)[inside]
    return float(values.min()) if values.size else 1.0


class _Pair:
    """Both images made ready for the metric, at the two resolutions used.

    The CT is continued outwards by its border values: points outside of it then neither drop out of the metric (which
    would reward leaving the body) nor meet an edge of air that is not there.
    """

    def __init__(self, fixed: sitk.Image, moving: sitk.Image, mask: sitk.Image, seed: int) -> None:
        self.seed = seed
        self.ct_body = body_without_couch(moving)
        self.ct = sitk.Cast(remove_couch(moving), sitk.sitkFloat32)
        mr = sitk.Cast(fixed, sitk.sitkFloat32)
        low, high = np.percentile(sitk.GetArrayViewFromImage(mr), [0.5, 99.5])
        mr = sitk.Clamp(mr, sitk.sitkFloat32, float(low), float(high))
        ct = sitk.Clamp(self.ct, sitk.sitkFloat32, *_SOFT_WINDOW_HU)
        border = [int(np.ceil(_REACH_MM / spacing)) for spacing in ct.GetSpacing()]
        ct = sitk.ZeroFluxNeumannPad(ct, border, border)
        margin = [max(1, round(10.0 / spacing)) for spacing in mask.GetSpacing()]
        region = sitk.BinaryDilate(sitk.Cast(mask, sitk.sitkUInt8), margin)
        self.levels = {mm: (_at(mr, mm), _at(ct, mm), _region_at(region, mr, mm)) for mm in (_COARSE_MM, _FINE_MM)}
        self.centre = _centre_of(mask)
        self.moving_centre = _centre_of(self.ct_body)

    def method(self, level: float, voxels: int | None = None) -> sitk.ImageRegistrationMethod:
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=40)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetMetricFixedMask(self.levels[level][2])
        available = int(sitk.GetArrayViewFromImage(self.levels[level][2]).sum())
        if voxels is not None and voxels < available:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(voxels / available, self.seed + 1)  # 0 would mean the clock
        return method

    def metric(self, transform: sitk.Transform, level: float) -> float:
        method = self.method(level)
        method.SetInitialTransform(transform)
        return float(method.MetricEvaluate(*self.levels[level][:2]))


def _at(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Smooth and resample to voxels of about ``spacing_mm``, never finer than the image."""
    spacing = [max(spacing_mm, value) for value in image.GetSpacing()]
    sigma = [max(0.5 * (new - old), 0.0) for new, old in zip(spacing, image.GetSpacing(), strict=True)]
    smooth = sitk.DiscreteGaussian(image, [max(value * value, 1e-6) for value in sigma])
    return resample_to_spacing(smooth, spacing)


def _region_at(region: sitk.Image, image: sitk.Image, spacing_mm: float) -> sitk.Image:
    reference = resample_to_spacing(image, [max(spacing_mm, value) for value in image.GetSpacing()])
    return resample_onto(region, reference, "nearest", 0)


def _centre_of(mask: sitk.Image) -> np.ndarray:
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(sitk.Cast(mask, sitk.sitkUInt8))
    return np.array(statistics.GetCentroid(1))


def _rigid(pair: _Pair, shift: np.ndarray) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(pair.centre.tolist())
    transform.SetTranslation([float(value) for value in shift])
    return transform


def _rigid_candidates(pair: _Pair) -> list[sitk.Transform]:
    """The ends of the best runs: identity, the centres of both bodies, and the best of a grid of shifts."""
    grid = [np.array(shift) for shift in itertools.product(_SEARCH_MM, repeat=3) if any(shift)]
    grid.sort(key=lambda shift: pair.metric(_rigid(pair, shift), _COARSE_MM))
    starts = [np.zeros(3), pair.moving_centre - pair.centre, *grid[:2]]
    coarse = [_descend(pair, _rigid(pair, shift), _COARSE_MM, 4.0) for shift in starts]
    coarse.sort(key=lambda end: pair.metric(end, _COARSE_MM))
    return [_descend(pair, end, _FINE_MM, 2.0) for end in _different(coarse, pair.centre)[:2]]


def _different(transforms: list[sitk.Transform], centre: np.ndarray) -> list[sitk.Transform]:
    """Drop those that bring points 50 mm around the centre within 2 mm of where a better one brings them."""
    points = centre + 50.0 * np.vstack([np.eye(3), -np.eye(3)])
    kept: list[tuple[sitk.Transform, np.ndarray]] = []
    for transform in transforms:
        there = np.array([transform.TransformPoint(point.tolist()) for point in points])
        if all(np.linalg.norm(there - other, axis=1).max() > 2.0 for _, other in kept):
            kept.append((transform, there))
    return [transform for transform, _ in kept]


def _descend(pair: _Pair, start: sitk.Transform, level: float, step_mm: float) -> sitk.Transform:
    method = pair.method(level)
    method.SetOptimizerAsRegularStepGradientDescent(step_mm, 0.001, 100, 0.7, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(*pair.levels[level][:2])


def _affine(pair: _Pair, start: sitk.Transform) -> sitk.Transform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(pair.centre.tolist())
    method = pair.method(_FINE_MM)
    method.SetOptimizerAsRegularStepGradientDescent(0.5, 0.001, 100, 0.7, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetMovingInitialTransform(start)
    method.SetInitialTransform(affine, inPlace=False)
    return _chain(start, method.Execute(*pair.levels[_FINE_MM][:2]))


def _bspline(pair: _Pair, start: sitk.Transform) -> sitk.Transform:
    fixed, moving, _ = pair.levels[_FINE_MM]
    extent = np.array(fixed.GetSize()) * fixed.GetSpacing()
    mesh = [max(1, round(length / _CONTROL_POINT_MM)) for length in extent]
    method = pair.method(_FINE_MM, _BEND_VOXELS)
    method.SetOptimizerAsLBFGSB(
        1e-6, _BEND_STEPS, 5, 500, 100.0, lowerBound=-_LARGEST_BEND_MM, upperBound=_LARGEST_BEND_MM
    )
    method.SetMovingInitialTransform(start)
    method.SetInitialTransform(sitk.BSplineTransformInitializer(fixed, mesh, 3), inPlace=False)
    return _chain(start, method.Execute(fixed, moving))


def _chain(first: sitk.Transform, last: sitk.Transform) -> sitk.Transform:
    """A point goes through ``last``, then through ``first``."""
    chain = sitk.CompositeTransform(3)
    for transform in (first, last):
        if transform.GetName() != "IdentityTransform":
            chain.AddTransform(transform)
    chain.FlattenTransform()
    return chain
