"""``synthct calibrate``: what a model's standard deviations are worth on cases whose CT is known."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.commands.uncertainty_options import add_uncertainty_options, uncertainty_from
from synthct.errors import UserError
from synthct.events import Events

_WORTHLESS = 0.5
"""Expected normalised calibration error, after scaling, above which it is said that there is no use in it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, action="append", type=Path, help="a run folder or a model folder; repeat for `models`"
    )
    add_uncertainty_options(parser, required=True)
    parser.add_argument("--planes", help="axial, coronal, sagittal, or several joined by commas; as for synthesize")
    parser.add_argument(
        "--cohort",
        type=Path,
        metavar="JSON",
        help="prepared cases (`synthct preprocess`) that no model has seen; default: those of the first model's run",
    )
    parser.add_argument(
        "--split", type=Path, metavar="JSON", help="with --cohort: a split of it; default: all its cases"
    )
    parser.add_argument(
        "--part", choices=("validation", "test"), default="validation", help="of the split (default validation)"
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="where calibration.json and calibration.png go"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument("--batch", type=int, help="slices at once; dropout draws anew for each")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier calibration")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.data.cohort import read_cohort
    from synthct.data.split import read_split
    from synthct.evaluation.plain_values import write_json
    from synthct.evaluation.uncertainty.calibration import DEFINITIONS, calibration
    from synthct.evaluation.uncertainty.calibration_plot import write_calibration_plot
    from synthct.synthesis.model_file import load_model
    from synthct.synthesis.uncertainty.calibration_file import store_calibration, stored_calibration
    from synthct.synthesis.uncertainty.known_errors import known_errors
    from synthct.training.held_out import held_out_of_cohort, held_out_of_run
    from synthct.whole_file import require_writable

    uncertainty = uncertainty_from(options)
    planes = options.planes.split(",") if options.planes else None
    report, plot = options.output / "calibration.json", options.output / "calibration.png"
    models = [load_model(path) for path in options.model]
    require_writable(report, plot, overwrite=options.overwrite)
    if stored_calibration(models, uncertainty, planes) is not None and not options.overwrite:
        names = ", ".join(map(str, options.model))
        raise UserError(
            f"A calibration of this setting beside {names} exists.", "Nothing is replaced unasked.", "Add --overwrite."
        )
    if options.cohort is None:
        if options.split is not None:
            raise UserError("--split works with --cohort only.", "A run has a split of its own.")
        held_out = held_out_of_run(options.model[0], options.part, events)
    else:
        cohort = read_cohort(options.cohort)
        split = None if options.split is None else read_split(options.split, cohort)
        held_out = held_out_of_cohort(cohort, split, options.part, events)
    errors, deviations = known_errors(
        models,
        uncertainty,
        held_out.cases,
        planes,
        held_out.corrected,
        options.device,
        options.batch,
        events,
    )
    before = calibration(errors, deviations)
    content = before.to_dict()
    if not content["factor"]:
        raise UserError(
            "The standard deviation cannot be calibrated.",
            "All predictions are the same." if not deviations.any() else "There are no errors.",
            "Choose other modes or other cases.",
        )
    after = calibration(errors, deviations, before.factor)
    if after.ence > _WORTHLESS:
        events.warning(
            "The standard deviation hardly tells where the errors are large.",
            f"Even when scaled, it misses them by {after.ence:.0%} on average over the bins.",
            "Choose other modes, or train longer.",
        )
    cases = [volume.id for volume, _ in held_out.cases]
    kind = "volume" if options.cohort and not options.split else f"{options.part} volume"
    content = {
        "models": [model.card["name"] for model in models],
        "cases": cases,
        "measured_on": f"{len(cases)} {kind}{'s' * (len(cases) > 1)}",
        **content,
        "scaled": after.to_dict(),
        "definitions": DEFINITIONS,
    }
    write_json(content, report)
    names = ", ".join(sorted({model.card["name"] for model in models}))
    title = f"{names}: {', '.join(uncertainty.modes)}, {content['measured_on']}"
    write_calibration_plot(plot, before, after, title)
    kept = store_calibration(models, uncertainty, planes, {k: content[k] for k in ("factor", "measured_on", "cases")})
    events.result(output=str(report), plot=str(plot), stored=str(kept), factor=before.factor, ence=before.ence)
    print(f"Multiplied by {before.factor:.2f} the SD is as large as the errors (measured on {content['measured_on']}).")
    for what, found in (("As predicted", before), ("Multiplied", after)):
        covered = ", ".join(f"{k:g} SD {found.coverage[k]:.0%}" for k in (1.0, 2.0, 3.0))
        print(f"  {what}: {covered} of the errors covered; normal errors: 68, 95, 100%. ENCE {found.ence:.2f}.")
    print(f"`synthct synthesize --uncertainty` does so from now on: {kept}. The curve is {plot}.")
