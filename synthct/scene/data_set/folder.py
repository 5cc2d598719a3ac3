"""A data set of ``synthct dataset`` as Slicer sees it: how far it is, and one of its volumes put into the scene."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from synthct.errors import UserError
from synthct.labels.classes import parse_class_table
from synthct.scene.display import set_ct_window
from synthct.scene.folder_job import JOB
from synthct.scene.label_map.class_colours import set_classes
from synthct.scene.nodes import node_from_image
from synthct.scene.studies import sign
from synthct.volumes.read import read_image

_SETTINGS, _MANIFEST, _RECORDS = "dataset.json", "manifest.json", "records"


@dataclass(frozen=True)
class DataSet:
    """What lies in a data set's folder."""

    folder: Path
    count: int
    """How many volumes were asked for."""
    volumes: tuple[str, ...]
    """Names of those that are finished."""

    @property
    def complete(self) -> bool:
        """Whether all are finished."""
        return len(self.volumes) >= self.count and (self.folder / _MANIFEST).is_file()

    @property
    def begun_with(self) -> dict[str, Any]:
        """Options of an unfinished data set that was begun in Slicer; nothing where it is finished or of a shell's."""
        if self.complete:
            return {}
        try:
            content = json.loads((self.folder / JOB / "job.json").read_text(encoding="utf-8"))
            return {**content["options"], "output": str(self.folder)}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    @classmethod
    def at(cls, folder: Path) -> DataSet | None:
        """Return the data set in ``folder``, or None where there is none.

        Raises
        ------
        UserError
            The folder holds something else, or what says so cannot be read.
        """
        path = folder / _SETTINGS
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            volumes = tuple(sorted(record.stem for record in (folder / _RECORDS).glob("volume_*.json")))
            return cls(folder, int(content["count"]), volumes)
        except FileNotFoundError:
            if folder.is_dir() and any(entry.name not in (JOB, _RECORDS) for entry in folder.iterdir()):
                raise UserError(
                    f"{folder} holds other files.", "A data set has a folder of its own.", "Choose another folder."
                ) from None
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read.", f"{error}.", "Choose another folder.") from error


def load_volume(folder: Path, name: str) -> dict[str, slicer.vtkMRMLVolumeNode]:
    """Put one volume into the scene: ``image`` in a CT window, ``labels`` in the colours of its classes, ``mask``.

    Raises
    ------
    UserError
        The volume's record or a file of it is missing or damaged.
    """
    path = folder / _RECORDS / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        images = {kind: read_image(folder / record[kind]) for kind in ("image", "labels", "mask")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read.", f"{error}.", "Make the volume again.") from error
    nodes = {
        kind: node_from_image(image, f"{name} {'CT' if kind == 'image' else kind}", label=kind != "image")
        for kind, image in images.items()
    }
    set_ct_window(nodes["image"], "Lung")
    sign(
        nodes["image"], str(record.get("model", {}).get("name", "")), f"{record.get('case')}, edited,", nodes["labels"]
    )
    table = _table(folder)
    if table is not None:
        set_classes(nodes["labels"], parse_class_table(table, str(folder / _MANIFEST)))
    return nodes


def _table(folder: Path) -> Mapping[str, Any] | None:
    """Return the classes of the label maps, where the manifest is written already."""
    try:
        content = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return content["table"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
