"""From the readers' outlines to nodules: which belong together, what the readers agree on, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from synthct.errors import UserError
from synthct.labels.lidc.marks import CHARACTERISTICS, READERS
from synthct.labels.lidc.slices import Drawn
from synthct.volumes.geometry import Grid

OF = ("four", "marked")
"""Agreement is a share of all four readers, or of those who marked the nodule."""
COLUMNS = (
    "id",
    "readers",
    "complete",
    "volume_mm3",
    "equivalent_diameter_mm",
    "longest_in_plane_mm",
    "agreement",
    "x_lps_mm",
    "y_lps_mm",
    "z_lps_mm",
    *CHARACTERISTICS,
    *(f"malignancy_{n + 1}" for n in range(READERS)),
)
"""Columns of the table, see `table`."""


@dataclass(frozen=True)
class Nodule:
    """The marks that outline one nodule, and how many of them hold each voxel.

    Attributes
    ----------
    marks
        One of each reader who marked it.
    low
        First voxel (z, y, x) of the box.
    votes
        uint8 (z, y, x): number of readers whose outlines enclose the voxel.
    """

    marks: tuple[Drawn, ...]
    low: tuple[int, int, int]
    votes: np.ndarray

    @property
    def box(self) -> tuple[slice, ...]:
        """Where the votes lie in the CT's array."""
        return tuple(slice(start, start + n) for start, n in zip(self.low, self.votes.shape, strict=True))

    def consensus(self, agreement: float, of: str) -> np.ndarray:
        """Return the voxels that at least the share ``agreement`` of the readers holds; shape of ``votes``."""
        return self.votes >= needed_votes(agreement, READERS if of == "four" else len(self.marks))


def needed_votes(agreement: float, readers: int) -> int:
    """Return how many of ``readers`` are at least the share ``agreement``: 3 for 0.75 of 4.

    Raises
    ------
    UserError
        For a share that is not above 0 and at most 1.
    """
    if not 0 < agreement <= 1:
        raise UserError(f"The agreement cannot be {agreement:g}.", "It is a share of the readers, above 0 up to 1.")
    return max(1, int(np.ceil(agreement * readers - 1e-6)))


def nodules_of(drawn: Sequence[Drawn], spacing: tuple[float, float, float]) -> list[Nodule]:
    """Find the outlines of different readers that mean the same nodule.

    Pairs of marks are joined in the order of their overlap (Dice of the enclosed voxels), then of their distance, as
    long as they overlap or come within one slice distance of each other; a join that would put two marks of one
    reader into a nodule is left out. Marks whose reader is not known are joined only where they overlap, and at most
    four of them: two that do not might be one reader's.

    Parameters
    ----------
    drawn
        Marks of nodules of 3 mm or more.
    spacing
        mm between voxels along z, y, x.

    Returns
    -------
    list of Nodule
        By their first slice, row and column.
    """
    groups = {number: [number] for number in range(len(drawn))}
    member = list(range(len(drawn)))
    for one, other in _pairs(drawn, spacing):
        a, b = member[one], member[other]
        if a == b or not _may_join([drawn[n] for n in groups[a] + groups[b]]):
            continue
        groups[a] += groups.pop(b)
        for number in groups[a]:
            member[number] = a
    found = [_counted([drawn[n] for n in sorted(numbers)]) for numbers in groups.values()]
    return sorted(found, key=lambda nodule: nodule.low)


def label_nodules(
    nodules: Sequence[Nodule], shape: tuple[int, int, int], agreement: float = 0.75, of: str = "four", select: int = 3
) -> tuple[np.ndarray, list[Nodule]]:
    """Draw the consensus of every nodule that enough readers marked, one label each.

    Parameters
    ----------
    nodules
        From `nodules_of`.
    shape
        Of the CT's array (z, y, x).
    agreement
        A voxel belongs to its nodule when at least this share of the readers encloses it (REFERENCE B1: 0.75).
    of
        ``"four"``: share of the scan's four readers, one who did not mark the nodule counts as against;
        ``"marked"``: of those who marked it.
    select
        Nodules marked by fewer readers are left out (REFERENCE B1: 3).

    Returns
    -------
    tuple
        Labels (z, y, x), uint8 (uint16 for more than 255 nodules), 0 where there is no nodule; and the nodules of the
        labels 1, 2, …. A nodule without a voxel that enough readers share is left out. A voxel of two nodules goes to
        the one with more votes there, to the first of equals.
    """
    needed_votes(agreement, READERS)
    labels = np.zeros(shape, np.uint8 if len(nodules) < 256 else np.uint16)
    votes = np.zeros(shape, np.uint8)
    kept = []
    for nodule in nodules:
        inside = nodule.consensus(agreement, of)
        if len(nodule.marks) < select or not inside.any():
            continue
        kept.append(nodule)
        ahead = inside & (nodule.votes > votes[nodule.box])
        labels[nodule.box][ahead] = len(kept)
        votes[nodule.box][ahead] = nodule.votes[ahead]
    return labels, kept


def table(labels: np.ndarray, nodules: Sequence[Nodule], grid: Grid) -> list[dict[str, Any]]:
    """Describe every labelled nodule, one row each.

    Parameters
    ----------
    labels
        From `label_nodules`, shape (z, y, x), on ``grid``.
    nodules
        Those of the labels 1, 2, ….
    grid
        Where the voxels lie.

    Returns
    -------
    list of dict
        By `COLUMNS`: ``readers`` who marked it; ``complete``, whether the CT holds all their outlines; volume of the
        consensus, diameter of the sphere of that volume, longest distance of two pixels' outer faces within one slice;
        ``agreement``, the mean Dice of every two readers' voxels, None for one reader; centre of mass in LPS mm;
        the median of each rating, and the malignancy by reader 1…4 (in the order of the marks where readers are
        unknown), None where there is none.
    """
    spacing = np.array(grid.spacing[::-1])
    rows = []
    for number, nodule in enumerate(nodules, start=1):
        voxels = np.argwhere(labels[nodule.box] == number) + nodule.low
        volume = len(voxels) * float(np.prod(spacing))
        x, y, z = _centre(voxels, grid)
        overlaps = [_dice(a, b) for n, a in enumerate(nodule.marks) for b in nodule.marks[n + 1 :]]
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {
            "id": number,
            "readers": len(nodule.marks),
            "complete": all(drawn.complete for drawn in nodule.marks),
            "volume_mm3": round(volume, 3),
            "equivalent_diameter_mm": round(float(np.cbrt(6 * volume / np.pi)), 3),
            "longest_in_plane_mm": round(_longest(voxels, spacing), 3),
            "agreement": round(float(np.mean(overlaps)), 4) if overlaps else None,
            "x_lps_mm": x,
            "y_lps_mm": y,
            "z_lps_mm": z,
        }
        for name in CHARACTERISTICS:
            ratings = [m.mark.characteristics[name] for m in nodule.marks if name in m.mark.characteristics]
            row[name] = median(ratings) if ratings else None
        for place, drawn in enumerate(nodule.marks, start=1):
            row[f"malignancy_{drawn.mark.reader or place}"] = drawn.mark.characteristics.get("malignancy")
        rows.append(row)
    return rows


def _centre(voxels: np.ndarray, grid: Grid) -> list[float | None]:
    """Centre of mass of voxels (z, y, x) in LPS mm; None where another nodule has taken them all."""
    if not len(voxels):
        return [None, None, None]
    return (grid.index_to_world @ np.append(voxels.mean(axis=0)[::-1], 1))[:3].round(3).tolist()


def _pairs(drawn: Sequence[Drawn], spacing: tuple[float, float, float]) -> list[tuple[int, int]]:
    """Pairs of marks that may mean one nodule, the surest first."""
    scale, reach = np.array(spacing), spacing[0] + 1e-6
    points = [np.concatenate([one.pixels, np.argwhere(one.voxels) + one.low]) * scale for one in drawn]
    trees = [cKDTree(place) for place in points]
    found = []
    for i, one in enumerate(drawn):
        for j in range(i + 1, len(drawn)):
            other = drawn[j]
            gap = np.maximum(
                points[i].min(axis=0) - points[j].max(axis=0), points[j].min(axis=0) - points[i].max(axis=0)
            )
            if gap.max() > reach or not _may_join([one, other]):
                continue
            overlap = _dice(one, other)
            unknown = one.mark.reader is None or other.mark.reader is None
            distance = 0.0 if overlap else float(trees[i].query(points[j])[0].min())
            if overlap or (not unknown and distance <= reach):
                found.append((-overlap, distance, i, j))
    return [(i, j) for _, _, i, j in sorted(found)]


def _may_join(members: Sequence[Drawn]) -> bool:
    """Whether no reader is among them twice, nor more readers than there are."""
    known = [drawn.mark.reader for drawn in members if drawn.mark.reader is not None]
    return len(set(known)) == len(known) and len(members) <= READERS


def _counted(marks: Sequence[Drawn]) -> Nodule:
    low = np.min([mark.low for mark in marks], axis=0)
    high = np.max([np.add(mark.low, mark.voxels.shape) for mark in marks], axis=0)
    votes = np.zeros(high - low, np.uint8)
    for mark in marks:
        start = mark.low - low
        box = tuple(slice(first, first + n) for first, n in zip(start, mark.voxels.shape, strict=True))
        votes[box] += mark.voxels
    return Nodule(tuple(marks), (int(low[0]), int(low[1]), int(low[2])), votes)


def _dice(one: Drawn, other: Drawn) -> float:
    """Dice of the voxels of two marks; 0 where neither encloses any."""
    low = np.maximum(one.low, other.low)
    high = np.minimum(np.add(one.low, one.voxels.shape), np.add(other.low, other.voxels.shape))
    total = int(one.voxels.sum()) + int(other.voxels.sum())
    if (high <= low).any() or not total:
        return 0.0
    a, b = (
        mark.voxels[
            tuple(slice(start - first, end - first) for start, end, first in zip(low, high, mark.low, strict=True))
        ]
        for mark in (one, other)
    )
    return 2 * int((a & b).sum()) / total


def _longest(voxels: np.ndarray, spacing: np.ndarray) -> float:
    """Longest distance in mm between the outer faces of two of the voxels (z, y, x) of one slice, 0 for none."""
    longest = 0.0
    faces = np.array([(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])
    for slice_ in np.unique(voxels[:, 0]):
        plane = voxels[voxels[:, 0] == slice_, 1:]
        ends = np.concatenate([plane[plane[:, 0] == row][[0, -1]] for row in np.unique(plane[:, 0])])
        corners = (ends[:, np.newaxis] + faces).reshape(-1, 2) * spacing[1:]
        longest = max(longest, float(pdist(corners).max()))
    return longest
