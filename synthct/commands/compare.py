"""``synthct compare``: several presets on the same patients, scored beside the trivial answers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events

EXTRA_OPTIONS = "any recipe key: --KEY VALUE for all presets alike, --NAME.KEY VALUE for one"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        required=True,
        action="append",
        metavar="NAME",
        help="a preset or recipe file; repeat for each; NAME:FIRST starts NAME from the model that FIRST has learned",
    )
    parser.epilog = "Recipe keys are options too: --batch 4 for all, --synthct-unet.training.steps 500 for one of them."
    parser.add_argument("--cohort", required=True, type=Path, help="cohort.json as made by `synthct cohort`")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="runs, synthetic CTs and the table"
    )
    parser.add_argument("--folds", type=int, help="test every patient once in this many folds; default: one split")
    parser.add_argument(
        "--only-fold", type=int, metavar="K", help="do fold K alone, with a table of its own: one job of several"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split and of every training (default 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument(
        "--skip-corrupt",
        action="store_true",
        help="leave out cases that cannot be read or prepared, each with a warning, in place of refusing the cohort",
    )


def run(options: argparse.Namespace, events: Events) -> None:
    import dataclasses

    from synthct.commands.recipe_options import overrides_from
    from synthct.data.cohort import read_cohort
    from synthct.data.split import folds
    from synthct.evaluation.plain_values import write_json
    from synthct.recipe import load_recipe
    from synthct.studies.comparison import LOOKUP, by_folds, compare, held_out
    from synthct.studies.table import markdown, summary
    from synthct.whole_file import write_whole

    overrides = {**overrides_from(options.extra), "training.seed": str(options.seed)}
    starts: dict[str, str] = {}
    recipes = []
    names = [entry.partition(":")[0] if not Path(entry).exists() else entry for entry in options.preset]
    for entry, name in zip(options.preset, names, strict=True):
        first = entry[len(name) + 1 :]
        recipe = load_recipe(name, _own(overrides, name, names))
        recipes.append(recipe)
        if first:
            starts[recipe.name] = first
    if (options.output / "table.json").exists():
        raise UserError(f"{options.output} holds a finished comparison.", todo="Choose another folder.")
    cohort = read_cohort(options.cohort, skip_missing=events if options.skip_corrupt else None)
    if options.folds is not None:
        folds(cohort, options.folds, options.seed)  # refused before hours of preparation
    if options.only_fold is not None and not 1 <= options.only_fold <= (options.folds or 1):
        raise UserError(
            f"There is no fold {options.only_fold}.", f"There are {options.folds or 1}.", "Correct --only-fold."
        )
    splitter = by_folds(options.folds, options.seed) if options.folds else held_out(options.seed)
    comparison = compare(
        recipes,
        cohort,
        options.output,
        splitter,
        options.device,
        starts,
        options.only_fold,
        events,
        options.skip_corrupt,
    )
    content = summary(comparison.scores, LOOKUP)
    table = markdown(content, LOOKUP, comparison.volume_times)
    print(table)
    stem = f"table_fold{options.only_fold}" if options.only_fold else "table"
    write_whole(options.output / f"{stem}.md", table)
    times = {name: dataclasses.asdict(taken) for name, taken in comparison.volume_times.items()}
    write_json(
        {"summary": content, "training_seconds": comparison.seconds, "time_per_volume": times},
        options.output / f"{stem}.json",
    )
    if options.only_fold:
        print("This fold is done; the same command without --only-fold writes the table of all folds.")
    events.result(table=str(options.output / f"{stem}.md"), summary=content)


def _own(overrides: Mapping[str, str], name: str, names: Sequence[str]) -> dict[str, str]:
    """Return what concerns the preset ``name``: keys without a preset's name before them, and its own."""
    prefixes = {other: f"{Path(other).stem.replace('-', '_')}." for other in names}
    own = {key: text for key, text in overrides.items() if not key.startswith(tuple(prefixes.values()))}
    start = prefixes[name]
    return own | {key[len(start) :]: text for key, text in overrides.items() if key.startswith(start)}
