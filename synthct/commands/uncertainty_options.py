"""The options by which a verb learns what several predictions shall differ by."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from synthct.errors import UserError

if TYPE_CHECKING:
    from synthct.synthesis.uncertainty.estimate import Uncertainty

_DEFAULTS = {"samples": 10, "seed": 0, "flips": "left-right"}


def add_uncertainty_options(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add --uncertainty, --samples, --seed and --flips."""
    parser.add_argument(
        "--uncertainty",
        required=required,
        metavar="MODES",
        help="one or more of dropout, flips, planes, models, joined by commas: what several predictions differ by",
    )
    parser.add_argument(
        "--samples", type=int, default=_DEFAULTS["samples"], metavar="N", help="predictions with dropout (default 10)"
    )
    parser.add_argument("--seed", type=int, default=_DEFAULTS["seed"], help="of dropout (default 0)")
    parser.add_argument(
        "--flips",
        default=_DEFAULTS["flips"],
        metavar="AXES",
        help="left-right, front-back, head-foot, joined by commas (default left-right); exact only for mirror images "
        "that the model was trained with",
    )


def uncertainty_from(options: argparse.Namespace) -> Uncertainty:
    """Return what the options say; --uncertainty was given."""
    from synthct.synthesis.uncertainty.estimate import Uncertainty

    return Uncertainty(
        tuple(options.uncertainty.split(",")), options.samples, options.seed, tuple(options.flips.split(","))
    )


def refuse_without_uncertainty(options: argparse.Namespace) -> None:
    """Refuse options that mean nothing without --uncertainty, where it was not given.

    Raises
    ------
    UserError
        Naming them.
    """
    given = [f"--{name}" for name, default in _DEFAULTS.items() if getattr(options, name) != default]
    if given and not options.uncertainty:
        raise UserError(
            f"{' and '.join(given)} would do nothing.",
            "There is one prediction unless --uncertainty says what several differ by.",
            "Add --uncertainty, or leave it out.",
        )
