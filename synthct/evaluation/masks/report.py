"""Masks of many patients scored, one row each, and summed up: over all, and over those who have a lesion (row B11)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct import __version__
from synthct.errors import UserError
from synthct.evaluation.masks.scores import DEFINITIONS, definitions, mask_scores
from synthct.evaluation.plain_values import without_nan
from synthct.evaluation.statistics.summary import summarise
from synthct.volumes.geometry import array_of, require_same_grid
from synthct.volumes.read import read_image

PRESENT = "lesion_present"


def mask_pairs(reference: Path, predicted: Path) -> list[tuple[str, Path, Path]]:
    """Return (name, reference file, predicted file): two files, or the files of one name in two folders.

    Raises
    ------
    UserError
        A folder beside a file, or names that are only in one of the folders.
    """
    if reference.is_file() and predicted.is_file():
        return [(_stem(predicted), reference, predicted)]
    for path in (reference, predicted):
        if not path.exists():
            raise UserError(f"{path} does not exist.", todo="Give two files, or two folders.")
    for path, other in ((reference, predicted), (predicted, reference)):
        if path.is_file():
            raise UserError(
                f"{path} is a file, and {other} a folder.", todo="Give two files, or two folders with names alike."
            )
    truth, found = (
        {_stem(path): path for path in sorted(folder.iterdir()) if _is_image(path)} for folder in (reference, predicted)
    )
    if not truth:
        raise UserError(f"{reference} holds no masks.", "No NIfTI, NRRD or MetaImage file is in it.", "Correct it.")
    for names, folder in ((found.keys() - truth.keys(), reference), (truth.keys() - found.keys(), predicted)):
        if names:
            listed = ", ".join(sorted(names)[:5])
            raise UserError(
                f"{folder} lacks {len(names)} of the masks: {listed}.",
                "Both folders must have the same names, or a missed patient would not count.",
                "Add them, an empty mask where nothing was found, or take the others away.",
            )
    return [(name, truth[name], found[name]) for name in sorted(truth)]


def score_masks(pairs: Sequence[tuple[str, Path, Path]], tolerance_mm: float) -> Iterator[dict[str, Any]]:
    """Yield one row per pair: ``patient``, ``lesion_present`` (of the reference) and the scores.

    Raises
    ------
    UserError
        Files that are no masks of one grid.
    """
    for name, truth_path, found_path in pairs:
        truth, found = _mask(truth_path), _mask(found_path)
        require_same_grid(truth, found, (str(truth_path), str(found_path)))
        scores = mask_scores(array_of(truth), array_of(found), truth.GetSpacing(), tolerance_mm)
        yield {"patient": name, PRESENT: "yes" if scores["reference_ml"] > 0 else "no", **scores}


def summary(rows: Sequence[Mapping[str, Any]], tolerance_mm: float, seed: int = 0) -> dict[str, Any]:
    """Return every score summed up over all patients and over those with a lesion, NaN as None."""
    groups = {"all patients": rows, "patients with a lesion": [row for row in rows if row[PRESENT] == "yes"]}
    return {
        "patients": len(rows),
        "with_a_lesion": len(groups["patients with a lesion"]),
        "scores": {
            group: {name: without_nan(asdict(summarise([row[name] for row in chosen], seed))) for name in DEFINITIONS}
            for group, chosen in groups.items()
        },
        "definitions": definitions(tolerance_mm),
        "version": __version__,
    }


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Return the rows as CSV, ``columns`` (name → text, the same in every row) before them; empty where not defined."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*columns, *rows[0]])
    for row in rows:
        writer.writerow([*columns.values(), *("" if _is_nan(value) else value for value in row.values())])
    return text.getvalue()


def _mask(path: Path) -> sitk.Image:
    image = read_image(path)
    values = np.unique(array_of(image))
    if values.size > 2 or (values.size == 2 and values[0] != 0):
        shown = ", ".join(f"{value:g}" for value in values[:5])
        raise UserError(
            f"{path} is not a binary mask.",
            f"It holds the values {shown}{' …' if values.size > 5 else ''}.",
            "Give 0 outside and one other value inside; write each structure of a label map on its own.",
        )
    return image


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0] if path.suffix == ".gz" else path.stem


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
