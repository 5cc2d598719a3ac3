"""What a data set consists of, source by source: sizes, spacings, slices, HU, and which volumes are odd (row C1)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.data.cohort import Case, Cohort
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.geometry import to_axial
from synthct.volumes.read import read_image
from synthct.whole_file import write_whole

NO_AIR_HU, STORED_HU = -800, (-1100, 4000)
"""A CT's lowest value lies below the first; values beyond the second are those of a padding or of metal."""
SPACING_FACTOR = 2.0
"""Times (or part of) the median slice spacing of its source that makes a volume odd."""
SQUARE = 1.05
"""Ratio of the in-plane spacings up to which pixels are taken for square."""
BINS = np.linspace(-1000, 2000, 31)
BLOCKS = 4
_CASES_HEAD = (
    *("case", "source", "x", "y", "slices", "spacing_x_mm", "spacing_y_mm", "spacing_z_mm"),
    *("lowest_hu", "highest_hu", "odd"),
)
_LATTICE = 100_000


@dataclass(frozen=True)
class Measured:
    """One case's CT, turned to axial."""

    case: str
    source: str
    size: tuple[int, ...] | None = None
    """x, y, z in voxels; None: it cannot be read."""
    spacing: tuple[float, ...] | None = None
    """x, y, z in mm."""
    hu: tuple[float, float] | None = None
    """Lowest and highest value."""
    features: NDArray[np.float64] | None = None
    """Shares of the voxels in HU bins, and means of 4×4×4 blocks: what the map of cases is made from."""
    odd: tuple[str, ...] = field(default=())
    """What is unusual, in words."""

    @property
    def slices(self) -> int | None:
        return None if self.size is None else self.size[2]


def source_of(case: Case) -> str:
    """Return the case's ``centre``, or the letters that its id begins with (CHUM of CHUM-001), or its whole id."""
    if case.centre:
        return case.centre
    letters = re.match(r"[^\W\d_]+", case.id)
    return letters[0] if letters else case.id


def analyse(cohort: Cohort, events: Events = SILENT) -> list[Measured]:
    """Measure the CT of every used case; one that cannot be read is named as odd and measured no further."""
    cases = cohort.used.cases
    found = []
    for number, case in enumerate(cases):
        events.progress(number, len(cases), "analysis", case.id)
        found.append(_measured(case))
    events.progress(len(cases), len(cases), "analysis")
    return _compared(found)


def write_tables(measured: Sequence[Measured], folder: Path) -> tuple[Path, Path]:
    """Write ``cases.csv``, a row for each case, and ``sources.csv``, a row for each source; return both paths.

    Lengths are in mm, intensities in HU; of a source the least, the median and the greatest value.
    """
    cases: list[tuple[str, ...]] = [_CASES_HEAD]
    for one in measured:
        values = [
            *(one.size or [""] * 3),
            *(f"{mm:.5g}" for mm in one.spacing or []),
            *([] if one.spacing else [""] * 3),
        ]
        hu = [f"{value:.6g}" for value in one.hu] if one.hu else ["", ""]
        cases.append((one.case, one.source, *map(str, values), *hu, " ".join(one.odd)))
    head = ["source", "cases", "odd"]
    for name in _COLUMNS:
        head += [f"{name}_{which}" for which in ("least", "median", "greatest")]
    rows: list[tuple[str, ...]] = [tuple(head)]
    for source, members in by_source(measured).items():
        row = [source, str(len(members)), str(sum(bool(one.odd) for one in members))]
        for found in columns(members).values():
            row += [f"{value:.6g}" for value in _spread(found)] if len(found) else [""] * 3
        rows.append(tuple(row))
    paths = folder / "cases.csv", folder / "sources.csv"
    for path, table in zip(paths, (cases, rows), strict=True):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.getvalue())
        except OSError as error:
            raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error
    return paths


def summary(measured: Sequence[Measured]) -> str:
    """Return the table of sources for a terminal, and below it every odd case with what is odd."""
    head = ("source", "cases", "in-plane size", "slices", "pixel mm", "slice mm", "HU")
    rows: list[tuple[str, ...]] = [head]
    for source, members in by_source(measured).items():
        found = columns(members)
        cells = (_range(found[name]) for name in ("in_plane", "slices", "pixel_mm", "slice_mm"))
        lowest, highest = found["lowest_hu"], found["highest_hu"]
        hu = f"{lowest.min():.0f}…{highest.max():.0f}" if len(lowest) else "-"
        rows.append((source, str(len(members)), *cells, hu))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"{one.case}: {what}" for one in measured for what in one.odd)])


def by_source(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Cases by source, sources in alphabetical order."""
    sources = sorted({one.source for one in measured})
    return {source: [one for one in measured if one.source == source] for source in sources}


_COLUMNS = ("in_plane", "slices", "pixel_mm", "slice_mm", "lowest_hu", "highest_hu")


def columns(measured: Sequence[Measured]) -> dict[str, NDArray[np.float64]]:
    """Return what is plotted and tabled of the cases that can be read, by name; of in-plane sizes the larger."""
    rows = [
        (max(one.size[:2]), one.size[2], one.spacing[0], one.spacing[2], *one.hu)
        for one in measured
        if one.size is not None and one.spacing is not None and one.hu is not None
    ]
    table = np.array(rows, np.float64).reshape(-1, len(_COLUMNS))
    return {name: table[:, place] for place, name in enumerate(_COLUMNS)}


def _measured(case: Case) -> Measured:
    source = source_of(case)
    try:
        image = to_axial(read_image(case.ct, case.ct_series, single_slice=True))
    except UserError as error:
        return Measured(case.id, source, odd=(f"{error.what} {error.why}".strip(),))
    values = sitk.GetArrayViewFromImage(image)
    low, high = float(values.min()), float(values.max())
    spacing = image.GetSpacing()
    odd = []
    if low == high:
        odd.append(f"It is constant: {low:g} everywhere.")
    else:
        odd += [f"Its lowest value is {low:g}: it shows no air, or is not in HU."] if low > NO_AIR_HU else []
        odd += [f"Its lowest value is {low:g}, below what a CT has."] if low < STORED_HU[0] else []
        odd += [f"Its highest value is {high:g}, above what a CT has."] if high > STORED_HU[1] else []
    if max(spacing[:2]) > SQUARE * min(spacing[:2]):
        odd.append(f"Its pixels are not square: {spacing[0]:.3g}×{spacing[1]:.3g} mm.")
    return Measured(case.id, source, image.GetSize(), spacing, (low, high), _features(values), tuple(odd))


def _compared(measured: Sequence[Measured]) -> list[Measured]:
    """Add what is odd beside the other cases of the source: slices much thicker or thinner."""
    usual = {source: columns(members)["slice_mm"] for source, members in by_source(measured).items()}
    found = []
    for one in measured:
        odd = list(one.odd)
        if one.spacing is not None and len(usual[one.source]) > 2:
            median, own = float(np.median(usual[one.source])), one.spacing[2]
            if not 1 / SPACING_FACTOR <= own / median <= SPACING_FACTOR:
                odd.append(f"Its slices lie {own:.3g} mm apart, those of {one.source} mostly {median:.3g} mm.")
        found.append(Measured(one.case, one.source, one.size, one.spacing, one.hu, one.features, tuple(odd)))
    return found


def _features(values: NDArray[np.generic]) -> NDArray[np.float64]:
    sample = np.asarray(values, np.float64).ravel()[:: max(1, values.size // _LATTICE)]
    shares = np.histogram(np.clip(sample, BINS[0], BINS[-1]), BINS)[0] / len(sample)
    means = np.clip(np.asarray(values, np.float32), BINS[0], BINS[-1]).astype(np.float64)
    for axis, side in enumerate(values.shape):
        edges = np.unique(np.linspace(0, side, BLOCKS + 1).astype(int)[:-1])
        lengths = np.diff([*edges, side]).reshape([-1 if at == axis else 1 for at in range(3)])
        means = np.add.reduceat(means, edges, axis=axis) / lengths
        means = np.take(means, np.linspace(0, means.shape[axis] - 1, BLOCKS).round().astype(int), axis)
    return np.concatenate([shares, means.ravel() / 1000])


def _spread(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values.min()), float(np.median(values)), float(values.max())


def _range(values: NDArray[np.float64]) -> str:
    if not len(values):
        return "-"
    low, median, high = _spread(values)
    return f"{low:.4g}" if low == high else f"{low:.4g}…{high:.4g} (median {median:.4g})"
