"""Find the cases in a folder: which file is whose MR, CT and mask, from names, folders and DICOM headers.

Understood are ``p1_MR.nii.gz`` beside ``p1_CT.nii.gz``, a folder per case with ``mr.nii.gz`` and ``ct.nii.gz`` (and
``mask.nii.gz``), folders ``MR`` and ``CT`` with files of the same names, and DICOM folders per case that hold an MR and
a CT series. For the task ``label-to-ct`` label maps take the place of MRs: ``p1_labels.nii.gz``, ``p1_seg.nii.gz``.
For ``noise-to-ct`` every image counts, alone or with a mask of its name: ``images/p1.nii.gz`` and
``masks/p1.nii.gz``, ``p1_CT.nii.gz`` and ``p1_mask.nii.gz`` or ``p1_GTV.nii.gz``. Case does not matter. What finds no
partner is named.
"""

from __future__ import annotations

import csv
import dataclasses
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from synthct.data.cohort import CLINICAL, Case, Cohort
from synthct.data.finding import Finding
from synthct.errors import UserError
from synthct.recipe import LABEL_TASK, NOISE_TASK
from synthct.volumes.dicom import SeriesInfo, list_series

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
_WORDS = {
    "mr": {"mr", "mri", "mrs", "mris", "t1", "t1w", "t2", "t2w", "pd", "pdw", "flair"},
    "ct": {"ct", "cts"},
    "mask": {"mask", "masks", "body", "bodymask"},
    "labels": {"label", "labels", "labelmap", "labelmaps", "seg", "segs", "segmentation", "segmentations"},
}
_OUTLINES = {"gtv", "gtvp", "gtvn", "gtvt", "ctv", "roi", "tumour", "tumor", "lesion", "lesions"}
"""Last words of names that say, beside ``mask``, that something other than the body is outlined."""
_FOLDER_WORDS = {*_WORDS["mr"], *_WORDS["ct"], *_WORDS["mask"], *_WORDS["labels"], "anat", "image", "images"}
_NAMES = {"mr": "MR", "ct": "CT", "labels": "label map"}
_TABLE = "cases.csv"
_MAX_NAMED = 5


def find_cases(
    folder: Path | str, table: Path | str | None = None, task: str = "mr-to-ct"
) -> tuple[Cohort, list[Finding]]:
    """Return the pairs in ``folder`` and what was left over.

    Parameters
    ----------
    task
        Of the networks to be trained: ``label-to-ct`` pairs CTs with label maps, ``noise-to-ct`` takes all images that
        are no MRs, with their masks, any other pairs CTs with MRs.
    table
        CSV with a column ``id`` and any of patient, sex, diagnosis, centre; None: ``cases.csv`` in the folder, if
        there is one.

    Raises
    ------
    UserError
        The folder is missing or holds no pair, or the table cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.", todo="Give the folder that holds the images.")
    wanted = "labels" if task == LABEL_TASK else "mr"
    files = sorted(path for path in folder.rglob("*") if not _hidden(path, folder) and path.is_file())
    images = [path for path in files if path.name.lower().endswith(ENDINGS)]
    if task == NOISE_TASK:
        cases, findings = _pairs_from_names(images, folder)
    else:
        cases, findings = _from_names(images, folder, wanted)
    if wanted == "mr" and task != NOISE_TASK and any(_is_dicom(path) for path in set(files) - set(images)):
        more, found = _from_dicom(folder, {case.id.casefold() for case in cases})
        cases, findings = cases + more, findings + found
    if not cases and task == NOISE_TASK:
        raise UserError(
            f"No image was found in {folder}.",
            " ".join(finding.what for finding in findings[:_MAX_NAMED]) or "There are none in it.",
            "Put them as NIfTI, NRRD or MetaImage into images/, and masks of the same names into masks/.",
        )
    if not cases:
        raise UserError(
            f"No pair of {'an MR' if wanted == 'mr' else 'a label map'} and a CT was found in {folder}.",
            " ".join(finding.what for finding in findings[:_MAX_NAMED]) or "There are no images in it.",
            f"Name them like p1_{'MR' if wanted == 'mr' else 'labels'}.nii.gz and p1_CT.nii.gz, or give each case a "
            f"folder with {wanted}.nii.gz and ct.nii.gz.",
        )
    cohort = Cohort(tuple(sorted(cases, key=lambda case: case.id)), folder.resolve())
    table = folder / _TABLE if table is None and (folder / _TABLE).is_file() else table
    if table is not None:
        cohort, found = add_clinical_table(cohort, table)
        findings += found
    return cohort, findings


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)


def _from_names(images: Iterable[Path], folder: Path, wanted: str) -> tuple[list[Case], list[Finding]]:
    """Pair CTs with ``wanted``, "mr" or "labels"; the other kind is kept beside it where it is there."""
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    unnamed = []
    for path in images:
        kind, name = classify(path.relative_to(folder))
        if kind is None:
            unnamed.append(path)
            continue
        key = unicodedata.normalize("NFC", name).casefold()
        groups[key][kind].append(path)
        names.setdefault(key, name)
    cases, findings = [], []
    for key, group in groups.items():
        many = next((found for found in group.values() if len(found) > 1), None)
        if many:
            listed = _listed(many, folder)
            findings.append(
                Finding("warning", listed, f"{len(many)} files claim to be the same image.", "Keep one of them.")
            )
        elif wanted in group and "ct" in group:
            mr, mask, labels = (group[kind][0] if kind in group else None for kind in ("mr", "mask", "labels"))
            name = names[key] or folder.resolve().name
            cases.append(Case(name, mr, group["ct"][0], mask, labels=labels))
        else:
            there = next(iter(group.values()))[0]
            missing = " and ".join(_NAMES[kind] for kind in (wanted, "ct") if kind not in group)
            findings.append(Finding("warning", _listed([there], folder), f"It has no partner: no {missing} found."))
    if unnamed:
        findings.append(
            Finding(
                "warning",
                _listed(unnamed, folder),
                f"The names say neither {_NAMES[wanted]} nor CT; the files are not used.",
            )
        )
    return cases, findings


def _pairs_from_names(images: Iterable[Path], folder: Path) -> tuple[list[Case], list[Finding]]:
    """Return every image that is no MR, with the mask or label map of its name."""
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    for path in images:
        kind, name = classify(path.relative_to(folder))
        if kind is None:
            stem = path.name[: -len(next(end for end in ENDINGS if path.name.lower().endswith(end)))]
            above = [part for part in path.relative_to(folder).parts[:-1] if not _FOLDER_WORDS.issuperset(_split(part))]
            whole, _, last = stem.rpartition("_")
            outline = last.casefold() in _OUTLINES
            kind, name = "outline" if outline else "ct", _name([*above, whole if outline else stem])
        key = unicodedata.normalize("NFC", name).casefold()
        groups[key][kind].append(path)
        names.setdefault(key, name)
    cases, findings = [], []
    for key, group in groups.items():
        many = next((found for found in group.values() if len(found) > 1), None)
        if many:
            what = f"{len(many)} files claim to be the same image."
            findings.append(Finding("warning", _listed(many, folder), what, "Keep one of them."))
        elif "ct" in group:
            mask = [*group.get("mask", []), *group.get("labels", []), *group.get("outline", []), None][0]
            cases.append(Case(names[key] or folder.resolve().name, None, group["ct"][0], mask))
        else:
            there = next(iter(group.values()))[0]
            findings.append(Finding("warning", _listed([there], folder), "There is no CT or other image of its name."))
    return cases, findings


def classify(path: Path) -> tuple[str | None, str]:
    """Return what an image is ("mr", "ct", "mask", "labels" or None) and its case's name, from its relative path."""
    stem = path.name[: -len(next(end for end in ENDINGS if path.name.lower().endswith(end)))]
    folders = [part for part in path.parts[:-1] if not all(word in _FOLDER_WORDS for word in _split(part))]
    kind, rest = _kind(stem)
    if kind is not None:
        return kind, _name([*folders, rest])
    for depth in reversed(range(len(path.parts) - 1)):
        kind, rest = _kind(path.parts[depth])
        if kind is not None:
            above = [part for part in path.parts[:depth] if part in folders]
            below = [part for part in path.parts[depth + 1 : -1] if part in folders]
            return kind, _name([*above, rest, *below, stem])
    return None, ""


def _split(text: str) -> list[str]:
    return [word for word in re.split(r"[\s_.\-]+", text.casefold()) if word]


def _kind(text: str) -> tuple[str | None, str]:
    """Return the modality that the words of ``text`` name, if it is just one, and the text without those words."""
    kinds = {kind for kind, words in _WORDS.items() if words & set(_split(text))}
    if len(kinds) != 1:
        return None, text
    kind = kinds.pop()
    kept = [part for part in re.split(r"([\s_.\-]+)", text) if part.casefold() not in _WORDS[kind]]
    joined = re.sub(r"[\s_.\-]*([\s_.\-])", r"\1", "".join(kept))
    return kind, joined.strip(" _.-")


def _name(parts: Sequence[str]) -> str:
    return re.sub(r'[/\\:*?"<>|]', "_", "_".join(part for part in parts if part)).lstrip(".")


def _is_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _from_dicom(folder: Path, taken: set[str]) -> tuple[list[Case], list[Finding]]:
    """Pair MR and CT series under the deepest folder that holds both."""
    series = [found for found in list_series(folder) if found.modality in ("MR", "CT")]
    places = {found.uid: _common(found.files) for found in series}
    groups: dict[Path, list[SeriesInfo]] = defaultdict(list)
    for found in series:
        above = [place for place in (places[found.uid], *places[found.uid].parents) if place.is_relative_to(folder)]
        both = [p for p in above if {o.modality for o in series if places[o.uid].is_relative_to(p)} == {"MR", "CT"}]
        groups[both[0] if both else places[found.uid]].append(found)
    cases, findings = [], []
    for place, group in groups.items():
        chosen = {modality: [found for found in group if found.modality == modality] for modality in ("MR", "CT")}
        if any(len(found) != 1 for found in chosen.values()):
            counts = " and ".join(f"{len(found)} {modality} series" for modality, found in chosen.items())
            listed = "; ".join(str(found) for found in group)
            todo = "One of each is needed: keep one, or name the series in the manifest (mr_series, ct_series)."
            findings.append(Finding("warning", str(place), f"The folder has {counts}: {listed}.", todo))
            continue
        mr, ct = chosen["MR"][0], chosen["CT"][0]
        name = _name(place.relative_to(folder).parts) or folder.resolve().name
        while name.casefold() in taken:
            name += "_dicom"
        taken.add(name.casefold())
        uids = [found.uid if _shared(found, series, places) else None for found in (mr, ct)]
        cases.append(Case(name, places[mr.uid], places[ct.uid], mr_series=uids[0], ct_series=uids[1]))
    return cases, findings


def _common(files: Sequence[Path]) -> Path:
    place = files[0].parent
    while not all(file.is_relative_to(place) for file in files):
        place = place.parent
    return place


def _shared(one: SeriesInfo, series: Sequence[SeriesInfo], places: dict[str, Path]) -> bool:
    return any(other.uid != one.uid and places[other.uid].is_relative_to(places[one.uid]) for other in series)


def _listed(paths: Sequence[Path], folder: Path) -> str:
    named = ", ".join(path.relative_to(folder).as_posix() for path in paths[:_MAX_NAMED])
    return named + (f" and {len(paths) - _MAX_NAMED} more" if len(paths) > _MAX_NAMED else "")


def add_clinical_table(cohort: Cohort, table: Path | str) -> tuple[Cohort, list[Finding]]:
    """Fill in patient, sex, diagnosis and centre from a CSV (comma or semicolon) with a column ``id``.

    Raises
    ------
    UserError
        The table cannot be read, has no column ``id``, or names a case twice.
    """
    table = Path(table)
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The table {table} cannot be read.", f"{error}.", "Save it as CSV in UTF-8.") from error
    first = text.split("\n", 1)[0]
    reader = csv.DictReader(text.splitlines(), delimiter=";" if first.count(";") > first.count(",") else ",")
    columns = {
        "centre" if n.strip().casefold() == "center" else n.strip().casefold(): n for n in reader.fieldnames or ()
    }
    if "id" not in columns:
        raise UserError(
            f"The table {table} has no column `id`.", f"Its columns are {', '.join(reader.fieldnames or ['none'])}."
        )
    rows: dict[str, dict[str, str]] = {}
    for row in reader:
        name = (row[columns["id"]] or "").strip()
        if name.casefold() in rows:
            raise UserError(f"The table {table} names the case {name} twice.", todo="Keep one of the rows.")
        rows[name.casefold()] = {key: (row[columns[key]] or "").strip() for key in CLINICAL if key in columns}
    cases = []
    for case in cohort:
        known: dict[str, Any] = {key: value for key, value in rows.pop(case.id.casefold(), {}).items() if value}
        cases.append(dataclasses.replace(case, **known))
    findings = [Finding("warning", table.name, f"Nothing was found for its case {name}.") for name in rows if name]
    return dataclasses.replace(cohort, cases=tuple(cases)), findings
