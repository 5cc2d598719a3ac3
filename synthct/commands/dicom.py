"""``synthct dicom``: write a synthetic CT as a DICOM CT series."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", required=True, type=Path, metavar="SCT", help="the synthetic CT in HU (file)")
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="new or empty folder to write")
    parser.add_argument(
        "--like",
        type=Path,
        metavar="MR",
        help="the MR's DICOM folder: its patient, study and frame of reference are taken over; default: placeholders",
    )
    parser.add_argument("--series", metavar="UID", help="which series of the MR's folder, where it holds several")
    parser.add_argument("--axial", action="store_true", help="resample to upright axial slices with square pixels")
    parser.add_argument(
        "--spacing", nargs="+", type=float, metavar="MM", help="with --axial: one voxel size, or x, y and z"
    )
    parser.add_argument("--model", help="the model that made it: a path, an installed model, or simply its name")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.errors import UserError
    from synthct.synthesis.card import card_of
    from synthct.synthesis.models_folder import installed_folder
    from synthct.volumes.axial import resample_axial
    from synthct.volumes.dicom_export import check_folder, write_ct_series
    from synthct.volumes.read import read_image

    if options.spacing and not options.axial:
        raise UserError("--spacing works with --axial only.", "Without it every voxel stays where it is.")
    if options.series and options.like is None:
        raise UserError("--series chooses among the series of --like, which is missing.")
    check_folder(options.output, options.overwrite)
    name, note = options.model or "", ""
    if name and (Path(name).exists() or installed_folder(name) is not None):
        card = card_of(name)
        name, note = card["name"], f"Weights sha256 {card['weights_sha256']}."
    image = read_image(options.input)
    if options.axial:
        image = resample_axial(image, options.spacing)
        note += " Resampled to upright axial slices."
    folder = write_ct_series(
        image,
        options.output,
        like=options.like,
        series=options.series,
        model_name=name,
        note=note,
        overwrite=options.overwrite,
        events=events,
    )
    events.result(output=str(folder), slices=image.GetSize()[2])
    print(f"{image.GetSize()[2]} slices are in {folder}. Research use only: not for diagnosis or treatment.")
