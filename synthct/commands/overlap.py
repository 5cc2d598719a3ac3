"""``synthct overlap``: score segmentations against reference masks, one row per patient."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reference", required=True, type=Path, help="a reference mask, or a folder of them")
    parser.add_argument("--predicted", required=True, type=Path, help="the mask to score, or a folder, names alike")
    parser.add_argument("--tolerance", type=float, default=1.0, metavar="MM", help="of the surface Dice (default 1 mm)")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="a column for every row, such as training_set=real_344, by which `synthct statistics` tells groups apart",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="CSV", help="where to write the rows")
    parser.add_argument("--summary", type=Path, metavar="JSON", help="write means, spreads and definitions, too")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.evaluation.masks.report import as_csv, mask_pairs, score_masks, summary
    from synthct.evaluation.plain_values import write_json
    from synthct.whole_file import require_writable, write_whole

    require_writable(options.output, options.summary, overwrite=options.overwrite)
    if not options.tolerance >= 0:
        raise UserError(f"--tolerance cannot be {options.tolerance:g}.", todo="Give millimetres, 0 or more.")
    columns = {}
    for text in options.column:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--column {text} names no column.", todo="Write NAME=TEXT.")
        columns[name] = value
    pairs = mask_pairs(options.reference, options.predicted)
    rows = []
    for row in score_masks(pairs, options.tolerance):
        rows.append(row)
        events.progress(len(rows), len(pairs), "scores", row["patient"])
    content = summary(rows, options.tolerance)
    write_whole(options.output, as_csv(rows, columns))
    if options.summary:
        write_json(content, options.summary)
    events.result(output=str(options.output), patients=len(rows), with_a_lesion=content["with_a_lesion"])
    for group, scores in content["scores"].items():
        dice = scores["dice_percent"]
        if dice["n"]:
            print(f"{group}: Dice {dice['mean']:.2f} % (median {dice['median']:.2f}, n = {dice['n']})")
