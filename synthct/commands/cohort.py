"""``synthct cohort``: find the cases in a folder, check them and write a manifest."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder with the cases: NIfTI, NRRD, MetaImage or DICOM"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="the manifest to write")
    parser.add_argument("--table", type=Path, metavar="CSV", help="columns id, patient, sex, diagnosis, centre")
    parser.add_argument("--overwrite", action="store_true", help="replace a manifest that exists")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.data.checks import check_cohort, table, without_bad_cases
    from synthct.data.cohort import write_cohort
    from synthct.data.discovery import find_cases

    if options.output.exists() and not options.overwrite:
        raise UserError(f"{options.output} exists.", "Nothing is replaced unasked.", "Add --overwrite, or rename it.")
    cohort, leftovers = find_cases(options.folder, options.table)
    checks = check_cohort(cohort, events)
    checked = without_bad_cases(cohort, checks)
    print(table(checks, leftovers))
    write_cohort(checked, options.output, overwrite=options.overwrite)
    excluded = [case.id for case in checked if case.excluded]
    events.result(output=str(options.output), cases=len(checked.used), excluded=excluded)
    print(f"{len(checked.used)} of {len(cohort)} cases can be used; the manifest is {options.output}.")
