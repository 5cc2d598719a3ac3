"""``synthct preprocess``: register, correct and resample a cohort's volumes once, for every training after it."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events

EXTRA_OPTIONS = "any key of the recipe's preparation: --KEY VALUE"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cohort", required=True, type=Path, help="cohort.json as made by `synthct cohort`")
    parser.add_argument("--preset", required=True, metavar="NAME", help="prepare as this preset or recipe file says")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="NIfTI files and their cohort.json"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="cases prepared at once (default 1)")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.commands.recipe_options import overrides_from
    from synthct.data.cohort import read_cohort
    from synthct.data.preparation import prepare_cohort
    from synthct.recipe import load_recipe

    recipe = load_recipe(options.preset, overrides_from(options.extra))
    prepared = prepare_cohort(read_cohort(options.cohort), recipe.preparation, options.output, events, options.workers)
    manifest = options.output / "cohort.json"
    events.result(output=str(manifest), cases=len(prepared.used))
    print(f"{len(prepared.used)} cases are prepared; train with --cohort {manifest}")
