"""The command line: ``python -m synthct VERB ...``, one file per verb in ``synthct/commands``.

Exit codes: 0 done, 1 our fault, 2 the user's input, 130 cancelled.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from synthct import __version__
from synthct.errors import Cancelled, UserError
from synthct.events import Events
from synthct.terminal import Terminal, print_json

VERBS = {
    "cohort": "find the cases in a folder, check them and write a manifest",
    "preprocess": "register, correct and resample a cohort's volumes",
    "train": "train a network by preset or recipe, or resume a run",
    "search": "find the best values of any recipe keys by many trainings, on one machine or several",
    "compare": "train several presets on the same patients and score them on held-out ones",
    "synthesize": "turn one MR into a synthetic CT with a trained model",
    "dicom": "write a synthetic CT as a DICOM CT series, in the MR's study and frame of reference",
    "lidc": "LIDC-IDRI: a CT and its readers' outlines into a nodule mask and a table",
    "masks": "a DICOM structure set or segmentation into a mask on the CT's grid",
    "bulk": "make a CT from tissue labels with one HU each: the rival of every network",
    "calibrate": "compare a model's standard deviations with its true errors, and set them right",
    "labels": "turn a CT, or another segmentation, into a label map of tissue classes and nodules",
    "templates": "cut nodules out of masks into a library of templates; list, export, import, remove them",
    "insert": "plant nodules of a library into a label map, at a point or at random",
    "dataset": "volumes with planted nodules, their masks and CTs by a model, to train segmentation networks on",
    "generate": "make images, or pairs of image and mask, from noise with a trained model",
    "evaluate": "score a synthetic CT against its reference CT",
    "overlap": "score segmentations against reference masks: Dice, surfaces, volumes, per patient",
    "distribution": "synthetic against real images as sets: FID, KID, MMD, precision, recall, IS, t-SNE",
    "turing": "a visual Turing test: real and generated volumes blinded for raters, their answers scored",
    "statistics": "test whether groups of scores differ from a baseline, paired by patient",
    "experiment": "train a segmentation network with and without synthetic data, and test whether it finds more",
    "explain": "what a segmentation network looks at: occlusion or Grad-CAM as a volume",
    "dose": "two doses compared: gamma, dose-volume histograms of structures, differences",
    "depth": "water-equivalent depth along beam directions, of a synthetic CT beside its CT",
    "commission": "score a model on the department's own cases against its tolerances, with everything locked",
    "models": "list, install, check, remove and export models",
    "qa": "examine a synthetic CT where there is no CT: findings in plain sentences",
    "presets": "list the published recipes, or print one",
    "sample": "list or fetch free sample images",
    "devices": "list the processors that can be used, with free memory",
    "worker": "keep a model loaded and serve requests (used by Slicer)",
}

_OF_THE_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EIO,
    errno.ESTALE,
}
"""A disk or folder that fails while something is read or written, wherever that may be."""
DONE, OUR_FAULT, USER_INPUT, CANCELLED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="synthct",
        description="Synthetic CT from MR: train, synthesise, evaluate. Research software, not a medical device.",
        epilog="`synthct VERB --help` explains a verb.",
    )
    parser.add_argument("--version", action="version", version=f"synthct {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    named = next((word for word in arguments if not word.startswith("-")), None)
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(verb, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if verb == named:  # the others' files need not be read
            _common_options(verb_parser)
            add_options = getattr(importlib.import_module(f"synthct.commands.{verb}"), "add_options", None)
            if add_options is not None:
                add_options(verb_parser)
    options, extra = parser.parse_known_args(arguments)
    command = importlib.import_module(f"synthct.commands.{options.verb}")
    if extra and not hasattr(command, "EXTRA_OPTIONS"):
        parser.error(f"unknown option: {' '.join(extra)}")
    options.extra = extra
    to_stdout = options.events == "-"
    terminal = Terminal()
    events = Events(
        None if to_stdout or options.events is None else options.events, print_json if to_stdout else terminal
    )
    try:
        signal.signal(signal.SIGTERM, _cancel)
        command.run(options, events)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CANCELLED
    except (Exception, KeyboardInterrupt) as error:
        if options.debug:
            traceback.print_exc()
        return _explain(error, options.verb, events, terminal)
    return DONE


def _explain(error: BaseException, verb: str, events: Events, terminal: Terminal) -> int:
    """Say in one paragraph why a verb ended, as an event and on the terminal; return the exit code."""
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        where = str(error.filename2 or error.filename or "A file")
        error = UserError(
            f"{where} cannot be read or written.",
            f"{error.strerror}.",
            "Check the path, the rights and the free space.",
        )
    if isinstance(error, KeyboardInterrupt | Cancelled):
        events.emit("cancelled")
        terminal.line(f"synthct {verb}: cancelled. {error}".rstrip())
        return CANCELLED
    events.error(error)
    if isinstance(error, UserError):
        terminal.line(f"synthct {verb}: {error}")
        return USER_INPUT
    terminal.line(
        f"synthct {verb}: an internal error, not your input: {type(error).__name__}: {error} "
        "Run again with --debug to see where, and report it."
    )
    return OUR_FAULT


def _common_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reporting")
    group.add_argument(
        "--events",
        nargs="?",
        const="-",
        metavar="FILE",
        help="append progress, warnings and results as JSON lines to FILE, or print them where no FILE is given",
    )
    group.add_argument("--debug", action="store_true", help="show where in the program an error arose")


def _cancel(number: int, frame: FrameType | None) -> NoReturn:
    raise Cancelled


if __name__ == "__main__":
    sys.exit(main())
