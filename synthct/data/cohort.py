"""A cohort: the cases that a network is trained and tested on, as a manifest that a person may edit.

``cohort.json`` names, per case, the MR (or, for networks that make a CT from one, the label map), the CT, an optional
body mask and what is known of the patient. For networks that make images from noise the CT is any image in HU, alone
or with a ``mask`` of what is outlined in it::

    {"format": 1, "cases": [{"id": "p01", "mr": "p01_MR.nii.gz", "ct": "p01_CT.nii.gz", "sex": "F"}]}

Paths are relative to the manifest where they can be, so that the folder can be moved as a whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synthct.errors import UserError
from synthct.events import Events
from synthct.recipe import IMAGE_TASKS, LABEL_TASK, Preparation, typed
from synthct.whole_file import write_whole

FORMAT = 1
_NAMES = {"mr": "MR", "ct": "CT", "mask": "mask", "labels": "label map"}
CLINICAL = ("patient", "sex", "diagnosis", "centre")


@dataclass(frozen=True)
class Case:
    """One CT of one patient with its MR, its label map or both; alone for networks that make images from noise.

    Two cases of one ``patient`` always stay in the same part of a split.
    """

    id: str
    mr: Path | None
    """NIfTI, NRRD, MetaImage, or a DICOM folder."""
    ct: Path
    mask: Path | None = None
    """Body mask on the grid of MR or label map; None: made from the MR, or for a label map from it or the CT. Where
    there is neither, what is outlined in the image, whole numbers on its grid; None: nothing is."""
    mr_series: str | None = None
    """Series instance UID where the DICOM folder ``mr`` holds several."""
    ct_series: str | None = None
    patient: str | None = None
    """None: the case is a patient of its own."""
    sex: str | None = None
    diagnosis: str | None = None
    centre: str | None = None
    excluded: str | None = None
    """Why the case is left out of training and scoring; None: it is used."""
    labels: Path | None = None
    """Label map on the CT's grid: class numbers as in `synthct.volumes.label_numbers`."""
    part: Literal["training", "validation", "test"] | None = None
    """What the case is kept for; None: a split is drawn. Where one case says it, all that are used must."""

    @property
    def input(self) -> Path:
        """What a network turns into the CT: the MR where there is one (see `Cohort.for_task`), else the label map.

        Where there is neither, the image itself: a network that is fed noise learns from it alone.
        """
        return self.mr or self.labels or self.ct

    @property
    def kind(self) -> str:
        """What `input` is: "mr", "labels", or "image" where the case is an image for networks that are fed noise."""
        return "mr" if self.mr is not None else "labels" if self.labels is not None else "image"

    @property
    def patient_id(self) -> str:
        """The patient's name for splitting: ``patient``, or the case's own id."""
        return self.patient or self.id


@dataclass(frozen=True)
class Cohort:
    """Cases, and how they were prepared: ``preparation`` is None for images as they came."""

    cases: tuple[Case, ...]
    root: Path
    preparation: Preparation | None = None

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, case_id: str) -> Case:
        for case in self.cases:
            if case.id == case_id:
                return case
        raise UserError(
            f"There is no case {case_id} in the cohort {self.root}.", f"It holds {', '.join(c.id for c in self.cases)}."
        )

    def for_task(self, task: str) -> Cohort:
        """Return the cohort with what ``task`` needs alone: label maps for ``label-to-ct``, MRs for all others.

        For ``noise-to-ct`` and ``ct-to-class`` only image and mask stay.

        Raises
        ------
        UserError
            A case that is not excluded lacks it.
        """
        if task in IMAGE_TASKS:
            alone: dict[str, Any] = {"mr": None, "labels": None, "mr_series": None}
            return dataclasses.replace(self, cases=tuple(dataclasses.replace(case, **alone) for case in self))
        wanted, other, name = ("labels", "mr", "label map") if task == LABEL_TASK else ("mr", "labels", "MR")
        lacking = [case.id for case in self.used if getattr(case, wanted) is None]
        if lacking:
            raise UserError(
                f"The case {lacking[0]} of the cohort {self.root} has no {name}.",
                f"{len(lacking)} of {len(self.used)} cases have none, and the task {task} needs it.",
                f"Add `{wanted}` to the manifest, or exclude the case.",
            )
        dropped: dict[str, Any] = {other: None}
        return dataclasses.replace(self, cases=tuple(dataclasses.replace(case, **dropped) for case in self))

    @property
    def used(self) -> Cohort:
        """The cohort without the excluded cases."""
        return dataclasses.replace(self, cases=tuple(case for case in self.cases if case.excluded is None))


@dataclass(frozen=True)
class _Manifest:
    cases: tuple[dict[str, Any], ...]
    format: int = FORMAT
    preparation: Preparation | None = None


def read_cohort(path: Path | str, skip_missing: Events | None = None) -> Cohort:
    """Read a manifest; relative paths in it are taken from its own folder. Files of excluded cases need not exist.

    Parameters
    ----------
    skip_missing
        Hears as a warning which cases are left out because a file of theirs is missing; None: that is an error.

    Raises
    ------
    UserError
        Missing or unreadable manifest, unknown key, an id that occurs twice, a file that does not exist.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "cohort.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"The cohort {path} does not exist.", todo="`synthct cohort FOLDER` makes one.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"The cohort {path} cannot be read.", f"{error}.", "It must be a JSON file.") from error
    manifest: _Manifest = typed(_Manifest, content, str(path))
    if manifest.format > FORMAT:
        raise UserError(
            f"The cohort {path} has format {manifest.format}.", f"This version reads up to {FORMAT}.", "Update synthct."
        )
    root = path.resolve().parent
    entries = (typed(Case, {"mr": None, **entry}, str(path), "cases") for entry in manifest.cases)
    cases = tuple(_case(entry, root, path, skip_missing) for entry in entries)
    seen: set[str] = set()
    for case in cases:
        if case.id.casefold() in seen:
            raise UserError(f"The case {case.id} occurs twice in {path}.", todo="Give each case an id of its own.")
        seen.add(case.id.casefold())
    if not cases:
        raise UserError(f"The cohort {path} has no cases.", todo="`synthct cohort FOLDER` makes one from a folder.")
    return Cohort(cases, root, manifest.preparation)


def _case(entry: Case, root: Path, manifest: Path, skip_missing: Events | None) -> Case:
    """Check an entry and find its files."""

    missing: list[str] = []

    def found(name: str) -> Path | None:
        text = getattr(entry, name)
        if text is None:
            return None
        file = Path(os.path.normpath(root / text))
        if not file.exists() and entry.excluded is None:
            missing.append(f"{file} does not exist.")
        if missing and skip_missing is None:
            raise UserError(
                f"{file} does not exist.",
                f"It is the {_NAMES[name]} of case {entry.id} in {manifest}.",
                "Restore the file or take the case out of the manifest.",
            )
        return file

    if not entry.id or any(character in '/\\:*?"<>|' for character in entry.id) or entry.id.startswith("."):
        raise UserError(
            f"The case id {entry.id!r} in {manifest} cannot be a file name.", todo="Use letters, digits, - and _."
        )
    mr, ct, labels = found("mr"), found("ct"), found("labels")
    assert ct is not None
    entry = dataclasses.replace(entry, mr=mr, ct=ct, mask=found("mask"), labels=labels)
    if missing and skip_missing is not None:
        skip_missing.warning(f"The case {entry.id} is left out.", missing[0])
        return dataclasses.replace(entry, excluded=missing[0])
    return entry


def write_cohort(cohort: Cohort, path: Path | str, overwrite: bool = False) -> None:
    """Write the manifest, whole or not at all.

    Raises
    ------
    UserError
        The file exists (and ``overwrite`` is False) or cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already.", todo="Choose another name, or remove it first.")
    root = path.resolve().parent
    content: dict[str, Any] = {"format": FORMAT}
    if cohort.preparation is not None:
        content["preparation"] = dataclasses.asdict(cohort.preparation)
    content["cases"] = [_plain(case, root) for case in cohort.cases]
    try:
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error


def _plain(case: Case, root: Path) -> dict[str, Any]:
    plain = {name: value for name, value in dataclasses.asdict(case).items() if value is not None}
    for name in _NAMES:
        if name in plain:
            plain[name] = _relative(plain[name], root)
    return plain


def _relative(path: Path, root: Path) -> str:
    absolute = path.resolve()
    try:
        return Path(os.path.relpath(absolute, root)).as_posix()
    except ValueError:  # another drive on Windows
        return absolute.as_posix()
