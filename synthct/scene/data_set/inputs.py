"""What a data set is made from, looked at before anything is started: cases with label maps, templates, the rest."""

from __future__ import annotations

import json
from pathlib import Path

from synthct.errors import UserError
from synthct.labels.library import list_templates


def usable_cases(path: Path) -> int:
    """Return how many cases of a cohort have a label map and are not left out.

    Raises
    ------
    UserError
        No cohort, or none of its cases has a label map.
    """
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        found = [case for case in cases if case.get("labels") and not case.get("excluded")]
    except FileNotFoundError:
        raise UserError(
            f"The list of cases {path} does not exist.", todo="`synthct cohort FOLDER --task label-to-ct` makes one."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no list of cases.", f"It cannot be read: {error}.", "Choose a cohort.json."
        ) from error
    if not found:
        raise UserError(
            f"No case of {path} has a label map.",
            "Volumes are cut from label maps.",
            "`synthct cohort FOLDER --task label-to-ct` lists cases with label maps.",
        )
    return len(found)


def usable_templates(path: Path) -> int:
    """Return how many templates a library has.

    Raises
    ------
    UserError
        No library, none in it, or a damaged one.
    """
    found = len(list_templates(path))
    if not found:
        raise UserError(f"The library {path} is empty.", "There is no nodule to plant.", "Cut some from a mask first.")
    return found
