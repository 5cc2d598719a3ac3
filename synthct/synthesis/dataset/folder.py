"""The folder of a data set: volumes that are there whole or not at all, what is known of each, and who may add to it.

``images/``, ``labels/`` and ``masks/`` hold ``volume_00000.nii.gz``, …; ``records/volume_00000.json``, written last,
says that a volume is finished, and what it is. ``dataset.json`` says what all were made with. Once every volume is
there, ``manifest.json`` and ``manifest.csv`` join the records, and ``cohort.json`` names images with masks as cases.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from synthct.data.cohort import Case, Cohort, write_cohort
from synthct.errors import UserError
from synthct.labels.classes import ClassTable
from synthct.labels.label_files import colour_table
from synthct.locks import turn
from synthct.volumes.write import write_image
from synthct.whole_file import write_whole

FORMAT = 1
SETTINGS, MANIFEST, TABLE, COHORT, COLOURS, RECORDS = (
    "dataset.json",
    "manifest.json",
    "manifest.csv",
    "cohort.json",
    "labels.ctbl",
    "records",
)
MOST_VOLUMES = 100_000
KINDS = {"image": "images", "labels": "labels", "mask": "masks"}
_COLUMNS = (
    *("id", "image", "labels", "mask", "case", "patient", "origin_i", "origin_j", "origin_k"),
    *("origin_r_mm", "origin_a_mm", "origin_s_mm", "nodules", "templates", "positions_ras_mm", "volumes_mm3"),
    *("scales", "rotations_deg", "lung", "seed", "weights_sha256"),
)


def volume_name(index: int) -> str:
    """Return what volume ``index`` is called."""
    return f"volume_{index:05d}"


class DatasetFolder:
    """Where volumes are kept.

    Parameters
    ----------
    root
        The folder, which is made.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser()

    @property
    def manifest(self) -> Path:
        """Where the manifest lies once it is written."""
        return self.root / MANIFEST

    def claim(self, settings: Mapping[str, Any], count: int) -> None:
        """Make the folder for ``count`` volumes made with ``settings``, or go on in one that was made with the same.

        A larger count adds volumes to a finished data set: none depends on how many there are. A folder in which no
        volume is finished is begun anew.

        Raises
        ------
        UserError
            Other settings, by the name of the option; more volumes than asked for; a folder that was not made here, or
            cannot be written.
        """
        path = self.root / SETTINGS
        try:
            (self.root / RECORDS).mkdir(parents=True, exist_ok=True)
            with turn(self.root / RECORDS / "claiming"):
                before = self._settings(path)
                if before is None:
                    self._refuse_foreign()
                elif any((self.root / RECORDS).glob("*.json")):
                    self._refuse_other(before, settings, count)
                content = {"format": FORMAT, "count": count, **settings}
                write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(
                f"{self.root} cannot be written.", f"{error.strerror or error}.", "Choose another folder."
            ) from error

    def finished(self, index: int) -> bool:
        """Whether a volume is there with its record."""
        name = volume_name(index)
        return self._record(index) is not None and all(
            (self.root / folder / f"{name}.nii.gz").is_file() for folder in KINDS.values()
        )

    def clear(self, indices: Iterable[int]) -> None:
        """Remove what killed processes left aside of these volumes; nobody else may be at work on them."""
        names = {volume_name(index) for index in indices}
        for folder in KINDS.values():
            for path in (self.root / folder).glob(".*.part.nii.gz"):
                if path.name.split(".")[1] in names:
                    path.unlink(missing_ok=True)

    def write(self, index: int, images: Mapping[str, sitk.Image], facts: Mapping[str, Any]) -> None:
        """Write a volume's image, labels and mask, and then its record.

        Raises
        ------
        UserError
            The disk is full or the folder cannot be written.
        """
        name = volume_name(index)
        files = {kind: f"{folder}/{name}.nii.gz" for kind, folder in KINDS.items()}
        for kind, file in files.items():
            write_image(images[kind], self.root / file, overwrite=True)
        record = {"id": name, "index": index, **files, **facts}
        path = self.root / RECORDS / f"{name}.json"
        try:
            write_whole(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Make room.") from error

    def join(self, count: int, table: ClassTable, partly: bool = False) -> bool:
        """Write manifest, table and cohort of the finished ones of ``count`` volumes; return whether it was done.

        Parameters
        ----------
        table
            Classes of the label maps.
        partly
            Also where some are not finished, if any is.
        """
        records = [self._record(index) for index in range(count) if self.finished(index)]
        found = [record for record in records if record is not None]
        if not found or (len(found) < count and not partly):
            return False
        settings = self._settings(self.root / SETTINGS) or {}
        kept = {key: value for key, value in settings.items() if key not in ("format", "count")}
        content = {
            "format": FORMAT,
            "complete": len(found) == count,
            "settings": kept,
            "table": table.to_dict(),
            "volumes": found,
        }
        with turn(self.root / RECORDS / "joining"):
            write_whole(self.root / TABLE, _csv(found))
            write_whole(self.root / COLOURS, colour_table(table))
            cases = tuple(self._case(record) for record in found)
            write_cohort(Cohort(cases, self.root), self.root / COHORT, overwrite=True)
            write_whole(self.manifest, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return True

    def _case(self, record: Mapping[str, Any]) -> Case:
        """Image and mask of a volume; cubes of one patient stay in one part of any split."""
        image, mask = (self.root / record[kind] for kind in ("image", "mask"))
        return Case(record["id"], None, image, mask, patient=record["patient"])

    def _record(self, index: int) -> dict[str, Any] | None:
        try:
            text = (self.root / RECORDS / f"{volume_name(index)}.json").read_text(encoding="utf-8")
            record: dict[str, Any] = json.loads(text)
            return record if record["index"] == index else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _settings(self, path: Path) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] <= FORMAT and isinstance(content["count"], int):
                return content
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read.", f"{error}.", "Choose another folder.") from error
        raise UserError(f"{path} was made by a newer version of SyntheticCT.", todo="Update this one.")

    def _refuse_foreign(self) -> None:
        names = (MANIFEST, TABLE, COHORT, COLOURS, *KINDS.values())
        there = [name for name in names if (self.root / name).exists()]
        if there:
            raise UserError(
                f"{self.root} holds {', '.join(there)} already.",
                f"It has no {SETTINGS}, so it was not made by `synthct dataset`.",
                "Choose another folder.",
            )

    def _refuse_other(self, before: Mapping[str, Any], settings: Mapping[str, Any], count: int) -> None:
        plain = json.loads(json.dumps(settings))
        other = [key for key in plain if key != "left_out" and before.get(key) != plain[key]]
        if other:
            listed = "; ".join(_difference(key, before.get(key), plain[key]) for key in other)
            raise UserError(
                f"{self.root} is a data set that was made otherwise.",
                f"{listed[:1].upper()}{listed[1:]}.",
                "Give the options that it was begun with, or choose another folder.",
            )
        if count < before["count"]:
            raise UserError(
                f"{self.root} is a data set of {before['count']} volumes, and --count is {count}.",
                "A data set may grow, but nothing is removed from it.",
                "Give at least so many, or choose another folder.",
            )


def _difference(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) or isinstance(now, dict):
        changed = {
            "model": "the model is another one",
            "cohort": "the cases or their label maps are others",
            "library": "the templates are others",
        }
        return changed.get(key, f"the {key} is another one")
    return f"--{key.replace('_', '-')} was {_written(before)} and is now {_written(now)}"


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_written, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _csv(records: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for record in records:
        nodules = record["nodules"]
        writer.writerow(
            [
                *(record[key] for key in ("id", "image", "labels", "mask", "case", "patient")),
                *record["origin_ijk"],
                *record["origin_ras"],
                len(nodules),
                ";".join(entry["template"] for entry in nodules),
                ";".join(" ".join(map(str, entry["position_ras"])) for entry in nodules),
                ";".join(str(entry["volume_mm3"]) for entry in nodules),
                ";".join(f"{entry['scale']:g}" for entry in nodules),
                ";".join(" ".join(f"{angle:g}" for angle in entry["rotation"]) for entry in nodules),
                record["constraints"]["lung"],
                " ".join(map(str, record["seed"])),
                record["model"]["weights_sha256"],
            ]
        )
    return text.getvalue()
