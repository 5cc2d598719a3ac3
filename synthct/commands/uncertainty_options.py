"""The options by which a verb learns what several predictions shall differ by."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthct.synthesis.uncertainty import Uncertainty


def add_uncertainty_options(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add --uncertainty, --samples, --seed and --flips."""
    parser.add_argument(
        "--uncertainty",
        required=required,
        metavar="MODES",
        help="one or more of dropout, flips, planes, models, joined by commas: what several predictions differ by",
    )
    parser.add_argument("--samples", type=int, default=10, metavar="N", help="predictions with dropout (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of dropout (default 0)")
    parser.add_argument(
        "--flips",
        default="left-right",
        metavar="AXES",
        help="left-right, front-back, head-foot, joined by commas (default left-right); exact only for mirror images "
        "that the model was trained with",
    )


def uncertainty_from(options: argparse.Namespace) -> Uncertainty:
    """Return what the options say; --uncertainty was given."""
    from synthct.synthesis.uncertainty import Uncertainty

    return Uncertainty(
        tuple(options.uncertainty.split(",")), options.samples, options.seed, tuple(options.flips.split(","))
    )
