"""Every MR of a cohort translated, by one process or several that share the cases.

In the output folder: one file per case, named by its id; ``records/ID.json``, what is known of each; and, once all
cases have a record, ``manifest.json``, which joins them. Processes share nothing but that folder: each takes
every n-th case, and whichever is the last to finish finds all records and writes the manifest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from synthct.data.cohort import Case, Cohort
from synthct.data.fingerprint import fingerprint
from synthct.errors import Cancelled, UserError
from synthct.events import SILENT, Events
from synthct.locks import share_lock
from synthct.synthesis.card import require_translation
from synthct.synthesis.device import choose_device
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.rank import Rank
from synthct.whole_file import write_whole

FORMAT = 1
MANIFEST, RECORDS = "manifest.json", "records"
DONE, BEGUN, FAILED = "done", "begun", "failed"
_NAMED = 5


def synthesize_cohort(
    model: Path | str | Model,
    cohort: Cohort,
    folder: Path | str,
    mask: str | None = None,
    planes: Sequence[str] | None = None,
    device: str = "auto",
    batch: int | None = None,
    uneven: str = "refuse",
    overwrite: bool = False,
    events: Events = SILENT,
    rank: Rank | None = None,
) -> Path:
    """Translate the MR of every case that is not excluded into ``folder/ID.nii.gz``.

    A case that is done already, by the same model from the same MR with the same options, is left as it is, so that
    an interrupted command goes on where it was. A case that cannot be translated does not end the others.

    Parameters
    ----------
    mask
        ``"auto"``, ``"none"`` or None, as for `synthesize_file`.
    planes, device, batch, uneven
        As for `synthesize_file`; of several processes each takes a GPU of its own.
    overwrite
        Translate all cases anew and replace what lies in ``folder`` under their names.
    rank
        Which share of the cases is done; None: all.

    Returns
    -------
    Path
        The manifest; not there yet where other processes are still at work.

    Raises
    ------
    UserError
        Model or device missing, a file in ``folder`` that this did not make or made by another model, another
        process at the same share, or, at the end, cases that could not be translated.
    """
    rank = rank or Rank()
    folder = Path(folder)
    if mask not in (None, "auto", "none"):
        raise UserError(f"The mask {mask} cannot be that of every case.", todo="Give auto or none, or leave it out.")
    model = model if isinstance(model, Model) else load_model(model)
    require_translation(model.card)
    chosen = str(own_device(device, rank))
    settings = {
        "model": {"name": model.card["name"], "weights_sha256": model.card.get("weights_sha256")},
        "options": {"mask": mask, "planes": list(planes) if planes else None},
    }
    cases = cohort.for_task(model.card.get("task", "mr-to-ct")).used.cases
    own = cases[rank.number :: rank.world]
    failed: dict[str, str] = {}
    with share_lock(folder / RECORDS, rank.number, rank.world):
        todo = _still_to_do(own, folder, settings, overwrite)
        done = len(own) - len(todo)
        for case in todo:
            events.progress(done, len(own), "cases", case.id)
            error = _translate(case, folder, model, settings, chosen, batch, uneven, events)
            if error is not None:
                failed[case.id] = error
            done += 1
        events.progress(done, len(own), "cases")
    manifest = _join(cases, folder, settings, rank)
    if failed:
        first = "; ".join(f"{name}: {why}" for name, why in [*failed.items()][:_NAMED])
        raise UserError(
            f"{len(failed)} of {len(own)} cases could not be translated.",
            f"{first}{'; …' if len(failed) > _NAMED else ''}",
            f"The others are in {folder}. Mend the files and give the same command again.",
        )
    events.result(output=str(folder), manifest=str(manifest) if manifest.exists() else None, cases=len(own))
    return manifest


def own_device(device: str, rank: Rank) -> torch.device:
    """Return the device of this process: of several on a machine with GPUs, each takes the next."""
    if rank.world > 1 and device in ("auto", "cuda") and torch.cuda.device_count():
        return choose_device(f"cuda:{rank.local % torch.cuda.device_count()}")
    return choose_device(device)


def _still_to_do(cases: Sequence[Case], folder: Path, settings: Mapping[str, Any], overwrite: bool) -> list[Case]:
    """Return the cases that are not done; refuse files that were not made here, or otherwise."""
    if overwrite:
        return list(cases)
    todo, foreign, other = [], [], []
    for case in cases:
        record = _record(folder, case)
        if not _output(folder, case).exists():
            todo.append(case)
        elif record is None:
            foreign.append(case.id)
        elif record["state"] != DONE:
            todo.append(case)  # ended between the file and its record
        elif record["key"] == _key(case, settings):
            continue
        else:
            other.append(case.id)
    for names, why in (
        (foreign, "They were not made by this command."),
        (other, "They were made by another model, from other MRs, or with other options."),
    ):
        if names:
            listed = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
            raise UserError(
                f"{folder} already holds synthetic CTs of {listed}.",
                why,
                "Choose another folder, or replace them with --overwrite.",
            )
    return todo


def _translate(
    case: Case,
    folder: Path,
    model: Model,
    settings: Mapping[str, Any],
    device: str,
    batch: int | None,
    uneven: str,
    events: Events,
) -> str | None:
    """Translate one case and record it; return why it failed, or None."""
    warnings: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        if event["kind"] == "warning":
            warnings.append(" ".join(event[key] for key in ("what", "why", "todo") if event[key]))
            events.warning(f"{case.id}: {event['what']}", event["why"], event["todo"])

    output = _output(folder, case)
    record: dict[str, Any] = {"case": case.id, "input": str(case.input), "output": output.name, **settings}
    began = time.monotonic()
    error = None
    try:
        record["key"] = _key(case, settings)
        _write(folder, case, {**record, "state": BEGUN})
        synthesize_file(
            model,
            case.input,
            output,
            **settings["options"],
            device=device,
            overwrite=True,
            events=Events(listener=hear),
            batch=batch,
            series=case.mr_series,
            uneven=uneven,
        )
        record["state"] = DONE
    except Cancelled:
        raise
    except Exception as found:
        error = str(found) if isinstance(found, UserError) else f"{type(found).__name__}: {found}"
        record |= {"state": FAILED, "error": error}
        events.warning(f"The case {case.id} could not be translated.", error)
    _write(folder, case, {**record, "warnings": warnings, "seconds": round(time.monotonic() - began, 1)})
    return error


def _join(cases: Sequence[Case], folder: Path, settings: Mapping[str, Any], rank: Rank) -> Path:
    """Write the manifest if all cases have come to their end; return its path."""
    manifest = folder / MANIFEST
    records = [_record(folder, case) for case in cases]
    if all(
        # those of an earlier model are about to be replaced by another process
        record is not None and record["state"] != BEGUN and all(record.get(key) == settings[key] for key in settings)
        for record in records
    ):
        kept = ("case", "input", "output", "state", "error", "warnings", "seconds")
        found = [{key: record[key] for key in kept if key in record} for record in records if record is not None]
        own = folder / RECORDS / f"manifest.{rank.number}.json"  # two processes may end at once
        write_whole(own, json.dumps({"format": FORMAT, **settings, "cases": found}, indent=1, ensure_ascii=False))
        own.replace(manifest)
    return manifest


def _key(case: Case, settings: Mapping[str, Any]) -> str:
    return fingerprint([case.input], [FORMAT, settings, case.mr_series])


def _output(folder: Path, case: Case) -> Path:
    return folder / f"{case.id}.nii.gz"


def _record(folder: Path, case: Case) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((folder / RECORDS / f"{case.id}.json").read_text(encoding="utf-8"))
        return record if {"state", "key"} <= record.keys() or record["state"] == FAILED else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _write(folder: Path, case: Case, record: Mapping[str, Any]) -> None:
    path = folder / RECORDS / f"{case.id}.json"
    try:
        write_whole(path, json.dumps(record, indent=1, ensure_ascii=False))
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"{error.strerror}.", "Choose another folder.") from error
