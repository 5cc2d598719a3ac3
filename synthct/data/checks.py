"""Look at every pair before anything is trained on it: what is wrong, with which file, what to do.

An error takes the case out of the cohort, a warning does not. The limits are our own; on the 21 sarcoma pairs the
body masks of the 20 good ones overlap with a Dice of 0.93 to 0.98 before any registration, those of the bad one
with 0.87, and registration does not mend it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.data.cohort import Case, Cohort
from synthct.data.finding import Finding
from synthct.data.overlap import covered
from synthct.data.pairs import read_pair
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.agreement import Agreement, Judge
from synthct.volumes.body import body_mask
from synthct.volumes.couch import body_without_couch
from synthct.volumes.dicom import header_values
from synthct.volumes.geometry import same_grid, to_axial
from synthct.volumes.label_numbers import listed_labels, unknown_labels
from synthct.volumes.read import read_image
from synthct.volumes.registration import register

DEFAULT_CLASSES = 8
"""Of our own class table (row B3; windpipe and outside the body are ours)."""
_NAMES = {"mr": "MR", "ct": "CT", "labels": "label map"}
MIN_BODY_DICE = 0.9
MIN_EXPLAINED = 0.03
"""Share of the best constant's error that the best function of the MR value must take away."""
MIN_COVERED = 0.7
MIN_SLICES, FEW_SLICES, MIN_IN_PLANE = 5, 15, 32
SPACING_MM = (0.2, 8.0)
IN_PLANE_RATIO = 1.5
AIR_BELOW_HU = -500
SOFT_HU = (-200, 300)
MIN_SOFT = 0.01
MIN_SPAN_HU = 50
"""Between the lowest and the highest value of an image: the noise of a single slice of water has more."""
STORED_HU = (-1100, 4000)


@dataclass
class CaseCheck:
    """What was measured on one case and what was found."""

    case: Case
    findings: list[Finding] = field(default_factory=list)
    size: tuple[int, ...] | None = None
    """x, y, z of the MR, or of the label map."""
    spacing: tuple[float, ...] | None = None
    """x, y, z in mm of the same."""
    hu: tuple[float, float] | None = None
    agreement: Agreement | None = None
    """Of the images as they are stored."""
    registered: Agreement | None = None
    """After registration, where the check had to try it."""
    contents: dict[str, str] = field(default_factory=dict)
    """"mr" or "labels", and "ct" → hash of the voxels."""

    @property
    def level(self) -> str:
        """``error``, ``warning`` or ``ok``."""
        levels = {finding.level for finding in self.findings}
        return "error" if "error" in levels else "warning" if levels else "ok"

    def add(self, level: str, path: Path | str, what: str, todo: str = "") -> None:
        """Note a finding about a file."""
        self.findings.append(Finding(level, Path(path).name, what, todo))


def check_cohort(cohort: Cohort, events: Events = SILENT, classes: int = DEFAULT_CLASSES) -> list[CaseCheck]:
    """Check every case that is not excluded already, and look for the same image in several cases.

    Cases without an MR (see `Cohort.for_task`) are checked for a training from label maps of so many ``classes``, those
    that have neither for one from noise.
    """
    cases = cohort.used.cases
    checks: list[CaseCheck] = []
    seen: dict[str, tuple[Case, str]] = {}
    for number, case in enumerate(cases):
        events.progress(number, len(cases), "check", case.id)
        check = check_case(case, classes)
        for kind, key in check.contents.items():
            if key in seen:
                other, other_kind = seen[key]
                what = f"It holds the same voxels as the {_NAMES[other_kind]} of case {other.id}."
                check.add("error", getattr(case, kind), what, "Keep one: a copy could be trained and tested on.")
            seen.setdefault(key, (case, kind))
        checks.append(check)
    events.progress(len(cases), len(cases), "check")
    return checks


def without_bad_cases(cohort: Cohort, checks: Sequence[CaseCheck]) -> Cohort:
    """Return the cohort with every case that has an error excluded, the reason written beside it."""
    reasons = {c.case.id: next(f.what for f in c.findings if f.level == "error") for c in checks if c.level == "error"}
    cases = [
        dataclasses.replace(case, excluded=reasons[case.id]) if case.id in reasons else case for case in cohort.cases
    ]
    return dataclasses.replace(cohort, cases=tuple(cases))


def check_case(case: Case, classes: int = DEFAULT_CLASSES) -> CaseCheck:
    """Check one pair. Never raises for what is wrong with it: that stands in the findings."""
    check = CaseCheck(case)
    if case.kind == "image":
        _check_image(check)
        return check
    images = {}
    for kind in (case.kind, "ct", "mask"):
        path = getattr(case, kind)
        if path is None:
            continue
        try:
            series = getattr(case, f"{kind}_series", None)
            images[kind] = to_axial(read_image(path, series))
        except UserError as error:
            check.add("error", path, f"{error.what} {error.why}".strip(), error.todo)
    if "mr" in images and "ct" in images:
        mr, ct = images["mr"], images["ct"]
        check.contents = {kind: _contents(images[kind]) for kind in ("mr", "ct")}
        _check_grids(check, mr, ct)
        _check_mr(check, mr)
        _check_ct(check, ct)
        if check.level != "error":
            _check_alignment(check, mr, ct)
    if "labels" in images and "ct" in images:
        labels, ct = images["labels"], images["ct"]
        check.contents = {kind: _contents(images[kind]) for kind in ("labels", "ct")}
        _check_grids(check, labels, ct)
        _check_labels(check, labels, ct, classes)
        _check_ct(check, ct)
    if "mask" in images and case.mask is not None and not sitk.GetArrayViewFromImage(images["mask"]).any():
        check.add("error", case.mask, "The mask is empty.", "Draw it, or take it out of the manifest.")
    return check


def _check_image(check: CaseCheck) -> None:
    """Check an image, and its mask if it has one, for a training from noise."""
    case = check.case
    try:
        image, mask = read_pair(case)
    except UserError as error:
        check.add("error", case.ct, f"{error.what} {error.why}".strip(), error.todo)
        return
    image = to_axial(image)
    array = sitk.GetArrayViewFromImage(image)
    check.size, check.spacing = image.GetSize(), image.GetSpacing()
    check.hu = (float(array.min()), float(array.max()))
    check.contents = {"ct": _contents(image)}
    if check.hu[1] - check.hu[0] < MIN_SPAN_HU:
        what = f"Its values run from {check.hu[0]:g} to {check.hu[1]:g} alone: that is a mask, or not in HU."
        check.add("error", case.ct, what, "Name a mask like its image, p1_CT.nii.gz and p1_mask.nii.gz; export HU.")
    if check.hu[0] > AIR_BELOW_HU and np.count_nonzero(array > 1024 + SOFT_HU[0]) > array.size / 2:
        what = f"Its values run from {check.hu[0]:g} to {check.hu[1]:g}: they look like HU + 1024."
        check.add("warning", case.ct, what, "Export it in HU, if it is a CT.")
    outlined = sitk.GetArrayViewFromImage(mask)
    if case.mask is not None and not outlined.any():
        check.add("warning", case.mask, "The mask is empty.", "Take the case out if something should be outlined.")
    elif outlined.max() > 2:
        what = f"The mask holds values up to {outlined.max()}."
        check.add("warning", case.mask or case.ct, what, "Recipes take masks of 0 and 1, or of 0, 1 and 2.")


def _contents(image: sitk.Image) -> str:
    array = np.ascontiguousarray(sitk.GetArrayViewFromImage(image))
    return hashlib.blake2b(str(array.shape).encode() + array.tobytes(), digest_size=16).hexdigest()


def _check_grids(check: CaseCheck, mr: sitk.Image, ct: sitk.Image) -> None:
    check.size, check.spacing = mr.GetSize(), mr.GetSpacing()
    for path, image in ((check.case.input, mr), (check.case.ct, ct)):
        columns, rows, slices = image.GetSize()
        if slices < MIN_SLICES or min(rows, columns) < MIN_IN_PLANE:
            what = f"It has {columns}×{rows}×{slices} voxels."
            check.add("error", path, what, f"At least {MIN_IN_PLANE}×{MIN_IN_PLANE}×{MIN_SLICES} are needed.")
        elif slices < FEW_SLICES:
            check.add("warning", path, f"It has only {slices} slices.")
        spacing = image.GetSpacing()
        listed = "×".join(f"{value:.3g}" for value in spacing)
        ratio = max(spacing[:2]) / min(spacing[:2])
        if not all(SPACING_MM[0] <= value <= SPACING_MM[1] for value in spacing) or ratio > IN_PLANE_RATIO:
            check.add("warning", path, f"Its voxels measure {listed} mm.", "Check that the spacing is right.")


def _check_mr(check: CaseCheck, mr: sitk.Image) -> None:
    array = sitk.GetArrayViewFromImage(mr)
    if array.min() == array.max():
        check.add("error", check.case.input, f"It is constant ({array.min():g} everywhere).", "Export it again.")
    elif _like_ct(array):
        todo = "Check that MR and CT are not mixed up."
        check.add("warning", check.case.input, "Its values look like a CT's (HU), not like an MR's.", todo)


def _check_labels(check: CaseCheck, labels: sitk.Image, ct: sitk.Image, classes: int) -> None:
    array = sitk.GetArrayViewFromImage(labels)
    if not same_grid(labels, ct):
        todo = "Make the label map from this CT (`synthct labels`), or resample it onto its grid."
        check.add("error", check.case.input, "It lies on another grid than the CT.", todo)
    unknown = unknown_labels(array, classes)
    if unknown:
        todo = f"Map them to classes (`synthct labels`); classes are numbered 0 to {classes - 1}."
        check.add("error", check.case.input, f"It holds {listed_labels(unknown)}, which no class has.", todo)
    elif array.min() == array.max():
        check.add("error", check.case.input, f"It is class {array.min():g} everywhere.", "Make it again.")


def _like_ct(array: np.ndarray) -> bool:
    """Whether air near -1000 and soft tissue near 0 make up most of an image."""
    air = np.count_nonzero((array >= -1100) & (array <= -900)) / array.size
    soft = np.count_nonzero((array >= SOFT_HU[0]) & (array <= SOFT_HU[1])) / array.size
    return bool(array.min() < -500 and soft > 0.05 and air + soft > 0.5)


def _check_ct(check: CaseCheck, ct: sitk.Image) -> None:
    array = sitk.GetArrayViewFromImage(ct)
    low, high = float(array.min()), float(array.max())
    check.hu = (low, high)
    path = check.case.ct
    soft = np.count_nonzero((array >= SOFT_HU[0]) & (array <= SOFT_HU[1])) / array.size
    shifted = np.count_nonzero((array >= 1024 + SOFT_HU[0]) & (array <= 1024 + SOFT_HU[1])) / array.size
    if low == high:
        check.add("error", path, f"It is constant ({low:g} everywhere).", "Export it again.")
    elif low > AIR_BELOW_HU and shifted > MIN_SOFT and low > -100:
        what = f"Its values run from {low:g} to {high:g}: they look like HU + 1024."
        check.add("error", path, what, "The rescale intercept was lost: subtract 1024, or export it again in HU.")
    elif low > AIR_BELOW_HU:
        what = f"Its values run from {low:g} to {high:g}: there is no air (about −1000 HU) in it."
        check.add("error", path, what, "Export it in HU, uncropped.")
    elif soft < MIN_SOFT:
        what = f"Only {soft:.1%} of its values lie where soft tissue does ({SOFT_HU[0]} to {SOFT_HU[1]} HU)."
        check.add("error", path, what, "Export it in HU.")
    elif high > STORED_HU[1] or low < STORED_HU[0]:
        what = f"Its values run from {low:g} to {high:g} HU, beyond what tissue and air have."
        check.add("warning", path, what, "What lies below −1024 is taken for air. Look for metal.")


def _check_alignment(check: CaseCheck, mr: sitk.Image, ct: sitk.Image) -> None:
    case = check.case
    frames = [header_values(path, "FrameOfReferenceUID")[0] for path in (case.input, case.ct)]
    if all(frames) and frames[0] != frames[1]:
        check.add("warning", case.ct, "Its DICOM frame of reference is not the MR's.", "Prepare with a registration.")
    try:
        mask, ct_body = body_mask(mr, "mr"), body_without_couch(ct)
    except UserError as error:
        check.add("error", case.id, f"{error.what} {error.why}".strip(), error.todo)
        return
    share = covered(mask, ct)
    if share == 0:
        what = "It does not overlap with the MR: the two lie in different places."
        check.add("error", case.ct, what, "Export both in one frame of reference, or register them first.")
        return
    if share < MIN_COVERED:
        check.add("warning", case.ct, f"It covers only {share:.0%} of the body in the MR.")
    identity = sitk.Transform(3, sitk.sitkIdentity)
    check.agreement = Judge(mr, mask, ct, ct_body).compare(identity, identity)[0]
    if _aligned(check.agreement):
        return
    as_stored = f"body masks overlap with a Dice of {check.agreement.body_dice:.2f}"
    registration = register(mr, ct, "rigid", mask)
    check.registered = registration.after if registration.accepted else registration.before
    if _aligned(check.registered):
        what = f"It is not aligned with the MR ({as_stored}); registration mends it ({check.registered.body_dice:.2f})."
        check.add("warning", case.ct, what, "Prepare with a registration (--registration rigid).")
        return
    what = f"It is badly aligned with the MR: {as_stored}, and registration does not mend it ({registration.reason})."
    check.add("error", case.ct, what, "Look at the pair; another image of the patient may be the right one.")


def _aligned(agreement: Agreement) -> bool:
    explained = 1 - agreement.residual_hu / agreement.constant_hu
    return agreement.body_dice >= MIN_BODY_DICE and explained >= MIN_EXPLAINED


def table(checks: Sequence[CaseCheck], leftovers: Sequence[Finding] = ()) -> str:
    """Return what was measured on every case as a text table, and below it what is wrong with which file."""
    head = ("case", "size (x×y×z)", "spacing mm", "HU", "body Dice", "look-up / constant HU", "result")
    rows = [head, *(_row(check) for check in checks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *_remarks(checks, leftovers)])


def _row(check: CaseCheck) -> tuple[str, ...]:
    a, b = check.agreement, check.registered
    dice = "-" if a is None else f"{a.body_dice:.3f}" + (f" → {b.body_dice:.3f}" if b else "")
    errors = "-" if a is None else f"{a.residual_hu:.0f} / {a.constant_hu:.0f}"
    return (
        check.case.id,
        "×".join(str(n) for n in check.size) if check.size else "-",
        "×".join(f"{value:.3g}" for value in check.spacing) if check.spacing else "-",
        f"{check.hu[0]:.0f}…{check.hu[1]:.0f}" if check.hu else "-",
        dice,
        errors,
        check.level,
    )


def _remarks(checks: Sequence[CaseCheck], leftovers: Sequence[Finding]) -> Iterator[str]:
    for check in checks:
        for finding in check.findings:
            yield f"{check.case.id}: {finding}"
    yield from (str(finding) for finding in leftovers)
