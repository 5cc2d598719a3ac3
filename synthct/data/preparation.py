"""Bring the volumes of a case onto one grid before any network sees them (row A1), once, and keep the result.

Order: bias field, couch, registration of the CT to the MR, resampling, body mask. A label map belongs to its CT: it is
neither corrected nor registered, and resampled by nearest neighbour.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.data.cohort import Case, Cohort, read_cohort, write_cohort
from synthct.data.fingerprint import fingerprint
from synthct.data.left_out import LeftOut
from synthct.data.overlap import covered, measured
from synthct.data.pairs import prepare_pair
from synthct.data.whole_folder import whole_folder
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.recipe import Preparation
from synthct.volumes.bias import correct_bias
from synthct.volumes.body import body_mask
from synthct.volumes.couch import remove_couch
from synthct.volumes.geometry import (
    Grid,
    array_of,
    grid_of,
    grid_with_spacing,
    image_from_array,
    require_same_grid,
    resample_onto,
)
from synthct.volumes.hu import AIR_HU
from synthct.volumes.label_numbers import MOST_CLASSES, OUTSIDE_BODY, body_of_labels, require_labels
from synthct.volumes.read import read_image
from synthct.volumes.registration import KINDS, Registration, register
from synthct.volumes.write import write_image

FORMAT = 1
_REPORT = "preparation.json"


@dataclass(frozen=True)
class PreparedCase:
    """MR or label map (uint8), CT (int16 HU, −1024 and above) and mask (uint8) of one case on one grid."""

    input: sitk.Image | None
    """None: the case is an image for networks that are fed noise."""
    ct: sitk.Image
    mask: sitk.Image
    """1 inside the body where the CT was measured; of an image for networks that are fed noise, its own values."""
    registration: Registration | None
    """None: not asked for."""


def prepare_case(case: Case, preparation: Preparation, events: Events = SILENT) -> PreparedCase:
    """Prepare one case.

    Raises
    ------
    UserError
        A file cannot be used, the images do not overlap, or an unknown registration is asked for; of a label map that
        it lies on another grid than the CT, or that it shall be corrected or registered.
    """
    if case.kind == "labels":
        return _prepare_labels(case, preparation)
    if case.kind == "image":
        image, outlined = prepare_pair(case, preparation)
        return PreparedCase(None, image, outlined, None)
    mr, ct = read_image(case.input, case.mr_series), read_image(case.ct, case.ct_series)
    mask = body_mask(mr, "mr") if case.mask is None else resample_onto(read_image(case.mask), mr, "nearest", 0)
    if not covered(mask, ct):
        raise UserError(
            f"The MR's body and the CT of case {case.id} do not overlap.",
            f"{case.input.name} and {case.ct.name} lie in different places.",
            "Export both in one frame of reference; `synthct cohort` checks every pair.",
        )
    if preparation.bias_correction:
        mr = correct_bias(mr, mask)
    if preparation.remove_couch:
        ct = remove_couch(ct)
    registration = None
    if preparation.registration != "none":
        if preparation.registration not in KINDS:
            raise UserError(
                f"`preparation.registration` is {preparation.registration}.", f"Known: none, {', '.join(KINDS)}."
            )
        registration = register(mr, ct, preparation.registration, mask, events)
    transform = registration.transform if registration else None
    grid = grid_of(mr) if preparation.spacing is None else grid_with_spacing(mr, preparation.spacing)
    inside = (array_of(resample_onto(mask, grid, "nearest", 0)) != 0) & measured(ct, grid, transform)
    mr = mr if preparation.spacing is None else resample_onto(mr, grid, "linear", 0)
    return PreparedCase(mr, _hu_onto(ct, grid, transform), image_from_array(inside, grid), registration)


def _hu_onto(ct: sitk.Image, grid: Grid, transform: sitk.Transform | None = None) -> sitk.Image:
    hu = array_of(resample_onto(ct, grid, "linear", AIR_HU, transform))
    return image_from_array(np.clip(np.rint(hu), AIR_HU, np.iinfo(np.int16).max).astype(np.int16), grid)


def _prepare_labels(case: Case, preparation: Preparation) -> PreparedCase:
    """Prepare a label map and its CT; the body is the label map's, or without the class outside it the CT's."""
    if preparation.registration != "none" or preparation.bias_correction:
        raise UserError(
            "A label map is neither registered nor corrected.",
            "It belongs to the CT that it was made from, and holds no intensities.",
            "Set `preparation.registration` to none and `preparation.bias_correction` to false.",
        )
    labels, ct = read_image(case.input), read_image(case.ct, case.ct_series)
    require_same_grid(labels, ct, (f"The label map of case {case.id}", f"its CT {case.ct.name}"))
    values = array_of(labels)  # a view would not outlive the image, which is replaced below
    require_labels(values, MOST_CLASSES, f"The label map of case {case.id}")
    labels = image_from_array(values.astype(np.uint8), labels)
    if case.mask is not None:
        mask = resample_onto(read_image(case.mask), labels, "nearest", 0)
    elif (values == OUTSIDE_BODY).any():
        mask = body_of_labels(labels)
    else:
        mask = body_mask(ct, "ct")
    if preparation.remove_couch:
        ct = remove_couch(ct)
    grid = grid_of(ct) if preparation.spacing is None else grid_with_spacing(ct, preparation.spacing)
    inside = image_from_array((array_of(resample_onto(mask, grid, "nearest", 0)) != 0).astype(np.uint8), grid)
    labels = resample_onto(labels, grid, "nearest", OUTSIDE_BODY if (values == OUTSIDE_BODY).any() else 0)
    return PreparedCase(labels, _hu_onto(ct, grid), inside, None)


def prepare_cohort(
    cohort: Cohort,
    preparation: Preparation,
    folder: Path | str,
    events: Events = SILENT,
    workers: int = 1,
    left_out: LeftOut | None = None,
) -> Cohort:
    """Prepare every used case into ``folder/<id>/{mr,ct,mask}.nii.gz`` and write ``folder/cohort.json``.

    Of cases without an MR (see `Cohort.for_task`) the label map is prepared, ``labels.nii.gz``, or nothing beside
    the image and its mask.

    A case that lies there already, made from the same files with the same settings, is left as it is, so that an
    interrupted preparation goes on where it was. A cohort that is prepared already is returned unchanged.
    Every image is opened before the first case is prepared, so that a broken one is not found hours later.

    Parameters
    ----------
    workers
        Processes that work at the same time.
    left_out
        Says whether cases that cannot be used may be left out, and keeps which; None: they may not. They stand in the
        cohort that is returned with their original files, excluded.

    Raises
    ------
    UserError
        As `prepare_case`, or when ``folder`` holds something else under the name of a case.
    """
    if cohort.preparation is not None:
        if cohort.preparation != preparation:
            events.warning(
                f"The cohort {cohort.root} is prepared already and is used as it is.",
                "The recipe asks for another preparation.",
                "Give the cohort of the original images to have it prepared anew.",
            )
        return cohort
    folder = Path(folder)
    cases = cohort.used.cases
    if not cases:
        raise UserError(f"No case of the cohort {cohort.root} can be used.", "Every one is excluded.")
    _refuse_foreign(cases, folder)
    left_out = left_out or LeftOut(events=events)
    keys = {case.id: _key(case, preparation) for case in cases}
    todo = [case for case in cases if _stored_key(folder / case.id, case.kind) != keys[case.id]]
    done = len(cases) - len(todo)
    left_out.unreadable(todo)
    todo = [case for case in todo if case.id not in left_out.reasons]
    events.progress(done, len(cases), "prepare")
    for case, report in _prepared(todo, preparation, folder, keys, workers):
        done += 1
        events.progress(done, len(cases), "prepare", case.id)
        if isinstance(report, UserError):
            left_out.add(case, report)
        elif report is not None and not report["accepted"]:
            events.warning(
                f"The registration of case {case.id} was not accepted; the images stay as they are.",
                report["reason"],
                "Look at the pair.",
            )
    found = left_out.of(cohort.used)
    if not found.used.cases:
        raise UserError(f"No case of the cohort {cohort.root} can be used.", "Every one was left out.")
    moved = tuple(_moved(case, folder) if case.excluded is None else case for case in found)
    prepared = Cohort(moved, folder.resolve(), preparation)
    write_cohort(prepared, folder / "cohort.json", overwrite=True)
    return prepared


def _prepared(
    cases: Sequence[Case], preparation: Preparation, folder: Path, keys: dict[str, str], workers: int
) -> Iterator[tuple[Case, dict[str, Any] | UserError | None]]:
    """Give each case with what is told of its registration, or with why it cannot be prepared."""
    if workers <= 1 or len(cases) < 2:
        for case in cases:
            yield case, _result(partial(_prepare_into, case, preparation, folder / case.id, keys[case.id]))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(cases)), mp_context=context) as pool:
        futures = {
            pool.submit(_prepare_into, case, preparation, folder / case.id, keys[case.id]): case for case in cases
        }
        try:
            for future in as_completed(futures):
                yield futures[future], _result(future.result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _result(prepare: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | UserError | None:
    try:
        return prepare()
    except UserError as error:
        return error


def _prepare_into(case: Case, preparation: Preparation, target: Path, key: str) -> dict[str, Any] | None:
    """Prepare one case and write it; return what is told of its registration."""
    prepared = prepare_case(case, preparation)
    report = _report(prepared.registration)
    with whole_folder(target) as aside:
        for name, image in ((case.kind, prepared.input), ("ct", prepared.ct), ("mask", prepared.mask)):
            if image is not None:
                write_image(image, aside / f"{name}.nii.gz")
        text = json.dumps({"key": key, "registration": report}, indent=1)
        (aside / _REPORT).write_text(text, encoding="utf-8")
    return report


def _report(registration: Registration | None) -> dict[str, Any] | None:
    if registration is None:
        return None
    return {
        "accepted": registration.accepted,
        "kind": registration.kind,
        "reason": registration.reason,
        "before": _finite(dataclasses.asdict(registration.before)),
        "after": _finite(dataclasses.asdict(registration.after)),
    }


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _key(case: Case, preparation: Preparation) -> str:
    asked = {name: value for name, value in dataclasses.asdict(preparation).items() if (name, value) != ("crop", None)}
    settings = [FORMAT, asked, case.mr_series, case.ct_series, *_kinds(case)]
    return fingerprint([case.input, case.ct, case.mask], settings)


def _kinds(case: Case) -> list[str]:
    """What a key says of a case that is no MR with its CT, as all once were."""
    return [] if case.kind == "mr" else [case.kind]


def _stored_key(folder: Path, kind: str) -> str | None:
    try:
        key = json.loads((folder / _REPORT).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key if all((folder / f"{name}.nii.gz").is_file() for name in {kind, "ct", "mask"} - {"image"}) else None


def _refuse_foreign(cases: Sequence[Case], folder: Path) -> None:
    """Refuse a folder in which something would be replaced that was not made here."""
    for case in cases:
        target = folder / case.id
        if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
            if (target / _REPORT).is_file():
                continue
            raise UserError(
                f"{target} exists and was not made by a preparation.", todo="Choose another folder to prepare into."
            )
    manifest = folder / "cohort.json"
    if manifest.is_file() and read_cohort(manifest).preparation is None:
        raise UserError(
            f"{manifest} is a cohort of original images.",
            "Preparing into its folder would replace it.",
            "Choose another folder to prepare into.",
        )


def _moved(case: Case, folder: Path) -> Case:
    place = folder.resolve() / case.id
    names = {case.kind, "ct", "mask"} - {"image", *(["mask"] if case.kind == "image" and case.mask is None else [])}
    moved: dict[str, Any] = {name: place / f"{name}.nii.gz" for name in names}
    return dataclasses.replace(case, **{"mr": None, "labels": None, **moved}, mr_series=None, ct_series=None)
