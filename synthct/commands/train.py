"""``synthct train``: train a network by preset or recipe, or resume a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events

EXTRA_OPTIONS = "any recipe key: --KEY VALUE"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", metavar="NAME", help="a published recipe (`synthct presets`) or the path of your own"
    )
    parser.add_argument("--cohort", type=Path, metavar="JSON", help="cohort.json as made by `synthct cohort`")
    parser.add_argument(
        "--run", type=Path, metavar="FOLDER", help="new folder for checkpoints, model, curves, pictures"
    )
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with the run in this folder; nothing else")
    parser.add_argument("--steps", type=int, metavar="N", help="training steps in all, in place of the recipe's")
    parser.add_argument("--seed", type=int, metavar="N", help="of the split, the first weights and every draw")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument(
        "--split", type=Path, metavar="JSON", help="the split.json of an earlier run; default: drawn anew"
    )
    parser.add_argument("--initial-model", type=Path, metavar="MODEL", help="start from this model's or run's weights")
    parser.add_argument(
        "--skip-corrupt",
        action="store_true",
        help="leave out cases that cannot be read or prepared, each with a warning, in place of refusing the cohort",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="take a few steps on made-up images, say what time and memory they need, and keep nothing",
    )
    parser.epilog = "Any key of the recipe is an option too: --batch 4, --networks.generator.width 24, --ema 0.99."


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.commands.recipe_options import overrides_from

    overrides = overrides_from(options.extra)
    if options.dry_run:
        _dry_run(options, overrides, events)
        return
    if options.resume:
        given = [name for name in ("preset", "cohort", "run", "steps", "seed", "split", "initial_model")
                 if getattr(options, name) is not None]  # fmt: skip
        if given or overrides:
            named = ", ".join("--" + name.replace("_", "-") for name in [*given, *overrides])
            raise UserError(f"--resume goes on with the run as it is; {named} cannot be changed.", todo="Leave it out.")
        from synthct.training.run import resume

        _report(resume(options.resume, device=options.device, events=events, skip_corrupt=options.skip_corrupt))
        return
    for name in ("preset", "cohort", "run"):
        if getattr(options, name) is None:
            raise UserError(f"--{name} is missing.", "Training needs --preset, --cohort and --run, or --resume.")
    from synthct.data.cohort import read_cohort
    from synthct.data.split import read_split
    from synthct.recipe import load_recipe
    from synthct.training.run import train

    recipe = load_recipe(options.preset, {**overrides, **_named_keys(options)})
    cohort = read_cohort(options.cohort, skip_missing=events if options.skip_corrupt else None)
    split = read_split(options.split, cohort) if options.split else None
    _report(
        train(
            recipe,
            cohort,
            options.run,
            device=options.device,
            events=events,
            split=split,
            initial_model=options.initial_model,
            skip_corrupt=options.skip_corrupt,
        )
    )


def _named_keys(options: argparse.Namespace) -> dict[str, str]:
    """The recipe keys that have an option of their own."""
    given = {name: getattr(options, name) for name in ("steps", "seed")}
    return {f"training.{name}": str(value) for name, value in given.items() if value is not None}


def _dry_run(options: argparse.Namespace, overrides: dict[str, str], events: Events) -> None:
    """Say what a recipe needs on this device."""
    if options.preset is None:
        raise UserError("--preset is missing.", "A dry run measures a preset or recipe.")
    import dataclasses

    from synthct.recipe import load_recipe
    from synthct.training.dry_run import measure

    found = measure(load_recipe(options.preset, {**overrides, **_named_keys(options)}), options.device, events=events)
    events.result(**dataclasses.asdict(found))
    print(found.words())


def _report(run: Path) -> None:
    print(f"The run is {run}; its best model is {run / 'model'}.")
