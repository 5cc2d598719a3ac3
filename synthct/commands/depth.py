"""``synthct depth``: water-equivalent depth along beam directions, and how far a synthetic CT's differs."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events
from synthct.whole_file import require_writable, write_whole

_ENDINGS = (".png", ".csv", ".json")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ct", required=True, type=Path, help="the CT in HU (file or DICOM folder)")
    parser.add_argument("--synthetic", type=Path, metavar="SCT", help="the synthetic CT in HU to compare with it")
    parser.add_argument(
        "--table", type=Path, metavar="CSV", help="HU to density (see Docs/clinic.md); default: the shipped generic one"
    )
    parser.add_argument(
        "--quantity",
        choices=("stopping_power_ratio", "relative_electron_density"),
        default="stopping_power_ratio",
        help="what is integrated: protons need the stopping power (default), photons the electron density",
    )
    parser.add_argument(
        "--angles",
        default="0,90,180,270",
        help="IEC gantry angles in degrees of a patient head first and supine: 0 from the front, 90 from the left",
    )
    parser.add_argument(
        "--point", metavar="X,Y,Z", help="LPS mm that the central ray runs through; default: the centre"
    )
    parser.add_argument("--mask", type=Path, help="the body; default: found in the CTs, the couch left out")
    parser.add_argument("--ray-spacing", type=float, metavar="MM", help="distance of the rays; default: the voxels'")
    parser.add_argument(
        "--output", required=True, type=Path, nargs="+", metavar="FILE", help="one or more of depth.png, .csv, .json"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    outputs = _outputs(options.output, options.overwrite)
    angles = _numbers(options.angles, "--angles")
    point = _numbers(options.point, "--point") if options.point else None
    if point is not None and len(point) != 3:
        raise UserError(f"--point {options.point} is no position.", "Three numbers of mm, x,y,z in LPS, are needed.")
    if options.ray_spacing is not None and not options.ray_spacing > 0:
        raise UserError(f"--ray-spacing {options.ray_spacing} cannot be used.", "It must be above 0 mm.")

    from synthct.evaluation.dose.depth_report import compare_depths
    from synthct.evaluation.plain_values import write_json
    from synthct.volumes.density import SHIPPED, read_density_table
    from synthct.volumes.geometry import array_of
    from synthct.volumes.hu import TISSUES
    from synthct.volumes.read import read_image

    table = read_density_table(options.table or SHIPPED)
    names = (str(options.ct), str(options.synthetic))
    images = [read_image(path) for path in (options.ct, options.synthetic) if path]
    for image, name in zip(images, names, strict=False):
        lowest = float(array_of(image).min())
        if lowest > TISSUES["air"][1]:
            events.warning(
                f"{name} does not look like a CT in HU.",
                f"Its lowest value is {lowest:g}; there is no air in it.",
                "The depths mean nothing unless its values are HU.",
            )
    report = compare_depths(
        images[0],
        images[1] if options.synthetic else None,
        table,
        options.quantity,
        angles,
        (point[0], point[1], point[2]) if point else None,
        read_image(options.mask) if options.mask else None,
        options.ray_spacing,
        names,
        events,
    )
    for output in outputs:
        ending = output.suffix.lower()
        if ending == ".json":
            write_json(report.to_dict(), output)
            continue
        try:
            write_whole(output, report.picture() if ending == ".png" else report.csv())
        except OSError as error:
            raise UserError(f"{output} cannot be written.", f"{error.strerror}.", "Choose another place.") from error
    for note in report.notes:
        events.warning(note)
    events.result(outputs=[str(output) for output in outputs], angles=report.to_dict()["angles"])
    print(report.text())


def _outputs(paths: list[Path], overwrite: bool) -> list[Path]:
    for path in paths:
        if path.suffix.lower() not in _ENDINGS:
            raise UserError(f"{path} has an unknown ending.", f"Known: {', '.join(_ENDINGS)}.")
    require_writable(*paths, overwrite=overwrite)
    return paths


def _numbers(text: str, option: str) -> list[float]:
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(abs(value) < 1e6 for value in values):
        raise UserError(
            f"{option} {text} cannot be used.", "Numbers joined by commas are needed.", "Like 0,90,180,270."
        )
    return values
