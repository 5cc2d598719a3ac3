"""``synthct synthesize``: turn one MR or label map into a synthetic CT with a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.commands.uncertainty_options import add_uncertainty_options, refuse_without_uncertainty
from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        action="append",
        type=Path,
        help="a run folder or a model folder; repeat for the uncertainty of several models",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", type=Path, metavar="IMAGE", help="MR or label map: an image file or DICOM folder")
    source.add_argument(
        "--cohort",
        type=Path,
        metavar="JSON",
        help="every case of a cohort.json; processes started by torchrun or srun share the cases",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="SCT",
        help="NIfTI or NRRD to write, int16 HU; with --cohort a folder, in which finished cases are kept",
    )
    parser.add_argument(
        "--mask",
        metavar="MASK",
        help="air outside: a mask file, `auto` for the MR's own body mask, or `none`; default: as the model learned",
    )
    parser.add_argument("--planes", help="axial, coronal, sagittal, or several joined by commas; default: the model's")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument("--batch", type=int, help="slices at once (more is faster and needs more memory)")
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder that holds several")
    parser.add_argument(
        "--uneven",
        choices=("refuse", "interpolate"),
        default="refuse",
        help="DICOM slices at uneven distances or missing ones (default refuse)",
    )
    add_uncertainty_options(parser)
    parser.add_argument(
        "--uncertainty-output",
        type=Path,
        metavar="SD",
        help="where the standard deviation of the predictions goes, HU; --output is their mean then",
    )
    parser.add_argument(
        "--previous-labels",
        type=Path,
        metavar="LABELS",
        help="the label map before it was edited into --input: only what changed is synthesised anew",
    )
    parser.add_argument("--previous-ct", type=Path, metavar="CT", help="what the model made of --previous-labels")
    parser.add_argument(
        "--reach",
        type=float,
        default=24.0,
        metavar="MM",
        help="how far from an edit the CT may change (default 24)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    refuse_without_uncertainty(options)
    if options.cohort is not None:
        _run_cohort(options, events)
        return
    from synthct.synthesis.files import synthesize_file

    planes = tuple(options.planes.split(",")) if options.planes else None
    synthesize_file(
        options.model,
        options.input,
        options.output,
        mask=options.mask,
        planes=planes,
        device=options.device,
        batch=options.batch,
        series=options.series,
        uneven=options.uneven,
        overwrite=options.overwrite,
        events=events,
        uncertainty=options.uncertainty.split(",") if options.uncertainty else None,
        uncertainty_output=options.uncertainty_output,
        samples=options.samples,
        seed=options.seed,
        flips=options.flips.split(","),
        previous_labels=options.previous_labels,
        previous_ct=options.previous_ct,
        reach_mm=options.reach,
    )
    if options.uncertainty:
        print(f"The standard deviation of the predictions is {options.uncertainty_output}, in HU.")
    print(f"The synthetic CT is {options.output}. Research use only: not for diagnosis or treatment.")


def _run_cohort(options: argparse.Namespace, events: Events) -> None:
    for name in ("uncertainty", "uncertainty_output", "series", "previous_labels", "previous_ct"):
        if getattr(options, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} is for a single --input.",
                todo="Leave it out, or translate the cases singly.",
            )
    if len(options.model) > 1:
        raise UserError("Several models cannot translate a cohort at once.", todo="Give one --model.")
    from synthct.data.cohort import read_cohort
    from synthct.synthesis.cohort_synthesis import synthesize_cohort
    from synthct.synthesis.rank import own_rank

    rank = own_rank()
    manifest = synthesize_cohort(
        options.model[0],
        read_cohort(options.cohort),
        options.output,
        mask=options.mask,
        planes=tuple(options.planes.split(",")) if options.planes else None,
        device=options.device,
        batch=options.batch,
        uneven=options.uneven,
        overwrite=options.overwrite,
        events=events,
        rank=rank,
    )
    share = "" if rank.world == 1 else f" Process {rank.number} of {rank.world} has done its share."
    listed = f"{manifest} lists them." if manifest.exists() else "Other processes are still at work."
    print(f"The synthetic CTs are in {options.output}.{share} {listed}")
    print("Research use only: not for diagnosis or treatment.")
