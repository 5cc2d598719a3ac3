"""``synthct worker``: keep a model loaded and serve requests (used by Slicer)."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", required=True, type=Path, help="where requests are left and the state is written")
    parser.add_argument("--idle", type=float, default=120, metavar="S", help="forget the model after so many seconds")
    parser.add_argument("--exit", type=float, default=1800, metavar="S", help="end after so many seconds without work")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.synthesis.worker import serve

    serve(options.folder, idle_s=options.idle, exit_s=options.exit)
