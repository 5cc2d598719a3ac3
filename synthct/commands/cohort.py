"""``synthct cohort``: find the cases in a folder, check them and write a manifest."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthct.errors import UserError
from synthct.events import Events

if TYPE_CHECKING:
    from synthct.data.checks import CaseCheck
    from synthct.data.cohort import Cohort


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="folder with the cases (NIfTI, NRRD, MetaImage or DICOM), or a manifest to be checked again",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="the manifest to write")
    parser.add_argument(
        "--task",
        choices=("mr-to-ct", "label-to-ct", "noise-to-ct"),
        default="mr-to-ct",
        help="label-to-ct pairs CTs with label maps (p1_labels.nii.gz) in place of MRs; noise-to-ct takes images/ "
        "alone or with masks/ (default mr-to-ct)",
    )
    parser.add_argument(
        "--classes", type=int, metavar="N", help="classes that a label map may hold, 0 to N - 1 (default: 8, our own)"
    )
    parser.add_argument("--table", type=Path, metavar="CSV", help="columns id, patient, sex, diagnosis, centre")
    parser.add_argument("--thumbnails", type=Path, metavar="DIR", help="write a small picture of each case here")
    parser.add_argument(
        "--analyse",
        type=Path,
        metavar="DIR",
        help="write tables and a picture of sizes, spacings and HU by source (column centre, or how ids begin)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a manifest that exists")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.data.checks import DEFAULT_CLASSES, check_cohort, table, without_bad_cases
    from synthct.data.cohort import read_cohort, write_cohort
    from synthct.data.discovery import find_cases

    if options.output.exists() and not options.overwrite:
        raise UserError(f"{options.output} exists.", "Nothing is replaced unasked.", "Add --overwrite, or rename it.")
    if options.analyse is not None and any(options.analyse.glob("*")) and not options.overwrite:
        raise UserError(f"{options.analyse} is not empty.", "Nothing is replaced unasked.", "Add --overwrite.")
    again = options.folder.is_file()
    found = (read_cohort(options.folder), []) if again else find_cases(options.folder, options.table, options.task)
    cohort, leftovers = found
    checks = check_cohort(cohort.for_task(options.task), events, options.classes or DEFAULT_CLASSES)
    checked = without_bad_cases(cohort, checks)
    print(table(checks, leftovers))
    write_cohort(checked, options.output, overwrite=options.overwrite)
    excluded = [case.id for case in checked if case.excluded]
    analysis = {} if options.analyse is None else _analysed(cohort, options.analyse, events)
    events.result(
        output=str(options.output),
        **analysis,
        cases=len(checked.used),
        excluded=excluded,
        checks=[_plain(check, _thumbnail(check, options.thumbnails)) for check in checks],
        leftovers=[str(finding) for finding in leftovers],
    )
    print(f"{len(checked.used)} of {len(cohort)} cases can be used; the manifest is {options.output}.")


def _analysed(cohort: Cohort, folder: Path, events: Events) -> dict[str, str]:
    """Write the analysis of all cases, bad ones too, and print its table; return what the result event says."""
    from synthct.data.analysis import analyse, summary, write_tables
    from synthct.data.analysis_plot import write_analysis_plot

    measured = analyse(cohort, events)
    cases, sources = write_tables(measured, folder)
    picture = folder / "analysis.png"
    write_analysis_plot(picture, measured, f"{len(measured)} cases of {cohort.root}")
    print(summary(measured))
    paths = {"cases_table": cases, "sources_table": sources, "analysis_picture": picture}
    return {name: str(path.absolute()) for name, path in paths.items()}


def _thumbnail(check: CaseCheck, folder: Path | None) -> str | None:
    """Draw a case that can be read; return the picture's path."""
    from synthct.data.thumbnails import write_thumbnail

    if folder is None or check.size is None:
        return None
    path = folder.absolute() / f"{check.case.id}.png"
    write_thumbnail(check.case, path)
    return str(path)


def _plain(check: CaseCheck, thumbnail: str | None) -> dict[str, Any]:
    """What a table shows of one case."""
    return {
        "id": check.case.id,
        "level": check.level,
        "findings": [dataclasses.asdict(finding) for finding in check.findings],
        "size": check.size,
        "spacing": check.spacing,
        "body_dice": check.agreement.body_dice if check.agreement is not None else None,
        "thumbnail": thumbnail,
    }
