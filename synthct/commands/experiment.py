"""``synthct experiment``: does a segmentation network get better with synthetic data? The whole table at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events

EXTRA_OPTIONS = "any recipe key: --KEY VALUE"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        required=True,
        metavar="NAME",
        help="a YAML file, or one that comes along (Docs/segmentation-experiment.md)",
    )
    parser.add_argument(
        "--run",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="networks, masks, scores, table and report; goes on there",
    )
    parser.add_argument(
        "--only-arm", action="append", default=[], metavar="NAME", help="do this arm alone; repeat for several"
    )
    parser.add_argument("--only-fold", type=int, metavar="K", help="train fold K alone: one job of several")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument(
        "--dry-run", action="store_true", help="check cases and leaks, say what would be trained, and train nothing"
    )
    parser.epilog = (
        "Recipe keys are options too: --training.batch 4 --sets.real.path cohort.json. The same command started on "
        "several machines that share FOLDER, or by torchrun, shares the work; one that was interrupted goes on."
    )


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.commands.recipe_options import overrides_from
    from synthct.studies.segmentation.experiment import Experiment
    from synthct.studies.segmentation.recipe import load_experiment
    from synthct.studies.segmentation.report import write_experiment_report

    recipe, root = load_experiment(options.recipe, overrides_from(options.extra))
    experiment = Experiment(recipe, root, options.run, options.device, events)
    for line in experiment.checked:
        print(line)
    if options.dry_run:
        for arm, words in experiment.counts().items():
            print(f"{arm}: {words}; {len(experiment.plan[arm])} networks")
        events.result(arms=len(experiment.plan), test=len(experiment.cases.test))
        return
    if not experiment.run(options.only_arm, options.only_fold):
        lacking = experiment.open_arms()
        print(f"{len(lacking)} arms have no scores yet: {', '.join(lacking)}. The same command, once nobody else is at "
              "work on them, goes on; whoever ends last writes the table.")  # fmt: skip
        events.result(table=None, open=lacking)
        return
    table = write_experiment_report(experiment)
    print(table.read_text(encoding="utf-8"))
    events.result(
        table=str(table), report=str(table.with_name("report.html")), scores=str(table.with_name("scores.csv"))
    )
