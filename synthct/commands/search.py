"""``synthct search``: the best values of any recipe keys, by many trainings on the same split."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from synthct.errors import UserError
from synthct.events import Events

EXTRA_OPTIONS = "any recipe key: --KEY VALUE, the same in all trials"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", required=True, metavar="NAME", help="a published recipe, or the path of your own")
    parser.add_argument("--cohort", required=True, type=Path, metavar="JSON", help="as made by `synthct cohort`")
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="runs, table, picture and best recipe; the same call again goes on with it, also beside the first and on "
        "other machines that see the folder",
    )
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=SPEC",
        help="a recipe key and its values (1e-4,2e-4,4e-4 or '{unet,pix2pix-unet}') or range (2..8 or 1e-5..1e-3:log); "
        "repeat for each",
    )
    parser.add_argument("--space", type=Path, metavar="YAML", help="a file of KEY: SPEC, besides --vary")
    parser.add_argument(
        "--sampler", choices=("grid", "tpe", "random"), help="default: grid where only values are given, else tpe"
    )
    parser.add_argument("--trials", type=int, metavar="N", help="in all (default 20; a grid has as many as it has)")
    parser.add_argument(
        "--metric",
        help="any scalar that a run reports (default validation/mae_hu, from noise validation/statistics_distance)",
    )
    parser.add_argument("--direction", choices=("minimize", "maximize"), default="minimize", help="default minimize")
    parser.add_argument(
        "--pruner",
        choices=("median", "halving", "none"),
        help="what ends bad trials early (default: none for a grid, else median)",
    )
    parser.add_argument("--storage", metavar="URL", help="a database in place of the journal file in FOLDER")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of sampler, split and trainings, in place of the recipe's"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.epilog = "Any key of the recipe is an option too: --steps 500. Needs the package optuna: synthct[search]."


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.commands.recipe_options import overrides_from
    from synthct.studies.space import Values, read_space

    try:
        from synthct.studies.search import Settings, search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError(
            "A search needs the package optuna, which is not installed.", todo="pip install optuna"
        ) from error
    from synthct.data.cohort import read_cohort
    from synthct.recipe import CLASS_TASK, NOISE_TASK, load_recipe
    from synthct.studies.search_report import best_of

    overrides = overrides_from(options.extra)
    if options.seed is not None:
        overrides["training.seed"] = str(options.seed)
    space = read_space(options.vary, options.space)
    listed = all(isinstance(domain, Values) for domain in space.values())
    sampler: Literal["grid", "tpe", "random"] = options.sampler or ("grid" if listed else "tpe")
    if options.trials is not None and (sampler == "grid" or options.trials < 1):
        raise UserError(
            f"--trials {options.trials} cannot be.",
            "A grid has as many trials as it has points." if sampler == "grid" else "There must be one at least.",
            "Leave it out, or search with --sampler tpe or random." if sampler == "grid" else "Give 1 or more.",
        )
    recipe = load_recipe(options.preset, overrides)
    scored = {NOISE_TASK: "validation/statistics_distance", CLASS_TASK: "validation/cross_entropy"}.get(
        recipe.task, "validation/mae_hu"
    )
    settings = Settings(
        sampler=sampler,
        trials=None if sampler == "grid" else options.trials or 20,
        metric=options.metric or scored,
        direction=options.direction,
        pruner=options.pruner or ("none" if sampler == "grid" else "median"),
        storage=options.storage,
        seed=recipe.training.seed,
    )
    outcomes = search(
        options.preset, overrides, space, read_cohort(options.cohort), options.output, settings, options.device, events
    )
    print((options.output / "table.md").read_text(encoding="utf-8"))
    best = best_of(outcomes, options.direction)
    if best is not None:
        print(f"The best recipe is {options.output / 'best.yaml'}; its model is {best.run / 'model'}.")
        events.result(
            best=str(options.output / "best.yaml"),
            model=str(best.run / "model"),
            value=best.value,
            trials=len(outcomes),
        )
