"""A model on a department's own cases, scored against the department's tolerances, with everything it was made with.

The folder holds ``commissioning.json`` (the numbers, sealed), ``report.html`` (the same for a reader, one file),
``tolerances.yaml`` (a copy), ``synthetic/`` (the synthetic CTs) and ``prepared/`` (the registered pairs).
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthct.data.cohort import Cohort
from synthct.data.fingerprint import fingerprint
from synthct.data.preparation import prepare_cohort
from synthct.data.split import read_split
from synthct.errors import UserError
from synthct.evaluation.dose.depth_plot import map_picture
from synthct.evaluation.dose.water_equivalent import PathDifference, path_difference
from synthct.evaluation.images.scores import score_pair
from synthct.evaluation.plain_values import write_json
from synthct.events import SILENT, Events
from synthct.recipe import Preparation
from synthct.studies.commissioning_pictures import case_picture
from synthct.studies.commissioning_report import write_report
from synthct.studies.seal import SEAL, file_sha256, is_whole, sealed, software
from synthct.studies.tolerances import SCORES, Verdict, WaterEquivalent, judge, read_tolerances
from synthct.synthesis.card import CARD, WEIGHTS, model_folder
from synthct.synthesis.device import choose_device
from synthct.synthesis.likeness.watch import Watch
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.translate import translate
from synthct.volumes.ct_origin import NOT_STATED, ct_origin
from synthct.volumes.density import SHIPPED, density_image, read_density_table
from synthct.volumes.read import read_image
from synthct.volumes.write import write_image

FORMAT = 1
RESULT, REPORT, TOLERANCES = "commissioning.json", "report.html", "tolerances.yaml"


@dataclass(frozen=True)
class Commissioned:
    """Result of `commission`."""

    folder: Path
    passed: bool
    verdicts: list[Verdict]
    content: dict[str, Any]
    """What ``commissioning.json`` holds."""


def commission(
    model: Path | str,
    cohort: Cohort,
    tolerances: Path | str,
    folder: Path,
    cases: Sequence[str] | None = None,
    registration: str = "rigid",
    origin: Mapping[str, str] | None = None,
    device: str = "auto",
    events: Events = SILENT,
) -> Commissioned:
    """Translate every case as in use, score it, judge the criteria and write the report.

    Original images are paired first: the couch is taken off the CT and the CT is registered to the MR; the MR stays as
    it is, since that is what the model will get. A cohort that is prepared already is used as it is.

    Parameters
    ----------
    model
        A run folder or model folder.
    tolerances
        As `synthct.studies.tolerances.read_tolerances` takes it.
    folder
        To write into; it must not hold a commissioning.
    cases
        Ids of the cohort; None: all used ones.
    registration
        ``none``, ``rigid``, ``affine`` or ``bspline``.
    origin
        ``scanner``, ``kv`` of the cases' CTs and ``training`` (both, of the model's training CTs) where the files do
        not tell.

    Raises
    ------
    UserError
        What the files cannot give, a case that is not in the cohort or excluded, or a folder that is in use.
    """
    limits = read_tolerances(tolerances)
    table_file = _table_file(limits.water_equivalent, Path(tolerances))
    table = read_density_table(table_file or SHIPPED)
    loaded = load_model(model)
    chosen_device = choose_device(device)
    chosen = _chosen(cohort, cases)
    if (folder / RESULT).exists():
        raise UserError(f"{folder} holds a commissioning.", "It is not replaced.", "Choose another folder.")
    preparation = chosen.preparation or Preparation(registration=registration, remove_couch=True)  # type: ignore[arg-type]
    notes = _notes(cohort, chosen, loaded)
    prepared = prepare_cohort(chosen, preparation, folder / "prepared", _overheard(events, notes))
    told: list[str] = []
    listening = _overheard(events, told)
    rows: dict[str, dict[str, Any]] = {}
    pictures: dict[str, tuple[bytes, bytes]] = {}
    for done, case in enumerate(prepared):
        events.progress(done, len(prepared), "commission", case.id)
        told.clear()
        assert case.mask is not None
        mr, ct, mask = read_image(case.input), read_image(case.ct), read_image(case.mask)
        card = {**loaded.card}
        if prepared.preparation is not None and prepared.preparation.bias_correction:
            card["bias_correction"] = False  # it is done
        applied = Model(loaded.network, card, loaded.folder)
        region = "auto" if card.get("body_only") else None
        name = f"The MR of {case.id}"
        plane = [*card["planes"], "axial"][0]
        with Watch(applied, listening, name) as watch:
            synthetic = translate(mr, applied, (plane,), region, chosen_device, None, listening, name, watch)
        write_image(synthetic, folder / "synthetic" / f"{case.id}.nii.gz", overwrite=True)
        scores = score_pair(ct, synthetic, mask, (str(case.ct), "the synthetic CT", str(case.mask)))
        densities = [
            density_image(image, table, limits.water_equivalent.quantity, listening, f"the {name} of {case.id}")
            for name, image in (("CT", ct), ("synthetic CT", synthetic))
        ]
        differences = [
            path_difference(densities[0], densities[1], mask, angle, limits.water_equivalent.ray_mm)
            for angle in limits.water_equivalent.angles
        ]
        values = {name: scores.values[name] for name in SCORES if name in scores.values} | water_scores(differences)
        origins = ct_origin(cohort[case.id].ct, cohort[case.id].ct_series)
        rows[case.id] = {
            "scores": {name: _plain(value) for name, value in values.items()},
            "water_equivalent_by_angle_mm": {
                f"{d.angle:g}": {key: _plain(value) for key, value in d.numbers().items()} for d in differences
            },
            "ct": {key: _stated(value, (origin or {}).get(key)) for key, value in origins.items()},
            "files": fingerprint([case.input, case.ct, case.mask]),
            "likeness": watch.likeness.to_dict(),
            "notes": [*scores.notes, *told],
        }
        place = folder / "pictures" / f"{case.id}.png"
        pictures[case.id] = (case_picture(place, mr, ct, synthetic, mask, case.id), map_picture(differences))
    events.progress(len(prepared), len(prepared), "commission")
    verdicts = [
        judge(criterion, {case: _number(row["scores"].get(criterion.score)) for case, row in rows.items()})
        for criterion in limits.criteria
    ]
    passed = all(verdict.passed is True for verdict in verdicts)
    assert loaded.folder is not None
    content = sealed(
        {
            "format": FORMAT,
            "date": time.strftime("%Y-%m-%d %H:%M"),
            "passed": passed,
            "model": {"name": loaded.card["name"], "folder": str(loaded.folder), "card": loaded.card},
            "criteria": [_verdict(verdict) for verdict in verdicts],
            "cases": rows,
            "preparation": _preparation(preparation, chosen.preparation is not None),
            "water_equivalent": {
                **dataclasses.asdict(limits.water_equivalent),
                "angles": list(limits.water_equivalent.angles),
                "table": table.name,
                "table_file": None if table_file is None else str(table_file),
            },
            "ct_behind_the_training_hu": (origin or {}).get("training") or NOT_STATED,
            "notes": notes,
            "locked": {
                **_locked(loaded.folder, Path(tolerances), table_file),
                "cohort": fingerprint([], {case: row["files"] for case, row in rows.items()}),
                "device": str(chosen_device),
            },
            "definitions": {name: SCORES[name] for name in SCORES},
        }
    )
    shutil.copyfile(tolerances, folder / TOLERANCES)
    write_report(content, pictures, folder / REPORT)
    write_json(content, folder / RESULT)  # the last: a folder with it is whole
    return Commissioned(folder, passed, verdicts, content)


def verify(folder: Path, model: Path | str, tolerances: Path | str | None = None) -> list[tuple[str, str, str]]:
    """Return what differs from the commissioning in ``folder``: (what, then, now); nothing where it still holds.

    Parameters
    ----------
    model
        The model that is in use.
    tolerances
        The tolerances that hold now; None: the copy in the folder.

    Raises
    ------
    UserError
        No commissioning there, or the model or tolerances cannot be read.
    """
    try:
        content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        locked = content["locked"]
        then = {**locked, **locked["software"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no commissioning.", f"{error}.", f"It has a {RESULT}.") from error
    place = Path(tolerances) if tolerances is not None else folder / TOLERANCES
    if not place.is_file():
        raise UserError(f"The tolerances {place} do not exist.", todo="Restore them, or give --tolerances.")
    changed = []
    if not is_whole(content):
        changed.append((f"{RESULT} was edited", content.get(SEAL, "no seal"), "another content"))
    table_file = content["water_equivalent"]["table_file"]
    now = _locked(model_folder(model), place, None if table_file is None else Path(table_file))
    for key, value in {**now, **now["software"]}.items():
        if key != "software" and then.get(key) != value:
            changed.append((key.replace("_", " "), str(then.get(key, "not recorded")), str(value)))
    return changed


def water_scores(differences: Sequence[PathDifference]) -> dict[str, float]:
    """The ``water_equivalent_*`` scores over all rays of all angles together; NaN where no ray hits the body."""
    every = np.concatenate([d.difference_mm[np.isfinite(d.difference_mm)] for d in differences])
    if not every.size:
        return dict.fromkeys((name for name in SCORES if name.startswith("water_equivalent")), math.nan)
    size = np.abs(every)
    return {
        "water_equivalent_me_mm": float(every.mean()),
        "water_equivalent_mae_mm": float(size.mean()),
        "water_equivalent_p95_mm": float(np.percentile(size, 95)),
        "water_equivalent_max_mm": float(size.max()),
    }


def _chosen(cohort: Cohort, cases: Sequence[str] | None) -> Cohort:
    used = cohort.used
    if cases is None:
        if not len(used):
            raise UserError(f"No case of the cohort {cohort.root} can be used.", "Every one is excluded.")
        return used
    for name in dict.fromkeys(cases):
        if cohort[name].excluded is not None:
            raise UserError(f"The case {name} is excluded.", f"{cohort[name].excluded}", "Choose other cases.")
    return Cohort(tuple(case for case in used if case.id in cases), cohort.root, cohort.preparation)


def _notes(cohort: Cohort, chosen: Cohort, model: Model) -> list[str]:
    """What the reader must know before the numbers."""
    notes = []
    left_out = [f"{case.id} ({case.excluded})" for case in cohort if case.excluded is not None]
    if left_out:
        notes.append(f"Excluded in the cohort: {', '.join(left_out)}.")
    split = model.folder.parent / "split.json" if model.folder else None
    if split is None or not split.is_file():
        notes.append(
            "Whether the model was trained on any of these cases could not be checked: it has no run beside it."
        )
    else:
        found = read_split(split)
        seen = [case.id for case in chosen if case.id in (*found.training, *found.validation)]
        if seen:
            notes.append(
                f"The model's run names {', '.join(seen)} among its training or validation cases: their scores are too "
                "good, and the commissioning says nothing of new patients."
            )
    if len(chosen) < 10:
        notes.append(f"{len(chosen)} cases are few: statistics over them are uncertain.")
    return notes


def _overheard(events: Events, told: list[str]) -> Events:
    """Pass on warnings and keep their words; the progress of a single step is not passed on."""

    def hear(event: dict[str, Any]) -> None:
        if event["kind"] == "warning":
            told.append(" ".join(part for part in (event["what"], event["why"], event["todo"]) if part))
            events.warning(event["what"], event["why"], event["todo"])

    return Events(listener=hear)


def _table_file(water: WaterEquivalent, tolerances: Path) -> Path | None:
    """The department's own table; None: the shipped one."""
    return None if water.table is None else (tolerances.expanduser().absolute().parent / water.table).resolve()


def _locked(model: Path, tolerances: Path, table_file: Path | None) -> dict[str, Any]:
    """Hashes and versions of everything that the verdict depends on."""
    return {
        "weights_sha256": file_sha256(model / WEIGHTS),
        "card_sha256": file_sha256(model / CARD),
        "tolerances_sha256": file_sha256(tolerances),
        "density_table_sha256": file_sha256(table_file or SHIPPED),
        "software": software(),
    }


def _preparation(preparation: Preparation, before: bool) -> str:
    """What was done to the pairs, in words."""
    words = [f"registration of the CT to the MR {preparation.registration}"]
    words.append("couch removed" if preparation.remove_couch else "couch not removed")
    words += ["bias field corrected"] * preparation.bias_correction
    if preparation.spacing is not None:
        words.append(f"voxels of {'×'.join(f'{step:g}' for step in preparation.spacing)} mm")
    return ", ".join(words) + (", as the cohort came" if before else "")


def _verdict(verdict: Verdict) -> dict[str, Any]:
    criterion = verdict.criterion
    return {
        "criterion": str(criterion),
        "score": criterion.score,
        "statistic": criterion.statistic,
        "percentile": criterion.percentile,
        "at_least": criterion.at_least,
        "at_most": criterion.at_most,
        "value": _plain(verdict.value),
        "passed": verdict.passed,
        "cases": verdict.cases,
        "furthest_case": verdict.worst,
    }


def _plain(value: float) -> float | int | str | None:
    if isinstance(value, int):
        return value
    return None if math.isnan(value) else "inf" if math.isinf(value) else round(value, 5)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _stated(found: str, given: str | None) -> str:
    if found != NOT_STATED or not given:
        return found
    return f"{given} (as stated by the user)"
