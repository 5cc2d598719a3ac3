"""``synthct turing``: prepare a visual Turing test, and score its answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("prepare", "score"),
        help="prepare: a folder of blinded items, which raters open in SynthEval; score: their answers",
    )
    parser.add_argument("folder", type=Path, metavar="TEST", help="the test's folder")
    parser.add_argument("--real", type=Path, metavar="DIR", help="prepare: real volumes in HU, or images/ and masks/")
    parser.add_argument("--generated", type=Path, metavar="DIR", help="prepare: generated ones, in the same form")
    parser.add_argument("--count", type=int, help="prepare: how many of each kind; default: as many as both have")
    parser.add_argument("--seed", type=int, default=0, help="prepare: of what is drawn and of the order")
    parser.add_argument(
        "--window", type=float, nargs=2, metavar=("LOW", "HIGH"), default=(-1000, 600), help="prepare: HU shown"
    )
    parser.add_argument(
        "--parts", type=int, default=3, help="prepare: a rater sees one slab of so many of each volume (default 3)"
    )
    parser.add_argument("--output", type=Path, metavar="JSON", help="score: where to write the result")
    parser.add_argument("--table", type=Path, metavar="CSV", help="score: every rating with what it was")
    parser.add_argument("--overwrite", action="store_true", help="score: replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    (_prepare if options.action == "prepare" else _score)(options, events)


def _prepare(options: argparse.Namespace, events: Events) -> None:
    from synthct.evaluation.raters.turing_test import find_sources, prepare_test

    if options.real is None or options.generated is None:
        raise UserError("`synthct turing prepare` needs --real and --generated.", todo="Give both folders.")
    low, high = options.window
    if not low < high:
        raise UserError(f"--window {low:g} {high:g} is empty.", todo="Give the lower HU first.")
    if options.parts < 1:
        raise UserError(f"--parts cannot be {options.parts}.", todo="Give 1 (the whole volume) or more.")
    items = prepare_test(
        find_sources(options.real),
        find_sources(options.generated),
        options.folder,
        options.count,
        options.seed,
        (low, high),
        options.parts,
    )
    events.result(output=str(options.folder), items=items)
    print(f"{items} blinded items in {options.folder}. Keep key.json away from the raters.")


def _score(options: argparse.Namespace, events: Events) -> None:
    import csv
    import io

    from synthct.evaluation.plain_values import write_json
    from synthct.evaluation.raters.turing_test import rating_rows, score_test
    from synthct.whole_file import require_writable, write_whole

    require_writable(options.output, options.table, overwrite=options.overwrite)
    content = score_test(options.folder)
    if options.output:
        write_json(content, options.output)
    if options.table:
        rows = rating_rows(options.folder)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        write_whole(options.table, text.getvalue())
    events.result(output=str(options.output or ""), raters=len(content["raters"]))
    groups = dict(content["raters"])
    if "mean of raters" in content:
        groups["mean of raters"] = content["mean of raters"]
    for name, found in groups.items():
        print(
            f"{name}: real {_text(found['mean_real'])}, generated {_text(found['mean_generated'])}, AUC "
            f"{_text(found['auc'])} ({' to '.join(map(_text, found['auc_ci95']))})"
        )
    if "agreement" in content:
        print(f"agreement of {content['agreement']['raters']} raters: ICC {_text(content['agreement']['icc'])}")


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
