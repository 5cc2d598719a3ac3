"""The folder of a visual Turing test: blinded items, and each rater's answers, saved one by one.

``test.json`` (seed, items in the order shown, display window), ``items/NNN.nii.gz`` and ``items/NNN_mask.nii.gz``,
``answers/RATER.csv``; ``key.json`` says which items are real and is read by nothing that shows them. Only the standard
library is used, so that a viewer can open the folder.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from synthct.errors import UserError
from synthct.whole_file import write_whole

TEST, KEY, ITEMS, ANSWERS = "test.json", "key.json", "items", "answers"
LOWEST, HIGHEST = 0, 10
"""0: surely real, 10: surely generated (row C13)."""
FORMAT = 1


@dataclass(frozen=True)
class Item:
    """What a rater is shown."""

    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Answer:
    """One rating, when it was given (UTC, ISO 8601) and after how many seconds of looking."""

    rating: float
    seconds: float
    time: str


@dataclass(frozen=True)
class TuringTest:
    """An opened test."""

    folder: Path
    items: tuple[Item, ...]
    window: tuple[float, float]
    """Lowest and highest HU shown, the same for every item."""


def open_test(folder: Path) -> TuringTest:
    """Read ``test.json``; UserError where the folder holds no whole test."""
    path = folder / TEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] > FORMAT:
            raise UserError(
                f"{path} is of format {content['format']}.", "This version is older.", "Update SyntheticCT."
            )
        items = tuple(_item(folder / ITEMS, str(name)) for name in content["items"])
        window = (float(content["window"][0]), float(content["window"][1]))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{folder} holds no visual Turing test.",
            f"{TEST} cannot be read: {error}.",
            "Choose a folder that `synthct turing prepare` has written.",
        ) from error
    for item in items:
        if not item.image.is_file():
            raise UserError(f"{item.image} of the Turing test is missing.", todo="Copy the whole folder again.")
    return TuringTest(folder, items, window)


def raters(folder: Path) -> list[str]:
    """Names of those who have answered, sorted."""
    return sorted(path.stem for path in (folder / ANSWERS).glob("*.csv"))


def read_answers(folder: Path, rater: str) -> dict[str, Answer]:
    """Return the answers of one rater so far, by item; empty where there are none.

    Raises
    ------
    UserError
        A file that is no table of answers, or a rating off the scale.
    """
    path = _answers(folder, rater)
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = {
                row["item"]: Answer(float(row["rating"]), float(row["seconds"]), row["time"])
                for row in csv.DictReader(file)
            }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The answers {path} cannot be read.", f"{error}.", "Repair or move the file.") from error
    for item, answer in found.items():
        _require_scale(answer.rating, f"{path}, item {item}")
    return found


def save_answer(folder: Path, rater: str, item: str, rating: float, seconds: float) -> dict[str, Answer]:
    """Add or change one answer, on the disk at once, and return all of the rater's.

    Raises
    ------
    UserError
        A name that cannot be a file's, a rating off the scale, or a folder that cannot be written.
    """
    _require_scale(rating, f"The rating of item {item}")
    answers = read_answers(folder, rater)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    answers[item] = Answer(rating, seconds, now)
    path = _answers(folder, rater)
    try:
        write_whole(path, _as_csv(answers))
    except OSError as error:
        raise UserError(
            f"{path} cannot be written.", f"{error.strerror}.", "Copy the folder to another place."
        ) from error
    return answers


def _as_csv(answers: Mapping[str, Answer]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["item", "rating", "seconds", "time"])
    for item, answer in answers.items():
        writer.writerow([item, f"{answer.rating:g}", f"{answer.seconds:.1f}", answer.time])
    return text.getvalue()


def _answers(folder: Path, rater: str) -> Path:
    if not re.fullmatch(r"\w[\w .-]{0,60}", rater) or rater != rater.strip():
        raise UserError(
            f"{rater!r} cannot be a rater's name.",
            "It names a file: letters, digits, spaces, dots and hyphens, no more than 60.",
            "Give another name.",
        )
    return folder / ANSWERS / f"{rater}.csv"


def _item(folder: Path, name: str) -> Item:
    mask = folder / f"{name}_mask.nii.gz"
    return Item(name, folder / f"{name}.nii.gz", mask if mask.is_file() else None)


def _require_scale(rating: float, what: str) -> None:
    if not LOWEST <= rating <= HIGHEST:
        raise UserError(f"{what} is {rating:g}.", f"The scale is {LOWEST} to {HIGHEST}.", "Correct it.")
