"""Readers' outlines on the voxels of the CT: on which slice each lies, and which voxels it encloses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthct.errors import UserError
from synthct.events import Events
from synthct.labels.lidc.marks import NODULE, Annotations, Mark, Outline
from synthct.labels.outlines import strictly_inside

_SHARE_OF_SLICE = 0.25
"""A position in mm names a slice when it is at most this share of the slices' distance away: they are rounded."""
_OTHER_STUDY = "Give the annotation file of this CT: its SeriesInstanceUid stands near the top of the file."


@dataclass(frozen=True)
class Slices:
    """Where the slices of a CT lie, and what they are called.

    Attributes
    ----------
    name
        What to call the CT in a message.
    heights
        ImagePositionPatient[2] (LPS mm) of each slice, in the order of the array, shape (slices,).
    size
        Columns and rows.
    series_uid
        SeriesInstanceUID; empty for an image file.
    by_uid
        SOPInstanceUID → its slices (several only where a series repeats a UID); empty for an image file.
    """

    name: str
    heights: np.ndarray
    size: tuple[int, int]
    series_uid: str
    by_uid: Mapping[str, Sequence[int]]

    @property
    def distance(self) -> float:
        """mm between neighbouring slices."""
        return float(np.abs(np.diff(self.heights)).mean())

    def at_height(self, z_mm: float) -> int | None:
        """Return the slice at a position, None where there is none."""
        nearest = int(np.argmin(np.abs(self.heights - z_mm)))
        return nearest if abs(self.heights[nearest] - z_mm) <= _SHARE_OF_SLICE * self.distance else None


@dataclass(frozen=True)
class Drawn:
    """A reader's mark as voxels.

    Attributes
    ----------
    mark
        What was drawn.
    low
        First voxel (z, y, x) of its box.
    voxels
        Which voxels of the box are in the nodule, bool (z, y, x); none for a point.
    pixels
        Voxels (z, y, x) of the outlines themselves, int, shape (n, 3).
    complete
        Whether all its outlines lie on slices of the CT.
    """

    mark: Mark
    low: tuple[int, int, int]
    voxels: np.ndarray
    pixels: np.ndarray
    complete: bool


def draw(annotations: Annotations, slices: Slices, events: Events) -> list[Drawn]:
    """Put every mark onto the voxels of the CT; marks on no slice of it are left out, which is said of nodules.

    A slice is found by its SOPInstanceUID. Where a UID is missing, or names several slices or positions, by its
    position in mm.

    Raises
    ------
    UserError
        The annotations belong to another CT, an outline's slice is ambiguous, or it leaves the image.
    """
    outlines = [outline for mark in annotations.marks for outline in mark.outlines]
    doubtful = _uids_at_several_heights(outlines, slices)
    _check_series(annotations, slices, {o.sop_uid for o in outlines if o.sop_uid} - doubtful, events)
    drawn: list[Drawn] = []
    outside: list[str] = []
    parts: list[str] = []
    for mark in annotations.marks:
        where = f"{annotations.source}: the {mark}"
        places = [_slice_of(outline, slices, doubtful, where) for outline in mark.outlines]
        there = [(place, outline) for place, outline in zip(places, mark.outlines, strict=True) if place is not None]
        if there:
            drawn.append(_voxels(mark, there, slices, where))
        if mark.kind == NODULE and len(there) < len(places):
            (parts if there else outside).append(str(mark))
    if outside:
        events.warning(
            f"{annotations.source}: {', '.join(outside)} left out.", f"No slice of {slices.name} holds any of it."
        )
    if parts:
        events.warning(
            f"{annotations.source}: {', '.join(parts)} cut off.",
            f"{slices.name} does not hold all slices with outlines.",
            "Give the whole series for volumes that can be trusted.",
        )
    _compare_heights(annotations, slices, doubtful, events)
    return drawn


def _check_series(annotations: Annotations, slices: Slices, uids: set[str], events: Events) -> None:
    """Refuse annotations that name none of the slices; ``uids`` can be trusted."""
    other = annotations.series_uid and slices.series_uid and annotations.series_uid != slices.series_uid
    series = f" It is of the series {annotations.series_uid}; the CT's is {slices.series_uid}." if other else ""
    if slices.by_uid and uids:
        matched = sum(uid in slices.by_uid for uid in uids)
        if matched and other:
            events.warning(
                f"{annotations.source} names another series than {slices.name}.",
                f"Still, {matched} of its {len(uids)} slices (SOPInstanceUID) are there.{series}",
                "Check that they belong together.",
            )
        if matched:
            return
        raise UserError(
            f"{annotations.source} belongs to another study than {slices.name}.",
            f"Of the {len(uids)} slices (SOPInstanceUID) that it marks, 0 are there.{series}",
            _OTHER_STUDY,
        )
    if other:
        raise UserError(
            f"{annotations.source} belongs to another series than {slices.name}.",
            f"It names no slices (SOPInstanceUID) to compare.{series}",
            _OTHER_STUDY,
        )
    heights = {o.z_mm for mark in annotations.marks for o in mark.outlines if o.z_mm is not None}
    if heights and not any(slices.at_height(z) is not None for z in heights):
        raise UserError(
            f"{annotations.source} does not belong to {slices.name}.",
            f"It marks {len(heights)} slices between {min(heights):g} and {max(heights):g} mm; the CT's lie between "
            f"{slices.heights.min():g} and {slices.heights.max():g} mm, and none of them there.",
            _OTHER_STUDY,
        )


def _uids_at_several_heights(outlines: Iterable[Outline], slices: Slices) -> set[str]:
    """Return the UIDs that cannot name one slice: the annotations or the CT use them for several."""
    heights: dict[str, list[float]] = defaultdict(list)
    for outline in outlines:
        if outline.sop_uid and outline.z_mm is not None:
            heights[outline.sop_uid].append(outline.z_mm)
    tolerance = _SHARE_OF_SLICE * slices.distance
    return {uid for uid, z in heights.items() if max(z) - min(z) > tolerance} | {
        uid for uid, places in slices.by_uid.items() if len(places) > 1
    }


def _slice_of(outline: Outline, slices: Slices, doubtful: set[str], where: str) -> int | None:
    if slices.by_uid and outline.sop_uid and outline.sop_uid not in doubtful:
        places = slices.by_uid.get(outline.sop_uid)
        return places[0] if places else None
    if outline.z_mm is None:
        why = (
            f"The UID {outline.sop_uid} is used for several slices, and no position in mm (imageZposition) is given."
            if slices.by_uid
            else "It gives no position in mm (imageZposition), and an image file has no slice UIDs."
        )
        raise UserError(f"{where} lies on a slice that cannot be told.", why, "Give the DICOM series of the CT.")
    return slices.at_height(outline.z_mm)


def _compare_heights(annotations: Annotations, slices: Slices, doubtful: set[str], events: Events) -> None:
    """Warn where UID and position of an outline name different slices."""
    apart = [
        abs(outline.z_mm - slices.heights[slices.by_uid[outline.sop_uid][0]])
        for mark in annotations.marks
        for outline in mark.outlines
        if outline.z_mm is not None and outline.sop_uid in slices.by_uid and outline.sop_uid not in doubtful
    ]
    if apart and max(apart) > _SHARE_OF_SLICE * slices.distance:
        events.warning(
            f"{annotations.source}: positions and slice UIDs differ by up to {max(apart):.1f} mm.",
            "The outlines were put where the UIDs say.",
            "Look at the mask.",
        )


def _voxels(mark: Mark, there: Sequence[tuple[int, Outline]], slices: Slices, where: str) -> Drawn:
    pixels = np.concatenate(
        [np.column_stack([np.full(len(outline.points), place), outline.points[:, ::-1]]) for place, outline in there]
    )
    columns, rows = slices.size
    if pixels[:, 1:].min() < 0 or (pixels[:, 1:] >= (rows, columns)).any():
        worst = next(place for place in pixels if not (0 <= place[1] < rows and 0 <= place[2] < columns))
        raise UserError(
            f"{where} leaves the image: column {worst[2]}, row {worst[1]}.",
            f"{slices.name} has {columns}×{rows} pixels, counted from 0.",
            "Give the annotation file of this CT, and the CT as it came from the archive, not resampled.",
        )
    low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
    inside, holes = np.zeros((2, *(high - low)), bool)
    for place, outline in there:
        (row, column), plane = strictly_inside(outline.points)
        row, column = row - low[1], column - low[2]
        target = (inside if outline.inclusion else holes)[place - low[0]]
        target[row : row + plane.shape[0], column : column + plane.shape[1]] |= plane
    start = (int(low[0]), int(low[1]), int(low[2]))
    return Drawn(mark, start, inside & ~holes, pixels, len(there) == len(mark.outlines))
