"""``synthct statistics``: whether groups of scores differ from a baseline, paired by patient."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scores",
        required=True,
        nargs="+",
        type=Path,
        metavar="CSV",
        help="one row per patient and group, one column per score; several files are put together",
    )
    parser.add_argument("--group", required=True, metavar="COLUMN", help="the column that names the groups")
    parser.add_argument("--baseline", required=True, metavar="NAME", help="the group that the others are compared with")
    parser.add_argument(
        "--pair-by", required=True, metavar="COLUMN", help="the column that says which rows belong together (patient)"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only patients of whom any row has this value; repeat for several conditions",
    )
    parser.add_argument("--score", nargs="+", default=[], metavar="COLUMN", help="scores; default: columns of numbers")
    parser.add_argument(
        "--margin", type=float, help="test equivalence, too: the largest mean difference that counts as equal"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals")
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="where to write the result")
    parser.add_argument("--table", type=Path, metavar="MD", help="write the two tables as Markdown, too")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.evaluation.plain_values import write_json
    from synthct.evaluation.statistics.groups import as_markdown, compare_groups
    from synthct.evaluation.statistics.table import read_score_table
    from synthct.whole_file import require_writable, write_whole

    require_writable(options.output, options.table, overwrite=options.overwrite)
    if options.margin is not None and not options.margin > 0:
        raise UserError(f"--margin cannot be {options.margin:g}.", todo="Give a number above 0, in the scores' unit.")
    conditions = {}
    for text in options.where:
        column, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--where {text} is no condition.", todo="Write COLUMN=VALUE.")
        conditions[column.strip()] = value.strip()
    table = read_score_table(*options.scores).where_unit(options.pair_by, conditions)
    if not table.rows:
        raise UserError(
            f"No {options.pair_by} of {table.name} meets every condition.",
            "Each is met by some, together by none.",
            "Give fewer conditions.",
        )
    result = compare_groups(
        table, options.group, options.baseline, options.pair_by, options.score, options.margin, options.seed
    )
    text = as_markdown(result)
    write_json(result.to_dict(), options.output)
    if options.table:
        write_whole(options.table, text)
    for note in result.notes:
        events.warning(note)
    events.result(output=str(options.output), units=result.units, comparisons=len(result.comparisons))
    print(text)
