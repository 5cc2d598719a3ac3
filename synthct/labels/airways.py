"""Windpipe and main bronchi in a CT, so that they do not count as lung."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from synthct.volumes.geometry import array_of, back_from_axial, image_from_array, resample_onto, to_axial

_WORKING_MM = 1.2
_BLUR_MM, _DARKER_BLUR_MM = 0.8, 1.6
"""The second where only darkness tells: else noise would make a sponge of the lung beside it."""
_AIR_HU = -500.0
_DARKER_HU = (-600.0, -700.0, -800.0, -850.0, -900.0, -925.0, -950.0, -975.0)
"""Tried in turn where a wall is missing: the air of the windpipe is about −1000 HU, lungs are about −850."""
_DARKER_MORE = 1.5
_SMALL_BRANCH_MM2, _SMALL_BRANCH_HU = 60.0, -800.0
"""A small branch that only a darker threshold tells from the lung is lung."""
_TUBE_MM2 = (50.0, 900.0)
_TUBE_HU = -750.0
_TUBE_ELONGATION = 2.5
_TUBE_FILLED = 0.8
_TUBE_DEPTH_MM = 10.0
_TUBE_LENGTH_MM = 15.0
_MIDLINE_MM = 45.0
_LUNG_MM2 = 1200.0
_LUNGS_ML = 200.0
_UPPER = 0.4
"""A windpipe is seen first above this share of the lungs' height."""
_BRANCH_MM2 = 25.0
_WIDER, _WIDER_MM = 1.5, 1.0
_WINDPIPE_MM = 6.0
"""Radius of a narrow windpipe; what is narrower is the larynx above it."""
_REACH_MM = 3.0
_BACK_TO_WALL_MM = 1.5
_WITHOUT_WALL_MM = 15.0
_FORKED_MM = 15.0
_BELOW_FORK_MM = 35.0


def find_airways(ct: sitk.Image, body: sitk.Image) -> sitk.Image:
    """Mark windpipe and main bronchi, with the rim that shares its voxels with the wall.

    A round tube of air near the body's midline, at least 15 mm long and above or in the upper part of the lungs, is
    followed downwards slice by slice. In every slice it may move and widen a little; where it widens more, a wall is
    missing, and darker thresholds are tried until it does not (region growing held by the explosion of its size: Mori
    et al., IEEE Trans. Med. Imaging 19 (2000) 103, here for each slice). Where none helps it keeps its shape for up to
    15 mm. 35 mm below the fork it ends.

    Parameters
    ----------
    ct
        3D CT in HU.
    body
        Not 0 inside the body, its cavities included; on the grid of ``ct``.

    Returns
    -------
    SimpleITK.Image
        uint8, 1 in the airways, on the grid of ``ct``; empty where there are no lungs, or no tube was found that leads
        down into them (a CT that begins at or below the fork, or of one side alone).
    """
    axial, inside = to_axial(ct), to_axial(body)
    factors = [max(1, round(_WORKING_MM / side)) for side in axial.GetSpacing()[:2]]
    factors = [min(factor, n) for factor, n in zip(factors, axial.GetSize()[:2], strict=True)]
    coarse = sitk.BinShrink(sitk.Cast(axial, sitk.sitkFloat32), [*factors, 1])
    within = array_of(resample_onto(inside, coarse)) != 0
    chest = _Chest(array_of(coarse)[::-1], within[::-1], coarse.GetSpacing())
    found = np.zeros(within.shape, bool)
    for first, tube in chest.tubes():
        if not (found[first] & tube).any():
            chest.follow(first, tube, found)
    rim = max(_BACK_TO_WALL_MM, 1.01 * max(coarse.GetSpacing()[:2]))
    for plane in found:
        if plane.any():
            plane |= _grown(plane, rim, chest.pixel)
    marked = image_from_array(found[::-1].astype(np.uint8), coarse)
    return back_from_axial(resample_onto(marked, axial), ct)


@dataclass
class _Branch:
    """A tube's cross-section in one slice."""

    plane: np.ndarray
    area: float
    without_wall: int = 0
    """Slices since its wall was seen."""


@dataclass
class _Chest:
    """A CT from the head downwards.

    Attributes
    ----------
    hu, body
        (z, y, x); HU, blurred on construction, and bool.
    spacing
        mm along x, y, z.
    """

    hu: np.ndarray
    body: np.ndarray
    spacing: tuple[float, float, float]
    pixel: tuple[float, float] = field(init=False)
    air: np.ndarray = field(init=False)
    darkness: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.pixel = (self.spacing[1], self.spacing[0])
        hu = np.where(self.body, self.hu, np.float32(0))
        self.hu, self.darkness = (
            np.stack([ndimage.gaussian_filter(plane, [blur / side for side in self.pixel]) for plane in hu])
            for blur in (_BLUR_MM, _DARKER_BLUR_MM)
        )
        self.air = (self.hu < _AIR_HU) & self.body

    def tubes(self) -> list[tuple[int, np.ndarray]]:
        """Return first slice and cross-section there of every tube that may be a windpipe."""
        numbered = [ndimage.label(plane)[0] for plane in self.air]
        areas = [np.bincount(plane.ravel()) * self._mm2 for plane in numbered]
        lung = np.array([area[1:][area[1:] > _LUNG_MM2].sum() for area in areas])
        if lung.sum() * self.spacing[2] < _LUNGS_ML * 1000:
            return []
        apex, base = np.flatnonzero(lung)[[0, -1]]
        chains: list[list[tuple[int, np.ndarray]]] = []
        for z in range(int(apex + _UPPER * (base - apex)) + 1):
            for section in self._sections(z, numbered[z], areas[z]):
                above = (chain for chain in chains if chain[-1][0] == z - 1 and (chain[-1][1] & section).any())
                chain = next(above, None)
                if chain is None:
                    chains.append([(z, section)])
                else:
                    chain.append((z, section))
        return [chain[0] for chain in chains if len(chain) * self.spacing[2] >= _TUBE_LENGTH_MM]

    def follow(self, first: int, tube: np.ndarray, found: np.ndarray) -> None:
        """Add a tube and its branches to ``found``, from its first slice downwards."""
        found[first] |= tube
        branches = [_Branch(tube, tube.sum() * self._mm2)]
        radii = [_inscribed(tube, self.pixel)]
        fork = first
        forked = False
        for z in range(first + 1, len(self.air)):
            below: list[_Branch] = []
            windpipe = max(float(np.median(radii)), _WINDPIPE_MM)
            for branch in branches:
                widest = _WIDER * (_inscribed(branch.plane, self.pixel) if forked else windpipe) + _WIDER_MM
                below += self._below(branch, z, min(widest, windpipe) if forked else widest)
            if not below:
                return
            for branch in below:
                found[z] |= branch.plane
            branches = below
            if not forked:
                fork = z
                forked = self._spread(branches) > _FORKED_MM
                if len(branches) == 1:
                    radii.append(_inscribed(branches[0].plane, self.pixel))
            if (z - fork) * self.spacing[2] > _BELOW_FORK_MM:
                return

    @property
    def _mm2(self) -> float:
        return self.pixel[0] * self.pixel[1]

    def _sections(self, z: int, numbered: np.ndarray, areas: np.ndarray) -> list[np.ndarray]:
        """Return the regions of air in a slice that are round, dark, near the midline and deep in the body."""
        columns = np.flatnonzero(self.body[z].any(axis=0))
        likely = np.flatnonzero((areas >= _TUBE_MM2[0]) & (areas <= _TUBE_MM2[1]))
        likely = likely[likely > 0]
        if not len(likely) or not len(columns):
            return []
        depth = ndimage.distance_transform_edt(np.pad(self.body[z], 1), self.pixel)[1:-1, 1:-1]
        sections = []
        for number in likely:
            section = numbered == number
            places = np.argwhere(section) * self.pixel
            spread = np.cov(places.T) + np.eye(2) * self._mm2 / 12
            short, long = np.sqrt(np.linalg.eigvalsh(spread))
            if (
                long <= _TUBE_ELONGATION * short
                and areas[number] >= _TUBE_FILLED * 4 * np.pi * short * long  # of the ellipse with these moments
                and abs(places[:, 1].mean() - columns.mean() * self.pixel[1]) <= _MIDLINE_MM
                and self.hu[z][section].mean() <= _TUBE_HU
                and depth[section].min() >= _TUBE_DEPTH_MM
            ):
                sections.append(section)
        return sections

    def _below(self, branch: _Branch, z: int, widest: float) -> list[_Branch]:
        """Return what a branch becomes in slice ``z``, no circle in it wider than ``widest`` mm in radius."""
        section = None
        for threshold in (_AIR_HU, *_DARKER_HU):
            if threshold < _SMALL_BRANCH_HU and branch.area < _SMALL_BRANCH_MM2:
                break
            darker = threshold < _AIR_HU
            dark = self.darkness[z] < threshold if darker else True
            touching = _touching(self.air[z] & dark, branch.plane)
            area = touching.sum() * self._mm2
            if area < 0.3 * branch.area:
                break
            largest = _DARKER_MORE * branch.area if darker else _TUBE_MM2[1]
            if area <= largest and _inscribed(touching, self.pixel) <= widest:
                if darker:
                    touching = _grown(touching, max(_BACK_TO_WALL_MM, 1.01 * max(self.pixel)), self.pixel)
                section = touching & self.air[z] & _grown(branch.plane, _REACH_MM + self.spacing[2], self.pixel)
                break
        without_wall = 0
        if section is None:
            without_wall = branch.without_wall + 1
            section = self.air[z] & branch.plane
            if without_wall * self.spacing[2] > _WITHOUT_WALL_MM or section.sum() * self._mm2 < branch.area / 2:
                return []
        numbered, count = ndimage.label(section)
        parts = [numbered == number for number in range(1, count + 1)]
        branches = [_Branch(part, part.sum() * self._mm2, without_wall) for part in parts]
        return [part for part in branches if part.area >= _BRANCH_MM2]

    def _spread(self, branches: list[_Branch]) -> float:
        """Return the longest distance, in mm, between the centres of branches."""
        centres = np.array([np.argwhere(branch.plane).mean(axis=0) * self.pixel for branch in branches])
        return float(max(np.linalg.norm(centres - centre, axis=1).max() for centre in centres))


def _touching(air: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Return the regions of a slice that overlap with a plane."""
    numbered, _ = ndimage.label(air)
    numbers = np.unique(numbered[plane])
    return np.isin(numbered, numbers[numbers > 0])


def _inscribed(plane: np.ndarray, pixel: tuple[float, float]) -> float:
    """Return the radius, in mm, of the largest circle in a plane that is not empty."""
    box = ndimage.find_objects(plane.view(np.uint8))[0]
    return float(ndimage.distance_transform_edt(np.pad(plane[box], 1), pixel).max())


def _grown(plane: np.ndarray, radius: float, pixel: tuple[float, float]) -> np.ndarray:
    """Return a plane that is not empty, with all that is at most ``radius`` mm from it."""
    rows, columns = np.nonzero(plane)
    margin = [int(radius / side) + 1 for side in pixel]
    box = tuple(
        slice(max(int(at.min()) - wide, 0), int(at.max()) + wide + 1)
        for at, wide in zip((rows, columns), margin, strict=True)
    )
    grown = np.zeros_like(plane)
    grown[box] = ndimage.distance_transform_edt(~plane[box], pixel) <= radius
    return grown
