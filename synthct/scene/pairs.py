"""Pairs of an MR or label map and its CT picked in the scene, kept as files with a manifest, for a training to read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.nodes import image_from_node
from synthct.whole_file import write_whole

MANIFEST = "pairs.json"
_FORMAT = 1
_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|\s]+')


@dataclass(frozen=True)
class PairKind:
    """What a task's networks turn into CTs."""

    key: str
    """In a manifest."""
    name: str
    """For people."""
    node_type: str
    ending: str
    """Of the files' names."""


KINDS = {
    "mr-to-ct": PairKind("mr", "MR", "vtkMRMLScalarVolumeNode", "MR"),
    "label-to-ct": PairKind("labels", "label map", "vtkMRMLLabelMapVolumeNode", "labels"),
}
"""By task."""


def add_pair(
    input_node: slicer.vtkMRMLVolumeNode | None,
    ct_node: slicer.vtkMRMLScalarVolumeNode | None,
    folder: str,
    kind: PairKind = KINDS["mr-to-ct"],
) -> str:
    """Write two volumes as NRRD files into ``folder`` and list them in its ``pairs.json``; return the case's id.

    The case is named after the MR or label map. Files and entries that are there already stay as they are; a number is
    added to a name that is taken.

    Raises
    ------
    UserError
        A volume is missing or cannot be used, both are the same, or the folder cannot be written.
    """
    if not folder:
        raise UserError("No folder for the pairs is chosen.", "They are kept as files.", "Choose one at “Keep in”.")
    if input_node is None or ct_node is None:
        missing = kind.name if input_node is None else "CT"
        raise UserError(f"No {missing} is chosen.", f"A pair has {kind.name} and CT.", f"Choose the {missing}.")
    if input_node is ct_node:
        raise UserError(
            f"{kind.name} and CT are the same volume, {input_node.GetName()}.",
            "There would be nothing to learn.",
            "Choose the CT.",
        )
    images = {kind.ending: image_from_node(input_node), "CT": image_from_node(ct_node)}
    manifest = Path(folder) / MANIFEST
    content = _read(manifest)
    taken = {str(case.get("id")).casefold() for case in content["cases"]}
    base = _NOT_IN_NAMES.sub(" ", input_node.GetName()).strip(" .") or "pair"
    numbered = (base, *(f"{base} {number}" for number in range(2, len(taken) + 1000)))
    name = next(
        name
        for name in numbered
        if name.casefold() not in taken
        and not any((Path(folder) / f"{name}_{ending}.nrrd").exists() for ending in images)
    )
    files = {ending: Path(folder) / f"{name}_{ending}.nrrd" for ending in images}
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for ending, image in images.items():
            sitk.WriteImage(image, str(files[ending]), useCompression=False)
        content["cases"].append({"id": name, kind.key: files[kind.ending].name, "ct": files["CT"].name})
        write_whole(manifest, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except (OSError, RuntimeError) as error:
        for path in files.values():
            path.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) and error.strerror else "The disk is full or not writable"
        raise UserError(f"The pair cannot be kept in {folder}.", f"{why}.", "Choose another folder.") from error
    return name


def _read(manifest: Path) -> dict:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("cases"), list):
            return content
    except FileNotFoundError:
        return {"format": _FORMAT, "cases": []}
    except (OSError, ValueError) as error:
        raise UserError(f"{manifest} cannot be read.", f"{error}.", "Choose another folder.") from error
    raise UserError(f"{manifest} is not a list of cases.", "It has no `cases`.", "Choose another folder.")
