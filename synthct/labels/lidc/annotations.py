"""Read LIDC-IDRI annotation files (XML), with or without namespace, every reader of them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.lidc.marks import (
    CHARACTERISTICS,
    NODULE,
    NON_NODULE,
    READERS,
    SMALL_NODULE,
    Annotations,
    Mark,
    Outline,
)

_LARGEST_BYTES = 100_000_000
_GIVE = "Give the annotation file of the scan, as the LIDC-IDRI collection holds it."


def read_annotations(paths: Sequence[Path | str], events: Events = SILENT) -> Annotations:
    """Read what all readers of one scan marked, from one or several files.

    Several files of one series are put together; a reading session that a file repeats counts once.

    Parameters
    ----------
    paths
        Annotation files of one series.
    events
        Hears of repeated sessions, outlines without ratings and outlines that are not closed.

    Raises
    ------
    UserError
        No such file, no XML, declarations of entities, a chest radiograph's annotations, no LIDC file at all,
        incomplete or impossible marks, files of several series, more than four readers.
    """
    files = [_read(Path(path).expanduser()) for path in paths]
    if not files:
        raise UserError("No annotation file was given.", todo=_GIVE)
    names = ", ".join(file.name for file in files)
    series = {file.series_uid: file.name for file in files if file.series_uid}
    if len(series) > 1:
        raise UserError(
            "The annotation files belong to different series.",
            "; ".join(f"{name}: {uid}" for uid, name in series.items()) + ".",
            "Give those of one series.",
        )
    sessions: list[tuple[Mark, ...]] = []
    for number, file in enumerate(files):
        earlier = list(sessions)
        for session in file.sessions:
            twin = next((n for n, other in enumerate(earlier) if _same(session, other)), None)
            if number and twin is not None:
                del earlier[twin]
                events.warning(f"{file.name} repeats a reader's marks of an earlier file.", "They count once.")
            else:
                sessions.append(session)
    if len(sessions) > READERS:
        raise UserError(
            f"{names}: {len(sessions)} readers, but a LIDC-IDRI scan has {READERS}.",
            "; ".join(f"{file.name} has {len(file.sessions)}" for file in files) + ".",
            "Give the file of the last (unblinded) reading alone.",
        )
    marks = tuple(replace(mark, reader=n + 1) for n, session in enumerate(sessions) for mark in session)
    _remark(names, marks, events)
    return Annotations(names, next(iter(series), ""), marks)


@dataclass(frozen=True)
class _File:
    name: str
    series_uid: str
    sessions: tuple[tuple[Mark, ...], ...]


def _read(path: Path) -> _File:
    root = _tree(path)
    kind = _plain(root.tag)
    header = next(iter(_children(root, "ResponseHeader")), root)
    if _text(header, "Modality").upper() == "CXR" or _children(root, "CXRreadingSession"):
        raise UserError(
            f"{path.name} is the annotation of a chest radiograph, not of a CT.",
            "LIDC-IDRI has such files for patients who have a radiograph too.",
            "Give the CT's annotation file (its first element is LidcReadMessage).",
        )
    if kind != "LidcReadMessage":
        raise UserError(
            f"{path.name} is no LIDC annotation file.", f"Its first element is {kind}, not LidcReadMessage.", _GIVE
        )
    sessions = []
    for number, element in enumerate(_children(root, "readingSession"), start=1):
        where = f"{path.name}, reader {number}"
        marks = [_nodule(child, number, where) for child in _children(element, "unblindedReadNodule")]
        marks += [_non_nodule(child, number, where) for child in _children(element, "nonNodule")]
        sessions.append(tuple(marks))
    if not sessions:
        raise UserError(f"{path.name} holds no reading session.", "It has no marks of any reader.", _GIVE)
    return _File(path.name, _text(header, "SeriesInstanceUid") or _text(header, "CTSeriesInstanceUid"), tuple(sessions))


def _nodule(element: ElementTree.Element, reader: int, where: str) -> Mark:
    name = _text(element, "noduleID")
    where = f"{where}, nodule {name!r}"
    outlines = tuple(_outline(roi, "edgeMap", where) for roi in _children(element, "roi"))
    if not outlines:
        raise UserError(f"{where} has no outline.", "Every marked nodule has at least one (roi).", _GIVE)
    ratings = {}
    for block in _children(element, "characteristics"):
        for key in CHARACTERISTICS:
            if text := _text(block, key):
                ratings[key] = _whole(text, f"{where}: {key}")
    point = all(len(outline.points) == 1 for outline in outlines)
    return Mark(reader, name, SMALL_NODULE if point and not ratings else NODULE, outlines, ratings)


def _non_nodule(element: ElementTree.Element, reader: int, where: str) -> Mark:
    name = _text(element, "nonNoduleID")
    return Mark(reader, name, NON_NODULE, (_outline(element, "locus", f"{where}, non-nodule {name!r}"),), {})


def _outline(element: ElementTree.Element, point: str, where: str) -> Outline:
    sop_uid, z_text = _text(element, "imageSOP_UID"), _text(element, "imageZposition")
    if not sop_uid and not z_text:
        raise UserError(f"{where} has an outline on no slice.", "Neither imageSOP_UID nor imageZposition stands there.")
    try:
        z_mm = float(z_text) if z_text else None
    except ValueError:
        z_mm = float("nan")
    if z_mm is not None and not np.isfinite(z_mm):
        raise UserError(f"{where} lies at imageZposition {z_text!r}.", "A position in mm is needed.", _GIVE)
    points = [
        (_whole(_text(pixel, "xCoord"), f"{where}: xCoord"), _whole(_text(pixel, "yCoord"), f"{where}: yCoord"))
        for pixel in _children(element, point)
    ]
    if not points:
        raise UserError(f"{where} has an outline without any point ({point}).", todo=_GIVE)
    inclusion = _text(element, "inclusion").upper() or "TRUE"
    if inclusion not in ("TRUE", "FALSE"):
        raise UserError(f"{where} has the inclusion {inclusion!r}.", "It is TRUE or FALSE.", _GIVE)
    return Outline(np.array(points), inclusion == "TRUE", sop_uid, z_mm)


def _whole(text: str, where: str) -> int:
    try:
        value = float(text)
        if abs(value) < 1e6 and value == round(value):
            return round(value)
    except ValueError:
        pass
    raise UserError(f"{where} is {text!r}.", "A whole number is needed.", _GIVE)


def _same(a: tuple[Mark, ...], b: tuple[Mark, ...]) -> bool:
    """Whether two reading sessions hold the same marks."""
    return len(a) == len(b) and all(_content(one) == _content(other) for one, other in zip(a, b, strict=True))


def _content(mark: Mark) -> tuple[object, ...]:
    outlines = [(o.points.tolist(), o.inclusion, o.sop_uid, o.z_mm) for o in mark.outlines]
    return mark.name, mark.kind, outlines, mark.characteristics


def _remark(names: str, marks: Sequence[Mark], events: Events) -> None:
    nodules = [mark for mark in marks if mark.kind == NODULE]
    unrated = [str(mark) for mark in nodules if not mark.characteristics]
    if unrated:
        events.warning(f"{names}: {', '.join(unrated)} without ratings.", "Taken as 3 mm or more: it has an outline.")
    open_ = [str(mark) for mark in nodules if any(outline.gap > 1 for outline in mark.outlines)]
    if open_:
        events.warning(
            f"{names}: {', '.join(open_)} with an outline that is not closed.",
            "Its last point was joined to its first by a straight line.",
            "Look at the mask there.",
        )


def _tree(path: Path) -> ElementTree.Element:
    """Parse a file; document types and entities are refused, so that none can be expanded or fetched."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> NoReturn:
        raise UserError(
            f"{path.name} declares a document type or entities.", "No LIDC file does; they are not expanded.", _GIVE
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise UserError(f"{path.name} is larger than any LIDC file.", todo=_GIVE)
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except OSError as error:
        raise UserError(f"{path} cannot be read.", f"{error.strerror}.", "Give an annotation file (XML).") from error
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: an unknown encoding
        raise UserError(f"{path.name} is no XML, or is cut off.", f"The parser says: {error}.", _GIVE) from error


def _plain(tag: str) -> str:
    """Return an element's name without its prefix."""
    return tag.rpartition(":")[2]


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if _plain(child.tag).lower() == name.lower()]


def _text(element: ElementTree.Element, name: str) -> str:
    return next((child.text.strip() for child in _children(element, name) if child.text), "")
