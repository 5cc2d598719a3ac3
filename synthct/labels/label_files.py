"""A label map on disk: beside the voxels a log of how it was made, with its classes, and colours for Slicer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from synthct.errors import UserError
from synthct.labels.classes import ClassTable, parse_class_table
from synthct.labels.label_map import count_classes
from synthct.volumes.write import check_output, write_image
from synthct.whole_file import write_whole


def files_beside(path: Path | str) -> tuple[Path, Path]:
    """Return where the log (``labels.json``) and the colour table (``labels.ctbl``) of ``labels.nii.gz`` lie."""
    path = Path(path).expanduser()
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return path.with_name(f"{stem}.json"), path.with_name(f"{stem}.ctbl")


def check_label_output(path: Path | str, overwrite: bool = False) -> None:
    """Refuse an output before any work is done; see `synthct.volumes.write.check_output`."""
    check_output(path, overwrite)
    for beside in files_beside(path):
        if beside.exists() and not overwrite:
            raise UserError(f"{beside} exists already.", "It belongs to another label map.", "Choose another name.")


def write_label_map(
    labels: sitk.Image, table: ClassTable, log: Mapping[str, Any], path: Path | str, overwrite: bool = False
) -> dict[str, Any]:
    """Write a label map, its log and its colour table; return the log.

    The log holds ``table`` (the classes, as `synthct.labels.classes.parse_class_table` reads them), ``classes`` (their
    voxels and millilitres) and whatever ``log`` says.

    Raises
    ------
    UserError
        As `check_label_output`, or the disk is full.
    """
    check_label_output(path, overwrite)
    written = write_image(labels, path, overwrite)
    log_path, colours_path = files_beside(path)
    content = {"format": 1, "table": table.to_dict(), "classes": count_classes(labels, table), **log}
    try:
        write_whole(colours_path, colour_table(table))
        write_whole(log_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"The log of {written} cannot be written.", f"{error.strerror or error}.") from error
    return content


def read_log(path: Path | str) -> dict[str, Any] | None:
    """Return the log beside a label map, or None where there is none or it is no log of ours."""
    try:
        content = json.loads(files_beside(path)[0].read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "table" in content else None


def table_beside(path: Path | str) -> ClassTable | None:
    """Return the classes that a label map was made with, from its log, or None where it has none."""
    log = read_log(path)
    return None if log is None else parse_class_table(log["table"], str(files_beside(path)[0]))


def colour_table(table: ClassTable) -> str:
    """Return the classes as a colour table of 3D Slicer (``.ctbl``): index, name, red, green, blue, opacity.

    What no other class takes is transparent, so that the map can be shown over the CT.
    """
    rows = [f"# Color table of the classes {table.name!r}: index name r g b a"]
    for entry in sorted(table.classes, key=lambda entry: entry.index):
        opacity = 0 if entry.source in ("rest", "outside") else 255
        rows.append(f"{entry.index} {entry.name.replace(' ', '_')} {' '.join(map(str, entry.colour))} {opacity}")
    return "\n".join(rows) + "\n"
