"""``pairs.json``: which reference, synthetic CT, mask and regions make a case, for an evaluation of many."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthct.errors import UserError

_KEYS = {"case", "reference", "synthetic", "mask", "regions", "group"}


@dataclass(frozen=True)
class ListedPair:
    """One case; ``mask`` may be ``auto``, the CT's body."""

    case: str
    reference: Path
    synthetic: Path
    mask: Path | str | None = None
    regions: Path | None = None
    group: str = ""
    """What it is compared by, such as the method that made it; empty: there is one group."""

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.group} {self.case}".strip()


def read_pairs(path: Path) -> list[ListedPair]:
    """Read a list of cases: ``[{"case", "reference", "synthetic"[, "mask", "regions", "group"]}, ...]``.

    Paths are those from the file's own folder.

    Raises
    ------
    UserError
        Unreadable, an unknown or missing key, a file that does not exist, a case or a pair twice in one group.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"The list {path} cannot be read.", f"{error}.", "Give a JSON list of cases.") from error
    if not isinstance(content, list) or not content:
        raise UserError(f"{path} is no list of cases.", todo='Write [{"case", "reference", "synthetic"}, ...].')
    pairs = [_pair(entry, number, path) for number, entry in enumerate(content, 1)]
    names: set[str] = set()
    files: dict[tuple[str, Path, Path], str] = {}
    for pair in pairs:
        if pair.name in names:
            raise UserError(f"{path} has the case {pair.name} twice.", todo="Name every case once in a group.")
        names.add(pair.name)
        other = files.setdefault((pair.group, pair.reference.resolve(), pair.synthetic.resolve()), pair.name)
        if other != pair.name:
            raise UserError(
                f"{path} has the files of {other} again as {pair.name}.",
                "A case that counts twice makes differences look surer than they are.",
                "Take one of them out.",
            )
    return pairs


def _pair(entry: Any, number: int, path: Path) -> ListedPair:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise UserError(f"Entry {number} of {path} is no case.", todo="Give an object of texts.")
    unknown, missing = sorted(entry.keys() - _KEYS), sorted({"case", "reference", "synthetic"} - entry.keys())
    if unknown or missing:
        why = f"It does not know {', '.join(unknown)}." if unknown else f"{', '.join(missing)} is missing."
        raise UserError(f"Entry {number} of {path} cannot be used.", why, f"Keys are {', '.join(sorted(_KEYS))}.")
    if (
        not entry["case"]
        or set(entry["case"] + entry.get("group", "")) & set('/\\:*?"<>|\0')
        or entry["case"][0] == "."
    ):
        raise UserError(
            f"Entry {number} of {path} has a case or group that cannot be a file's name.", todo="Rename it."
        )
    files: dict[str, Path] = {}
    for key in ("reference", "synthetic", "mask", "regions"):
        if key in entry and not (key == "mask" and entry[key] == "auto"):
            files[key] = path.parent / Path(entry[key]).expanduser()
            if not files[key].exists():
                raise UserError(f"The {key} of case {entry['case']}, {files[key]}, does not exist.", f"See {path}.")
    mask: Path | str | None = files.get("mask", "auto" if entry.get("mask") == "auto" else None)
    return ListedPair(
        entry["case"], files["reference"], files["synthetic"], mask, files.get("regions"), entry.get("group", "")
    )
