"""``synthct worker``: keep the last model loaded and serve requests that come as files (used by Slicer)."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", required=True, type=Path, help="where requests come and the state is written")
    parser.add_argument(
        "--idle", type=float, default=120.0, metavar="S", help="seconds without a request until the model is given back"
    )
    parser.add_argument(
        "--exit-after", type=float, default=1800.0, metavar="S", help="seconds without a request until the worker ends"
    )


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.synthesis.worker import serve

    serve(options.folder, options.idle, options.exit_after)
