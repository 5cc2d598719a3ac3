"""``synthct dose``: two dose volumes compared: gamma, dose-volume histograms of structures, differences."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthct.errors import UserError
from synthct.events import Events
from synthct.whole_file import require_writable, write_whole

if TYPE_CHECKING:
    import SimpleITK as sitk

    from synthct.evaluation.dose.scores import StructureDoses
    from synthct.volumes.dose import Dose


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference", required=True, type=Path, metavar="DOSE", help="dose on the true CT: RTDOSE or an image"
    )
    parser.add_argument("--evaluated", required=True, type=Path, metavar="DOSE", help="dose on the synthetic CT")
    parser.add_argument("--unit", choices=("gy", "cgy"), help="of doses that are images; RTDOSE says its own")
    parser.add_argument(
        "--structures", type=Path, metavar="FILE", help="RTSTRUCT or DICOM SEG, .seg.nrrd or a label map; else none"
    )
    parser.add_argument(
        "--ct", type=Path, metavar="CT", help="draw an RTSTRUCT's contours on this CT's grid; default: the dose's"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="structures to score; default: all")
    parser.add_argument(
        "--criterion",
        action="append",
        type=float,
        nargs=2,
        metavar=("PERCENT", "MM"),
        help="of gamma; repeat for several; default: 1/1, 2/2 and 3/3",
    )
    parser.add_argument("--local", action="store_true", help="gamma's dose difference in percent of each voxel's dose")
    parser.add_argument(
        "--threshold", type=float, default=10.0, metavar="PERCENT", help="judge voxels from this share on (default 10)"
    )
    parser.add_argument(
        "--normalisation", type=float, metavar="GY", help="100 percent, such as the prescription; default: the maximum"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="where to write the numbers")
    parser.add_argument("--dvh", type=Path, metavar="CSV", help="write the dose-volume histograms")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw them")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write a page with tables, pictures, definitions")
    parser.add_argument("--difference", type=Path, metavar="IMAGE", help="write evaluated − reference in Gy")
    parser.add_argument("--gamma-map", type=Path, metavar="IMAGE", help="write the gamma of the first criterion")
    parser.add_argument(
        "--other-patient", action="store_true", help="compare although the files name different patients"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    import SimpleITK as sitk

    from synthct import __version__
    from synthct.evaluation.dose.gamma import CRITERIA, gamma
    from synthct.evaluation.dose.plot import dose_slices_picture, dose_volumes_csv, dose_volumes_picture
    from synthct.evaluation.dose.report import dose_page
    from synthct.evaluation.dose.scores import DEFINITIONS, difference_scores
    from synthct.evaluation.plain_values import write_json
    from synthct.volumes.dose import read_dose
    from synthct.volumes.geometry import image_from_array
    from synthct.volumes.write import write_image

    _check(options)
    reference = read_dose(options.reference, options.unit)
    evaluated = read_dose(options.evaluated, options.unit)
    notes = _require_alike(reference, evaluated, options.other_patient)
    highest = options.normalisation or float(sitk.GetArrayViewFromImage(reference.image).max())
    structures = dict(_structures(options, reference, evaluated, notes, events)) if options.structures else {}
    if options.structures and not structures:
        raise UserError(f"No structure of {options.structures} can be used.", " ".join(notes), "Give others.")
    scores, difference = difference_scores(reference.image, evaluated.image, highest, options.threshold)
    criteria = options.criterion or CRITERIA
    found = []
    for number, (percent, distance) in enumerate(criteria):
        events.progress(number, len(criteria), "gamma", f"{percent:g} %, {distance:g} mm")
        found.append(
            gamma(reference.image, evaluated.image, percent, distance, options.threshold, highest, options.local)
        )
    doses, curves, table = _dose_volumes(structures, highest)
    if scores["covered"] < 1:
        notes.append(
            f"The evaluated dose covers {scores['covered']:.1%} of what is to be judged: differences and gamma are of "
            "that alone."
        )
    content = {
        "files": {name: str(getattr(options, name) or "none") for name in ("reference", "evaluated", "structures")},
        "normalisation_gy": highest,
        "threshold_percent": options.threshold,
        "gamma": {
            each.name: {"pass_percent": each.pass_percent, "mean": each.mean, "voxels": each.voxels} for each in found
        },
        "gamma_kind": "local" if options.local else "global",
        **scores,
        "structures": table,
        "notes": notes,
        "definitions": DEFINITIONS,
        "version": __version__,
    }
    write_json(content, options.output)
    if options.difference:
        write_image(difference, options.difference, options.overwrite)
    if options.gamma_map:
        write_image(image_from_array(found[0].map, reference.image), options.gamma_map, options.overwrite)
    volumes = dose_volumes_picture(doses, curves) if curves else None
    if options.dvh:
        write_whole(options.dvh, dose_volumes_csv(doses, curves))
    if options.picture and volumes is not None:
        write_whole(options.picture, volumes)
    if options.report:
        slices = dose_slices_picture(reference.image, difference, found[0])
        write_whole(options.report, dose_page(content, slices, volumes))
    for note in notes:
        events.warning(note)
    events.result(output=str(options.output), gamma={each.name: each.pass_percent for each in found})
    for each in found:
        print(f"gamma {each.name}: {each.pass_percent:.2f} % of {each.voxels} voxels pass, mean {each.mean:.3f}")
    for name, row in table.items():
        changes = ", ".join(f"{key[:-3]} {row[key]['difference']:+.2f}" for key in ("d98_gy", "d2_gy", "mean_gy"))
        print(f"{name} ({row['volume_ml']:.1f} ml), evaluated − reference in Gy: {changes}")


def _check(options: argparse.Namespace) -> None:
    maps = (options.difference, options.gamma_map)
    require_writable(options.output, options.dvh, options.picture, options.report, *maps, overwrite=options.overwrite)
    if (options.dvh or options.picture) and not options.structures:
        raise UserError("--dvh and --picture need --structures.", todo="Say whose dose-volume histograms.")
    for name in ("normalisation", "threshold"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise UserError(f"--{name} cannot be {value:g}.", todo="Give a number above 0.")
    for percent, distance in options.criterion or []:
        if not (percent > 0 and distance > 0):
            raise UserError(f"--criterion {percent:g} {distance:g} is none.", todo="Give percent and mm above 0.")


def _require_alike(reference: Dose, evaluated: Dose, other_patient: bool) -> list[str]:
    from synthct.evaluation.one_patient import require_one_patient
    from synthct.volumes.geometry import same_grid

    names = (reference.name, evaluated.name)
    if reference.frame_uid and evaluated.frame_uid and reference.frame_uid != evaluated.frame_uid:
        raise UserError(
            f"{names[0]} and {names[1]} belong to different frames of reference.",
            f"{reference.frame_uid} is not {evaluated.frame_uid}.",
            "Give doses of one patient in one frame.",
        )
    notes = require_one_patient(names, (reference.patient_id, evaluated.patient_id), other_patient)
    if reference.summation != evaluated.summation and reference.summation and evaluated.summation:
        raise UserError(
            f"{reference.name} is the dose of a {reference.summation}, {evaluated.name} of a {evaluated.summation}.",
            todo="Give doses summed alike.",
        )
    if not same_grid(reference.image, evaluated.image):
        notes.append("The doses are on different grids; the evaluated one is interpolated (linear).")
    return notes


def _structures(
    options: argparse.Namespace, reference: Dose, evaluated: Dose, notes: list[str], events: Events
) -> Iterator[tuple[str, StructureDoses]]:
    """Yield what each structure receives; one that cannot be used is left out with a note, refused if asked for."""
    from synthct.evaluation.dose.scores import structure_doses

    for name, drawn in _masks(options, reference, notes, events):
        try:
            found = structure_doses(reference.image, evaluated.image, drawn(), name)
        except UserError as error:
            if options.only:
                raise
            notes.append(f"The structure {name} is left out. {error.what} {error.why}".rstrip())
            continue
        if found.covered < 1:
            notes.append(f"{name}: {found.covered:.1%} of it lies within both dose grids; the rest is left out.")
        yield name, found


def _masks(
    options: argparse.Namespace, reference: Dose, notes: list[str], events: Events
) -> Iterator[tuple[str, Callable[[], sitk.Image]]]:
    """Yield each structure's name and what draws it, one by one: structures overlap."""
    from synthct.evaluation.one_patient import require_one_patient
    from synthct.labels.dicom_masks import check_frame, masks_of, open_source
    from synthct.volumes.dicom import header_values
    from synthct.volumes.geometry import grid_of
    from synthct.volumes.read import read_image
    from synthct.volumes.segments import read_segments

    path = options.structures
    if path.suffix.lower() == ".dcm" or not path.suffix:
        source = open_source(path)
        (patient,) = header_values(path, "PatientID")
        notes.extend(
            require_one_patient((reference.name, str(path)), (reference.patient_id, patient), options.other_patient)
        )
        check_frame(source, reference.frame_uid, events)
        grid = grid_of(read_image(options.ct)) if options.ct else grid_of(reference.image)
        for name in _chosen(options, source.regions):
            yield name, lambda name=name: masks_of(source, grid, [name], events)[0]  # type: ignore[misc]
    else:
        segments = read_segments(path)
        for name in _chosen(options, segments.names):
            yield name, lambda name=name: segments[name]  # type: ignore[misc]


def _chosen(options: argparse.Namespace, names: tuple[str, ...]) -> list[str]:
    missing = [name for name in options.only if name not in names]
    if missing:
        raise UserError(
            f"{options.structures} has no structure {', '.join(missing)}.", f"It has {', '.join(names)}.", "Choose."
        )
    return options.only or list(names)


def _dose_volumes(
    structures: Mapping[str, StructureDoses], highest: float
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    import numpy as np

    from synthct.evaluation.dose.scores import BINS, compared, dose_metrics, dose_volume

    most = max(
        [float(max(each.reference.max(), each.evaluated.max())) for each in structures.values()], default=highest
    )
    doses = np.linspace(0, most, BINS + 1)
    curves = {
        name: (dose_volume(each.reference, doses), dose_volume(each.evaluated, doses))
        for name, each in structures.items()
    }
    table = {
        name: {
            **compared(dose_metrics(each.reference), dose_metrics(each.evaluated), highest),
            "volume_ml": each.volume_ml,
        }
        for name, each in structures.items()
    }
    return doses, curves, table
