"""A folder of ``synthct generate`` as Slicer sees it: how far it is, and what is known of each pair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthct.errors import UserError
from synthct.scene.folder_job import JOB

RECORDS, PROCESS = "records", "records/process0of1"
"""Where each pair is known, and what a single process holds while it works."""
PICTURE = "closest_pairs.png"
LEAK = "too close to a training case"
_MANIFEST = "manifest.json"
_OF_PAIRS = ("images", "masks", _MANIFEST, "cohort.json")
_NOT_SETTINGS = ("format", "pairs", "leak_check")


@dataclass(frozen=True)
class Pair:
    """An image, and its mask where the model makes one."""

    id: str
    image: str
    mask: str | None
    mask_mm3: float | None
    class_name: str
    flags: tuple[str, ...]
    reasons: tuple[str, ...]
    """Why it comes too close to a training case."""

    @property
    def leaks(self) -> bool:
        """Whether it comes too close to a training case."""
        return LEAK in self.flags

    @property
    def remarks(self) -> str:
        """What is to be known of it, or an empty text."""
        return "; ".join([*self.flags, *self.reasons])


@dataclass(frozen=True)
class GeneratedFolder:
    """What lies in a folder of pairs."""

    folder: Path
    pairs: tuple[Pair, ...]
    settings: Mapping[str, Any]
    """What all pairs have in common: model, seed, class, and what was done to the masks."""
    joined: int
    """How many pairs the manifest lists; 0: there is none yet."""
    checked: bool
    """Whether they were compared with training cases."""
    begun: Mapping[str, Any]
    """Options of the job that Slicer started there last; empty: none was."""

    @classmethod
    def at(cls, folder: Path) -> GeneratedFolder | None:
        """Return the pairs in ``folder``, or None where there are none.

        Raises
        ------
        UserError
            The folder holds images of something else, or what says so cannot be read.
        """
        try:
            return cls._read(folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"The pairs in {folder} cannot be read.", f"{error}.", "Choose another folder.") from error

    @classmethod
    def _read(cls, folder: Path) -> GeneratedFolder | None:
        if not (folder / RECORDS / "generate").exists():
            there = [name for name in _OF_PAIRS if (folder / name).exists()]
            if there or folder.is_file():
                raise UserError(
                    f"{folder} is a file." if folder.is_file() else f"{folder} holds {', '.join(there)} already.",
                    "Pairs have a folder of their own.",
                    "Choose another folder.",
                )
            return None
        content = _json(folder / _MANIFEST) or {}
        entries = {entry["id"]: entry for entry in content.get("pairs", ())}
        joined = len(entries)
        records = sorted((folder / RECORDS).glob("pair_*.json"))
        for path in records:
            if path.stem not in entries:
                entries[path.stem] = _json(path) or {}
        settings = {key: value for key, value in content.items() if key not in _NOT_SETTINGS}
        if records:  # a manifest may have been left by another command that was refused later
            settings = (_json(records[0]) or {})["settings"]
        pairs = tuple(_pair(entries[name]) for name in sorted(entries))
        begun = (_json(folder / JOB / "job.json") or {}).get("options", {})
        return cls(folder, pairs, settings, joined, "leak_check" in content, begun)

    @property
    def model(self) -> str:
        """Name of the model that made them."""
        return str((self.settings.get("model") or {}).get("name", ""))

    @property
    def asked(self) -> int:
        """How many pairs shall be there, as far as this is known."""
        return max(len(self.pairs), int(self.begun.get("count", 0)))

    @property
    def complete(self) -> bool:
        """Whether all pairs are there, and listed."""
        return 0 < self.joined >= self.asked

    @property
    def unfinished_options(self) -> dict[str, Any]:
        """Options of an unfinished set that was begun in Slicer; nothing where it is finished or of a shell's."""
        if self.complete or not self.begun:
            return {}
        return {**self.begun, "output": str(self.folder)}

    def differs(self, settings: Mapping[str, Any]) -> list[str]:
        """Return in what ``settings`` are others than those that the pairs were made with."""
        if not self.pairs:
            return []
        return [key for key in {**settings, **self.settings} if self.settings.get(key) != settings.get(key)]


def training_cases(path: Path) -> int:
    """Return how many cases of a cohort are not left out.

    Raises
    ------
    UserError
        No cohort, or none of its cases can be used.
    """
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        found = sum(not case.get("excluded") for case in cases)
    except FileNotFoundError:
        raise UserError(f"The list of cases {path} does not exist.", todo="Choose a cohort.json.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no list of cases.", f"{error}.", "Choose a cohort.json.") from error
    if not found:
        raise UserError(f"No case of {path} can be used.", "All are left out.", "Choose the training's cohort.json.")
    return found


def _pair(entry: Mapping[str, Any]) -> Pair:
    flags = tuple(str(flag) for flag in entry["flags"])
    neighbour = entry.get("training_neighbour") or {}
    reasons = tuple(str(reason) for reason in neighbour.get("reasons", ())) if LEAK in flags else ()
    volume = entry.get("mask_mm3")
    return Pair(
        str(entry["id"]), str(entry["image"]), entry.get("mask"), volume, str(entry.get("class") or ""), flags, reasons
    )


def _json(path: Path) -> dict[str, Any] | None:
    """Return what a file says, or None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys")
    return content
