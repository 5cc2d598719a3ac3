"""The cases of a ``pairs.json``: a list made of two folders, and one case put into the scene."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from synthct.errors import UserError
from synthct.scene.evaluation.charts import HEIGHT, MAE, ME, draw_slices
from synthct.scene.evaluation.error_maps import ERROR_HU, show_as_difference
from synthct.scene.evaluation.regions import Place, slice_places
from synthct.scene.evaluation.tables import fill_table, number_in
from synthct.scene.nodes import image_from_node, node_from_image, update_node_from_image
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import array_of, image_from_array, resample_onto
from synthct.volumes.hu import AIR_HU
from synthct.volumes.read import read_image
from synthct.whole_file import write_whole

_TEXTS = ("case", "group", "region")
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
LIST, RESULTS = "SyntheticCT.Pairs", "SyntheticCT.Results"
"""Attributes of the table of cases: the list and the folder that it came from."""
CASE_NODES = ("caseReference", "caseSynthetic", "caseError")
"""Parameters that hold the case shown; the next one takes its place."""


@dataclass(frozen=True)
class Case:
    """Where the images of a case lie."""

    case: str
    group: str
    reference: Path
    synthetic: Path
    mask: Path | str | None
    """``auto``: the body."""

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.group} {self.case}".strip()


def read_cases(path: Path) -> dict[str, Case]:
    """Return the cases of a list by their names; the evaluation itself checks every entry.

    Raises
    ------
    UserError
        The list cannot be read.
    """
    try:
        cases = [_case(entry, path.parent) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The list {path} cannot be read.", f"{error}.", "Choose a pairs.json.") from error
    return {case.name: case for case in cases}


def write_list(references: Path, synthetics: Path, path: Path, group: str = "", body: bool = True) -> int:
    """Write the files that both folders hold by the same name as cases, or add them to a list that exists.

    Returns
    -------
    int
        How many cases came from the folders.

    Raises
    ------
    UserError
        A folder that cannot be read, no file in both, a case that the list has already, or no place to write to.
    """
    found = [_images(folder) for folder in (references, synthetics)]
    shared = sorted(found[0].keys() & found[1].keys())
    if not shared:
        raise UserError(
            f"{references} and {synthetics} share no file.",
            f"They hold {len(found[0])} and {len(found[1])} images, none with the same name.",
            "Name every synthetic CT like its reference.",
        )
    if references.resolve() == synthetics.resolve():
        raise UserError(f"Both folders are {references}.", todo="Choose the folder of the synthetic CTs.")
    entries = _existing(path)
    taken = {(str(entry.get("case")), str(entry.get("group") or "")) for entry in entries}
    twice = [name for name in shared if (name, group) in taken]
    if twice:
        raise UserError(
            f"{path} has the case {twice[0]} already.", "Cases of one group have different names.", "Name the group."
        )
    for name in shared:
        entry = {"case": name, "reference": str(found[0][name]), "synthetic": str(found[1][name])}
        entries.append(entry | ({"mask": "auto"} if body else {}) | ({"group": group} if group else {}))
    try:
        write_whole(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another place.") from error
    return len(shared)


def take_scores(listed: Path, results: Path, table: slicer.vtkMRMLTableNode | None) -> slicer.vtkMRMLTableNode:
    """Put the scores of an evaluated cohort into a table node (None: a new one) that knows where they came from.

    Raises
    ------
    UserError
        The scores cannot be read.
    """
    path = results / "scores.csv"
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        columns: dict[str, Any] = {
            name: [row[name] if name in _TEXTS else number_in(row[name]) for row in rows] for name in rows[0]
        }
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be read.", f"{error}.", "Evaluate the cohort again.") from error
    table = fill_table(table, f"Cohort {results.name}", columns)
    table.SetAttribute(LIST, str(listed))
    table.SetAttribute(RESULTS, str(results))
    return table


def load_case(case: Case, parameters: Any) -> None:
    """Put a case into the scene in place of the one before: reference, synthetic CT and error.

    Raises
    ------
    UserError
        Naming the file that cannot be read.
    """
    reference, synthetic = (read_image(path, finite=False) for path in (case.reference, case.synthetic))
    moved = resample_onto(synthetic, reference, "linear", AIR_HU)
    error = array_of(moved).astype(np.float32) - array_of(reference).astype(np.float32)
    if case.mask is not None:
        inside = body_mask(reference, "ct") if case.mask == "auto" else read_image(case.mask)
        error[array_of(resample_onto(inside, reference, "nearest", 0)) == 0] = 0
    images = (reference, synthetic, image_from_array(np.nan_to_num(error), reference))
    for parameter, image, word in zip(CASE_NODES, images, ("CT", "sCT", "error"), strict=True):
        node = getattr(parameters, parameter)
        if node is None:
            node = node_from_image(image, f"{case.name} {word}")
            setattr(parameters, parameter, node)
        else:
            update_node_from_image(node, image)
        node.SetName(f"{case.name} {word}")
    show_as_difference(parameters.caseError, ERROR_HU, "synthetic − reference, HU")


def show_slices(results: Path, case: Case, parameters: Any) -> Place | None:
    """Draw the error by slice of the case that is shown; return the centre of its worst slice, or None.

    Raises
    ------
    UserError
        What was found for the case cannot be read.
    """
    path = results / "cases" / f"{case.name}.json"
    try:
        curve = json.loads(path.read_text(encoding="utf-8"))["slice_curve"]
        columns = {
            title: [math.nan if value is None else float(value) for value in curve[key]]
            for title, key in ((HEIGHT, "height_mm"), (MAE, "mae_hu"), (ME, "me_hu"))
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read.", f"{error}.", "Evaluate the cohort again.") from error
    parameters.caseChart = draw_slices(parameters.caseChart, f"{case.name}: error by slice", columns)
    places = slice_places(image_from_node(parameters.caseReference))
    errors = np.nan_to_num(columns[MAE], nan=-math.inf)
    if len(errors) != len(places) or not np.isfinite(errors).any():
        return None
    return places[int(np.argmax(errors))]


def _case(entry: Mapping[str, Any], folder: Path) -> Case:
    paths = {key: folder / Path(entry[key]).expanduser() for key in ("reference", "synthetic")}
    mask = entry.get("mask")
    where = mask if mask in (None, "auto") else folder / Path(mask).expanduser()
    return Case(str(entry["case"]), str(entry.get("group") or ""), paths["reference"], paths["synthetic"], where)


def _images(folder: Path) -> dict[str, Path]:
    """Images of a folder by their names without the ending."""
    try:
        paths = sorted(path.absolute() for path in folder.iterdir() if path.name.lower().endswith(_ENDINGS))
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read.", f"{error.strerror}.", "Choose another.") from error
    return {_stem(path.name): path for path in paths}


def _stem(name: str) -> str:
    ending = next(each for each in _ENDINGS if name.lower().endswith(each))
    return name[: -len(ending)]


def _existing(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read.", f"{error}.", "Choose another name.") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise UserError(f"{path} is no list of cases.", todo="Choose another name.")
    return content
