"""Pairs of an MR and a CT picked in the scene, kept as files and a manifest, so that a training can read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.nodes import image_from_node
from synthct.whole_file import write_whole

MANIFEST = "pairs.json"
_FORMAT = 1
_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|\s]+')


def add_pair(
    mr_node: slicer.vtkMRMLScalarVolumeNode | None, ct_node: slicer.vtkMRMLScalarVolumeNode | None, folder: str
) -> str:
    """Write two volumes as NRRD files into ``folder`` and list them in its ``pairs.json``; return the case's id.

    The case is named after the MR. Files and entries that are there already stay as they are; a number is added to a
    name that is taken.

    Raises
    ------
    UserError
        A volume is missing or cannot be used, both are the same, or the folder cannot be written.
    """
    if not folder:
        raise UserError("No folder for the pairs is chosen.", "They are kept as files.", "Choose one at “Keep in”.")
    if mr_node is None or ct_node is None:
        missing = "MR" if mr_node is None else "CT"
        raise UserError(f"No {missing} is chosen.", "A pair has an MR and a CT.", f"Choose the {missing}.")
    if mr_node is ct_node:
        raise UserError(
            f"MR and CT are the same volume, {mr_node.GetName()}.", "There would be nothing to learn.", "Choose the CT."
        )
    images = {"MR": image_from_node(mr_node), "CT": image_from_node(ct_node)}
    manifest = Path(folder) / MANIFEST
    content = _read(manifest)
    taken = {str(case.get("id")).casefold() for case in content["cases"]}
    base = _NOT_IN_NAMES.sub(" ", mr_node.GetName()).strip(" .") or "pair"
    numbered = (base, *(f"{base} {number}" for number in range(2, len(taken) + 1000)))
    name = next(
        name
        for name in numbered
        if name.casefold() not in taken and not any((Path(folder) / f"{name}_{kind}.nrrd").exists() for kind in images)
    )
    files = {kind: Path(folder) / f"{name}_{kind}.nrrd" for kind in images}
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for kind, image in images.items():
            sitk.WriteImage(image, str(files[kind]), useCompression=False)
        content["cases"].append({"id": name, "mr": files["MR"].name, "ct": files["CT"].name})
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
