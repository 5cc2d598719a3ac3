"""Places in a body where an MR has no signal: gas, metal and its surroundings, thick cortical bone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from synthct.volumes.geometry import Triple, array_of, back_from_axial, grid_of, same_grid, to_axial

_SKIN_MM = 5.0
_THIN_MM = 2.0
_DARK = 0.1
_DARK_IN_NOISE = 0.25


@dataclass(frozen=True)
class Void:
    """One connected place without signal.

    Attributes
    ----------
    label
        Its number in the label map.
    volume_ml
        Its size.
    centre
        LPS in mm of its centre of mass.
    """

    label: int
    volume_ml: float
    centre: Triple


def signal_voids(mr: sitk.Image, body: sitk.Image, least_ml: float = 1.0) -> tuple[list[Void], sitk.Image]:
    """Find connected places of near-zero signal inside the body, the largest first.

    Near zero is less than a tenth of the way from the background outside the body to the body's median; where the
    background itself is brighter (noise), its 95th percentile, a quarter of the way at most. The outermost 5 mm in
    the axial plane do not count, nor what is thinner than about 4 mm: skin, fascia and thin cortical bone.

    Parameters
    ----------
    mr
        3D, any unit and orientation.
    body
        Mask on the grid of ``mr``, its cavities included.
    least_ml
        Smaller ones are left out.

    Returns
    -------
    list of Void, SimpleITK.Image
        The voids, and a label map of them (uint32) on the grid of ``mr``.

    Raises
    ------
    ValueError
        The mask lies on another grid or is empty.
    """
    if not same_grid(mr, body):
        raise ValueError("the mask must lie on the MR's grid")
    values, inside = array_of(mr), array_of(body) != 0
    if not inside.any():
        raise ValueError("the body is empty")
    dark = sitk.GetImageFromArray((values < _dark_below(values, inside)).astype(np.uint8))
    dark.CopyInformation(mr)
    upright, mask = to_axial(dark), to_axial(sitk.Cast(body != 0, sitk.sitkUInt8))
    mask = sitk.BinaryErode(mask, _radius(mask, _SKIN_MM), sitk.sitkBall)
    found = sitk.BinaryMorphologicalOpening(upright * mask, _radius(mask, _THIN_MM), sitk.sitkBall)
    smallest = max(1, round(least_ml * 1000 / float(np.prod(mr.GetSpacing()))))
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(found), minimumObjectSize=smallest)
    labels = back_from_axial(sitk.Cast(labels, sitk.sitkUInt32), mr)
    return _described(labels), labels


def _dark_below(values: np.ndarray, inside: np.ndarray) -> float:
    """The value below which a voxel has no signal."""
    outside = values[~inside]
    zero = float(np.median(outside)) if outside.size else float(values.min())
    noise = float(np.percentile(outside, 95)) if outside.size else zero
    reach = max(float(np.median(values[inside])) - zero, 0.0)
    return float(np.clip(noise, zero + _DARK * reach, zero + _DARK_IN_NOISE * reach))


def _radius(image: sitk.Image, length_mm: float) -> list[int]:
    """Radius in voxels, in the axial plane alone: the volume's ends cut the body."""
    return [max(1, round(length_mm / step)) for step in image.GetSpacing()[:2]] + [0]


def _described(labels: sitk.Image) -> list[Void]:
    array = array_of(labels)
    places = np.nonzero(array)
    numbers = array[places]
    counts = np.bincount(numbers)
    grid = grid_of(labels)
    voids = []
    for label in range(1, len(counts)):
        index = [np.bincount(numbers, weights=axis)[label] / counts[label] for axis in reversed(places)]
        centre = (grid.index_to_world @ (*index, 1))[:3]
        volume = counts[label] * float(np.prod(grid.spacing)) / 1000
        voids.append(Void(label, volume, tuple(float(value) for value in centre)))  # type: ignore[arg-type]
    return voids
