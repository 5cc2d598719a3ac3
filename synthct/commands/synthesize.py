"""``synthct synthesize``: turn one MR into a synthetic CT with a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=Path, help="a run folder or a model folder")
    parser.add_argument(
        "--input", required=True, type=Path, metavar="MR", help="NIfTI, NRRD, MetaImage or a DICOM folder"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="SCT", help="NIfTI or NRRD to write, int16 HU")
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
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def run(options: argparse.Namespace, events: Events) -> None:
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
    )
    print(f"The synthetic CT is {options.output}. Research use only: not for diagnosis or treatment.")
