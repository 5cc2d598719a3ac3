"""``synthct sample``: list or fetch free sample images."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="fetch this set; without a name all are listed")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to put it")
    parser.add_argument("--count", type=int, metavar="N", help="of phantom-pairs: how many pairs (default: 300)")
    parser.add_argument("--seed", type=int, metavar="N", help="of phantom-pairs: which ones (default: 0)")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.data.sample_sets import SAMPLE_SETS, fetch

    if options.name is None:
        for name, sample in SAMPLE_SETS.items():
            print(f"{name}\n  {sample.title}\n  Licence: {sample.licence}. Source: {sample.citation}; {sample.source}")
        return
    if options.output is None:
        raise UserError("--output is missing.", todo="Say where the images shall go.")
    folder = fetch(options.name, options.output, events, options.count, options.seed)
    events.result(output=str(folder))
    print(f"{options.name} is in {folder}; its licence and source stand in SOURCE.txt.")
