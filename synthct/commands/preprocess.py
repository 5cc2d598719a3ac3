"""``synthct preprocess``: register, correct and resample a cohort's volumes once, for every training after it."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events

EXTRA_OPTIONS = "any key of the recipe's preparation: --KEY VALUE"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cohort", required=True, type=Path, help="cohort.json as made by `synthct cohort`")
    parser.add_argument("--preset", required=True, metavar="NAME", help="prepare as this preset or recipe file says")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="NIfTI files and their cohort.json"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="cases prepared at once (default 1)")
    parser.add_argument(
        "--skip-corrupt",
        action="store_true",
        help="leave out cases that cannot be read or prepared, each with a warning, in place of refusing the cohort",
    )


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.commands.recipe_options import overrides_from
    from synthct.data.cohort import read_cohort
    from synthct.data.left_out import LeftOut
    from synthct.data.preparation import prepare_cohort
    from synthct.recipe import load_recipe

    recipe = load_recipe(options.preset, overrides_from(options.extra))
    cohort = read_cohort(options.cohort, skip_missing=events if options.skip_corrupt else None).for_task(recipe.task)
    if cohort.preparation is not None:
        raise UserError(
            f"The cohort {options.cohort} is prepared already.",
            "Nothing would be written.",
            "Train with it as it is, or give the cohort of the original images.",
        )
    if options.workers < 1:
        raise UserError(f"--workers cannot be {options.workers}.", todo="Give 1 or more.")
    left_out = LeftOut(options.skip_corrupt, events)
    prepared = prepare_cohort(cohort, recipe.preparation, options.output, events, options.workers, left_out)
    manifest = options.output / "cohort.json"
    events.result(output=str(manifest), cases=len(prepared.used))
    print(f"{len(prepared.used)} cases are prepared; train with --cohort {manifest}")
