"""Water-equivalent depth along parallel rays, and how far a synthetic CT's differs from the CT's.

The water-equivalent depth of a point is the integral of a density relative to water (electron density for photons,
stopping power for protons) along the ray from the skin to it, in mm. It is what range and attenuation depend on.

Gantry angles are IEC 61217's for a patient who lies head first and supine: 0° comes from the front, 90° from the
patient's left, 180° from the back. Rays run at right angles to the patient's long axis, so with LPS axes the
direction of a beam is (−sin θ, cos θ, 0). For another position the angles mean the patient's sides, not the gantry's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import Grid, Triple, array_of, grid_of, image_from_array, resample_onto, same_grid

_SLAB_VOXELS = 8_000_000
_SHORTEST_MM = 5.0
"""A ray that runs through less of the body than this does not count: it grazes the skin."""
_STEP = 0.5
"""Of the smallest voxel side: distance of the samples along a ray."""


@dataclass(frozen=True)
class DepthProfile:
    """Water-equivalent depth along one ray.

    Attributes
    ----------
    angle
        Gantry angle in degrees.
    depth_mm
        Geometric depth behind the skin, from 0, ascending, shape (n,).
    water_mm
        Water-equivalent depth of each volume at these depths, by the volume's name.
    """

    angle: float
    depth_mm: np.ndarray
    water_mm: dict[str, np.ndarray]


@dataclass(frozen=True)
class PathDifference:
    """Total water-equivalent path of every ray of one beam direction.

    Attributes
    ----------
    angle
        Gantry angle in degrees.
    reference_mm, synthetic_mm
        Path through the whole body, shape (z, u): z towards the head, u to the right of who looks along the beam with
        the head up. NaN where a ray misses the body.
    spacing_mm
        Distance of the rays along z and u.
    """

    angle: float
    reference_mm: np.ndarray
    synthetic_mm: np.ndarray
    spacing_mm: tuple[float, float]

    @property
    def difference_mm(self) -> np.ndarray:
        """Synthetic − reference, NaN where a ray misses the body."""
        return self.synthetic_mm - self.reference_mm

    def numbers(self) -> dict[str, float]:
        """Mean, SD, mean and largest absolute difference, and the 95th percentile of it, in mm over the rays.

        ``rays`` is their number; without any the others are NaN.
        """
        hit = self.difference_mm[np.isfinite(self.difference_mm)]
        if not hit.size:
            return {
                "rays": 0,
                **dict.fromkeys(("mean_mm", "sd_mm", "mean_abs_mm", "p95_abs_mm", "max_abs_mm"), math.nan),
            }
        size = np.abs(hit)
        return {
            "rays": int(hit.size),
            "mean_mm": float(hit.mean()),
            "sd_mm": float(hit.std()),
            "mean_abs_mm": float(size.mean()),
            "p95_abs_mm": float(np.percentile(size, 95)),
            "max_abs_mm": float(size.max()),
        }


def beam_direction(angle: float) -> Triple:
    """LPS unit vector along which a beam of this gantry angle (degrees) runs through the patient."""
    radians = math.radians(angle)
    return (-math.sin(radians), math.cos(radians), 0.0)


def body_centre(body: sitk.Image) -> Triple:
    """LPS position in mm of the centre of mass of a mask.

    Raises
    ------
    UserError
        The mask is empty.
    """
    places = np.argwhere(array_of(body) != 0)
    if not places.size:
        raise UserError("The body mask is empty.", "No ray can go through it.", "Give a mask that covers the body.")
    index = places.mean(axis=0)[::-1]
    return tuple(float(value) for value in (grid_of(body).index_to_world @ (*index, 1))[:3])  # type: ignore[return-value]


def depth_profile(densities: dict[str, sitk.Image], body: sitk.Image, angle: float, point: Triple) -> DepthProfile:
    """Water-equivalent depth along the ray of a gantry angle through a point, from the skin to the far side.

    Parameters
    ----------
    densities
        Name → density relative to water on any grid (as from `synthct.volumes.density.density_image`).
    body
        1 inside the body; nothing outside it (a couch) counts. Any grid.
    angle
        Gantry angle in degrees.
    point
        LPS in mm.

    Raises
    ------
    UserError
        The ray misses the body.
    """
    step = _STEP * min(min(image.GetSpacing()) for image in [*densities.values(), body])
    direction = np.array(beam_direction(angle))
    along = (grid_of(body).corners() - point) @ direction
    margin = max(body.GetSpacing())
    start = np.array(point) + (along.min() - margin) * direction
    count = math.ceil((along.max() - along.min() + 2 * margin) / step)
    # one ray is a grid of one column: its first axis runs along the beam
    ray = Grid((count, 1, 1), (step, 1.0, 1.0), tuple(start + step / 2 * direction), _axes(angle))  # type: ignore[arg-type]
    inside = array_of(resample_onto(sitk.Cast(body != 0, sitk.sitkFloat32), ray, "linear", 0)).ravel()
    places = np.flatnonzero(inside >= 0.5)
    if not places.size:
        where = ", ".join(f"{value:.0f}" for value in point)
        raise UserError(
            f"The ray at {angle:g}° through ({where}) misses the body.",
            "The point is in LPS coordinates in mm.",
            "Choose a point inside the body.",
        )
    first, last = places[0], places[-1] + 1
    water = {}
    for name, image in densities.items():
        values = array_of(resample_onto(_inside(image, body), ray, "linear", 0)).ravel().astype(np.float64)
        # what blurs over the skin by interpolation belongs to the first and last voxel of the body
        water[name] = np.concatenate([[0.0], np.cumsum(values[first:last]) * step]) + values[:first].sum() * step
        water[name][0] = 0.0
        water[name][-1] += values[last:].sum() * step
    return DepthProfile(angle, np.arange(last - first + 1) * step, water)


def path_difference(
    reference: sitk.Image, synthetic: sitk.Image, body: sitk.Image, angle: float, ray_mm: float | None = None
) -> PathDifference:
    """Total water-equivalent path of parallel rays of one gantry angle, through two density volumes.

    Parameters
    ----------
    reference, synthetic
        Densities relative to water on one grid.
    body
        1 inside, on the same grid; nothing outside counts.
    ray_mm
        Distance of the rays; None: the middle one of the three voxel sides.
    """
    step = _STEP * min(reference.GetSpacing())
    distance = ray_mm or sorted(reference.GetSpacing())[1]
    mask = sitk.Cast(body != 0, sitk.sitkFloat32)
    volumes = [mask, *(_inside(image, body) for image in (reference, synthetic))]
    beam = _beam_grid(grid_of(reference), angle, step, distance)
    samples, across, up = beam.size
    paths = np.zeros((3, up, across))
    slab = max(1, _SLAB_VOXELS // (samples * across))
    for start in range(0, up, slab):
        count = min(slab, up - start)
        origin = tuple(float(value) for value in (beam.index_to_world @ (0, 0, start, 1))[:3])
        part = Grid((samples, across, count), beam.spacing, origin, beam.direction)  # type: ignore[arg-type]
        for path, volume in zip(paths, volumes, strict=True):
            path[start : start + count] = array_of(resample_onto(volume, part, "linear", 0)).sum(axis=2) * step
    hit = paths[0] >= _SHORTEST_MM
    first, second = (np.where(hit, path, np.nan)[:, ::-1] for path in paths[1:])
    return PathDifference(angle, first, second, (distance, distance))


def common_body(reference: sitk.Image, bodies: Sequence[sitk.Image], covered: Sequence[sitk.Image] = ()) -> sitk.Image:
    """Return the union of body masks on the grid of ``reference``, cut to where all images of ``covered`` reach."""
    inside = np.zeros(reference.GetSize()[::-1], bool)
    for body in bodies:
        inside |= array_of(body if same_grid(body, reference) else resample_onto(body, reference, "nearest", 0)) != 0
    for image in covered:
        everywhere = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
        everywhere.CopyInformation(image)
        inside &= array_of(resample_onto(everywhere, reference, "nearest", 0)) != 0
    return image_from_array(inside, reference)


def _inside(image: sitk.Image, body: sitk.Image) -> sitk.Image:
    """The density inside the body, 0 outside, float32 on its own grid."""
    mask = body if same_grid(image, body) else resample_onto(body, image, "nearest", 0)
    return sitk.Mask(sitk.Cast(image, sitk.sitkFloat32), sitk.Cast(mask != 0, sitk.sitkUInt8), 0.0)


def _axes(angle: float) -> tuple[float, ...]:
    """Direction matrix of a beam's grid: along the beam, across it (to the left of who looks along), to the head."""
    along = np.array(beam_direction(angle))
    head = np.array([0.0, 0.0, 1.0])
    return tuple(np.stack([along, np.cross(head, along), head], axis=1).ravel().tolist())


def _beam_grid(grid: Grid, angle: float, step: float, distance: float) -> Grid:
    """Smallest grid along a beam that covers every voxel of ``grid`` to its faces."""
    axes = np.reshape(_axes(angle), (3, 3))
    half = np.abs(axes.T @ (np.reshape(grid.direction, (3, 3)) * np.asarray(grid.spacing))).sum(axis=1) / 2
    corners = grid.corners() @ axes
    low, high = corners.min(axis=0) - half, corners.max(axis=0) + half
    spacing = np.array([step, distance, distance])
    size = np.maximum(1, np.ceil((high - low) / spacing - 1e-6)).astype(int)
    middle = (low + high) / 2
    origin = axes @ (middle - (size - 1) / 2 * spacing)
    return Grid(tuple(size.tolist()), tuple(spacing.tolist()), tuple(origin.tolist()), _axes(angle))
