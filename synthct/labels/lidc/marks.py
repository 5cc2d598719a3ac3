"""What readers drew on the slices of a LIDC-IDRI scan, whichever file it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CHARACTERISTICS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""What a reader rates of a nodule of 3 mm or more, as LIDC writes it (Armato 2011, doi:10.1118/1.3528204)."""
NODULE, SMALL_NODULE, NON_NODULE = "nodule", "small nodule", "non-nodule"
"""Kinds of marks: nodules of 3 mm or more are outlined, smaller ones and what is no nodule are points."""
READERS = 4
"""Readers of every LIDC-IDRI scan; one who marked nothing counts too."""


@dataclass(frozen=True)
class Outline:
    """One outline (or point) on one slice.

    Attributes
    ----------
    points
        Pixels (column, row) counted from 0, int, shape (n, 2), n ≥ 1. They are the first ones outside what is outlined.
    inclusion
        Whether it encloses a part of the nodule; otherwise a hole in it.
    sop_uid
        SOPInstanceUID of the slice, empty where it is not said.
    z_mm
        The slice's ImagePositionPatient[2] (LPS), None where it is not said.
    """

    points: np.ndarray
    inclusion: bool
    sop_uid: str
    z_mm: float | None

    @property
    def gap(self) -> int:
        """Pixels from the last point back to the first; more than 1: the outline is open."""
        return int(np.abs(self.points[0] - self.points[-1]).max())


@dataclass(frozen=True)
class Mark:
    """What one reader marked in one place.

    Attributes
    ----------
    reader
        1…4; None where the source does not say who drew.
    name
        As the reader's software numbered it; means nothing across readers.
    kind
        `NODULE`, `SMALL_NODULE` or `NON_NODULE`.
    outlines
        One or more; of a point just that.
    characteristics
        Ratings by name (`CHARACTERISTICS`); empty for points.
    """

    reader: int | None
    name: str
    kind: str
    outlines: tuple[Outline, ...]
    characteristics: Mapping[str, int]

    def __str__(self) -> str:
        by = "" if self.reader is None else f" of reader {self.reader}"
        return f"{self.kind} {self.name!r}{by}"


@dataclass(frozen=True)
class Annotations:
    """Everything that the readers marked in one scan.

    Attributes
    ----------
    source
        File names, for messages.
    series_uid
        SeriesInstanceUID of the scan, empty where it is not said.
    marks
        In the order of the source.
    """

    source: str
    series_uid: str
    marks: tuple[Mark, ...]

    def of_kind(self, kind: str) -> list[Mark]:
        """Return the marks of one kind."""
        return [mark for mark in self.marks if mark.kind == kind]
