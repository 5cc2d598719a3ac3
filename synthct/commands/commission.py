"""``synthct commission``: a model on the department's own cases, against the department's own tolerances."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A failed commissioning is a result, not an error: the exit code is 0 and commissioning.json says "
        '"passed": false. So it is with --verify, whose result event holds "valid".'
    )
    parser.add_argument("--model", type=Path, help="a run folder or a model folder")
    parser.add_argument("--cohort", type=Path, help="cohort.json of the department's cases (`synthct cohort`)")
    parser.add_argument(
        "--tolerances", type=Path, metavar="YAML", help="criteria; --write-template makes a file to edit"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="report.html, commissioning.json, synthetic CTs")
    parser.add_argument(
        "--cases", nargs="+", metavar="ID", help="these cases alone; default: all that are not excluded"
    )
    parser.add_argument("--split", type=Path, metavar="JSON", help="the test cases of a run's split.json alone")
    parser.add_argument(
        "--registration",
        choices=("none", "rigid", "affine", "bspline"),
        default="rigid",
        help="of each CT to its MR, unless the cohort is prepared already (default rigid)",
    )
    parser.add_argument("--ct-scanner", metavar="TEXT", help="of the cases' CTs, where their files do not tell")
    parser.add_argument("--kv", metavar="TEXT", help="tube voltage of the cases' CTs, where their files do not tell")
    parser.add_argument("--training-ct", metavar="TEXT", help="scanner and kV behind the HU that the model learned")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument("--write-template", type=Path, metavar="YAML", help="write a tolerances file to edit, and stop")
    parser.add_argument(
        "--verify", type=Path, metavar="FOLDER", help="say whether --model, tolerances and software are as commissioned"
    )


def run(options: argparse.Namespace, events: Events) -> None:
    if options.write_template:
        _write_template(options.write_template, events)
    elif options.verify:
        _verify(options, events)
    else:
        _commission(options, events)


def _write_template(path: Path, events: Events) -> None:
    from synthct.studies.tolerances import template
    from synthct.whole_file import require_writable, write_whole

    require_writable(path)
    write_whole(path, template())
    events.result(output=str(path))
    print(f"Edit the limits in {path}: they are examples, not recommendations.")


def _verify(options: argparse.Namespace, events: Events) -> None:
    from synthct.studies.commissioning import verify

    changed = verify(options.verify, _needed(options, "model"), options.tolerances)
    events.result(valid=not changed, changed=[{"what": what, "then": then, "now": now} for what, then, now in changed])
    if not changed:
        print("Unchanged: model, tolerances, density table and software are as commissioned.")
        return
    print("The commissioning does not hold for what is here now:")
    for what, then, now in changed:
        print(f"  {what}: {then} when commissioned, {now} now")


def _commission(options: argparse.Namespace, events: Events) -> None:
    model, cohort, tolerances, output = (_needed(options, name) for name in ("model", "cohort", "tolerances", "output"))

    from synthct.data.cohort import read_cohort
    from synthct.data.split import read_split
    from synthct.studies.commissioning import REPORT, commission

    known = read_cohort(cohort)
    cases = options.cases
    if options.split:
        if cases:
            raise UserError("--cases and --split were given.", "Each chooses the cases.", "Give one of them.")
        split = read_split(options.split, known)
        cases = list(split.test)
        if not cases or split.slabs:
            raise UserError(
                f"The split {options.split} keeps no whole patient for testing.",
                todo="Give --cases, or other patients.",
            )
    origin = {"scanner": options.ct_scanner, "kv": options.kv, "training": options.training_ct}
    result = commission(
        model,
        known,
        tolerances,
        output,
        cases,
        options.registration,
        {key: text for key, text in origin.items() if text},
        options.device,
        events,
    )
    report = output / REPORT
    events.result(passed=result.passed, report=str(report), criteria=result.content["criteria"])
    for row in result.content["criteria"]:
        word = {True: "passed", False: "FAILED", None: "not judged"}[row["passed"]]
        print(f"  {word:10s} {row['criterion']}: {row['value']} ({row['cases']} cases)")
    for note in result.content["notes"]:
        print(f"Note: {note}")
    print(f"The model {'PASSED' if result.passed else 'DID NOT PASS'} the tolerances. Report: {report}")


def _needed(options: argparse.Namespace, name: str) -> Path:
    value: Path | None = getattr(options, name)
    if value is None:
        raise UserError(f"--{name} was not given.", todo="`synthct commission --help` lists what is needed.")
    return value
