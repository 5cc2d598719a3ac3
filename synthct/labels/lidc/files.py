"""A LIDC-IDRI scan and its annotations in, CT, nodule mask and table out (REFERENCE B1)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.lidc.marks import NODULE, Annotations
from synthct.labels.lidc.nodules import COLUMNS, READERS, label_nodules, nodules_of, table
from synthct.labels.lidc.slices import Drawn, Slices, draw
from synthct.volumes.dicom import SeriesInfo, choose_series, list_series, read_series
from synthct.volumes.geometry import back_from_axial, grid_of, image_from_array, to_axial
from synthct.whole_file import write_whole

POINT_COLUMNS = ("kind", "reader", "name", "x_lps_mm", "y_lps_mm", "z_lps_mm")
"""Columns of the points table."""


@dataclass(frozen=True)
class LidcScan:
    """A CT with its nodules.

    Attributes
    ----------
    ct
        HU as read: int16 from DICOM.
    mask
        One label per nodule on the CT's grid, 0 elsewhere.
    nodules
        A row per label, see `lidc_nodules.table`.
    points
        A row (`POINT_COLUMNS`) per reader's mark of a nodule below 3 mm or of what is no nodule, where it lies on the
        CT.
    found
        Nodules of 3 mm or more that any reader outlined, on slices of the CT.
    """

    ct: sitk.Image
    mask: sitk.Image
    nodules: list[dict[str, Any]]
    points: list[dict[str, Any]]
    found: int


def series_for(folder: Path | str, annotations: Annotations, uid: str | None = None) -> SeriesInfo:
    """Return the CT series of a folder that the annotations name, or the chosen one, or the only one.

    Raises
    ------
    UserError
        No series, none of that UID, or several of which none is named; not a CT.
    """
    if uid is None and annotations.series_uid in {info.uid for info in list_series(folder)}:
        uid = annotations.series_uid
    series = choose_series(folder, uid)
    if series.modality != "CT":
        raise UserError(f"The DICOM series {series} in {folder} is no CT.", "LIDC nodules are marked on CTs.")
    return series


def import_series(
    folder: Path | str,
    annotations: Annotations,
    uid: str | None = None,
    agreement: float = 0.75,
    of: str = "four",
    select: int = 3,
    events: Events = SILENT,
) -> LidcScan:
    """Read a CT series and draw the nodules of its annotations; see `label_nodules` for the numbers.

    Raises
    ------
    UserError
        What `read_series` and `draw` refuse, and slices that were shifted to put them upright: the outlines belong to
        their pixels.
    """
    series = series_for(folder, annotations, uid)
    try:
        ct = read_series(folder, series.uid, events=events)
    except UserError as error:
        if "--uneven" not in error.todo:
            raise
        raise UserError(
            error.what, error.why, "Fetch the missing slices: outlines cannot be put onto interpolated ones."
        ) from error
    slices = _slices(series, ct, f"the CT series {series.uid}")
    return _import(ct, slices, annotations, agreement, of, select, events)


def import_image(
    ct: sitk.Image,
    name: str,
    annotations: Annotations,
    agreement: float = 0.75,
    of: str = "four",
    select: int = 3,
    events: Events = SILENT,
) -> LidcScan:
    """Draw the nodules on a CT that is no longer DICOM, found by the slices' positions in mm alone.

    Its columns must run to the patient's left and its rows to the back as those of all LIDC-IDRI scans do in DICOM;
    axes that a file format has flipped or permuted are put back for this.

    Raises
    ------
    UserError
        What `draw` refuses, and an oblique image.
    """
    axial = to_axial(ct)
    if not np.allclose(np.reshape(axial.GetDirection(), (3, 3)), np.eye(3), atol=1e-3):
        raise UserError(f"{name} is oblique.", "LIDC outlines are drawn on axial slices.", "Give the DICOM series.")
    heights = axial.GetOrigin()[2] + np.arange(axial.GetSize()[2]) * axial.GetSpacing()[2]
    slices = Slices(name, heights, axial.GetSize()[:2], "", {})
    scan = _import(axial, slices, annotations, agreement, of, select, events)
    return LidcScan(ct, back_from_axial(scan.mask, ct), scan.nodules, scan.points, scan.found)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header; None becomes an empty cell, truth 1 or 0."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [row[column] for column in columns]
        writer.writerow([int(cell) if isinstance(cell, bool) else cell for cell in cells])
    return out.getvalue()


def write_tables(
    scan: LidcScan, nodules: Path | str | None = None, points: Path | str | None = None, overwrite: bool = False
) -> None:
    """Write the tables of nodules and points as CSV.

    Raises
    ------
    UserError
        A file that exists, a folder that cannot be written.
    """
    for path, columns, rows in ((nodules, COLUMNS, scan.nodules), (points, POINT_COLUMNS, scan.points)):
        if path is None:
            continue
        check_table(path, overwrite)
        try:
            write_whole(Path(path).expanduser(), csv_text(columns, rows))
        except OSError as error:
            raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error


def check_table(path: Path | str, overwrite: bool) -> None:
    """Refuse a file that exists: worth asking before the work.

    Raises
    ------
    UserError
        It exists and is not to be replaced, or is a folder.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "A table is to be written.", "Give the name of a file.")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already.", "It is not overwritten.", "Choose another name or remove it.")


def _slices(series: SeriesInfo, ct: sitk.Image, name: str) -> Slices:
    """Name the slices of a series; each must lie on the pixels of the volume as it was read."""
    by_uid: dict[str, list[int]] = {}
    heights = np.full(ct.GetSize()[2], np.nan)
    for header in series.headers:
        position = [float(value) for value in header.ImagePositionPatient]
        index = ct.TransformPhysicalPointToContinuousIndex(position)
        place = round(index[2])
        if max(abs(index[0]), abs(index[1])) > 0.05 or not 0 <= place < len(heights) or abs(index[2] - place) > 0.2:
            raise UserError(
                f"The slices of {name} are shifted against each other (gantry tilt).",
                "They were put upright, so that the outlines do not fit their pixels.",
                "Outlines of tilted scans cannot be imported.",
            )
        heights[place] = position[2]
        by_uid.setdefault(str(header.get("SOPInstanceUID", "")), []).append(place)
    return Slices(name, heights, ct.GetSize()[:2], series.uid, by_uid)


def _import(
    ct: sitk.Image, slices: Slices, annotations: Annotations, agreement: float, of: str, select: int, events: Events
) -> LidcScan:
    if not 1 <= select <= READERS:
        raise UserError(f"Nodules of {select} readers cannot be selected.", f"There are 1 to {READERS}.")
    grid = grid_of(ct)
    drawn = draw(annotations, slices, events)
    nodules = nodules_of([mark for mark in drawn if mark.mark.kind == NODULE], grid.spacing[::-1])
    shape = (grid.size[2], grid.size[1], grid.size[0])
    labels, kept = label_nodules(nodules, shape, agreement, of, select)
    chosen = [nodule for nodule in nodules if len(nodule.marks) >= select]
    if len(chosen) > len(kept):
        whom = "the four readers" if of == "four" else "its readers"
        events.warning(
            f"{annotations.source}: {len(chosen) - len(kept)} of {len(chosen)} nodules are left out.",
            f"No voxel of theirs is enclosed by {agreement:.0%} of {whom}.",
        )
    if not kept:
        events.warning(
            f"{annotations.source}: the mask is empty.",
            f"{len(nodules)} nodules of 3 mm or more were outlined, none by {select} or more readers who agree.",
        )
    points = [_point(mark, grid.index_to_world) for mark in drawn if mark.mark.kind != NODULE]
    return LidcScan(ct, image_from_array(labels, grid), table(labels, kept, grid), points, len(nodules))


def _point(drawn: Drawn, index_to_world: np.ndarray) -> dict[str, Any]:
    z, y, x = drawn.pixels.mean(axis=0)
    position = (index_to_world @ (x, y, z, 1))[:3].round(3).tolist()
    values = (drawn.mark.kind, drawn.mark.reader, drawn.mark.name, *position)
    return dict(zip(POINT_COLUMNS, values, strict=True))
