"""``synthct evaluate``: score a synthetic CT against its reference CT, or many of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from synthct.errors import UserError
from synthct.events import Events

if TYPE_CHECKING:
    from synthct.evaluation.images.pair import Pair
    from synthct.evaluation.images.pair_list import ListedPair
    from synthct.evaluation.images.pair_report import Evaluation


def add_options(parser: argparse.ArgumentParser) -> None:
    one = parser.add_argument_group("one pair")
    one.add_argument("--reference", type=Path, metavar="CT", help="the true CT in HU (file or DICOM folder)")
    one.add_argument("--synthetic", type=Path, metavar="SCT", help="the synthetic CT in HU")
    one.add_argument(
        "--mask",
        metavar="MASK",
        help="score only where this mask is not 0, or `auto`: in the CT's body; default: everywhere",
    )
    one.add_argument("--regions", type=Path, metavar="SEG", help="also score each region of a .seg.nrrd or label map")
    one.add_argument(
        "--line",
        type=float,
        nargs=6,
        metavar=("R1", "A1", "S1", "R2", "A2", "S2"),
        help="also the HU along this line, in R, A, S mm as a ruler in Slicer gives it",
    )
    one.add_argument(
        "--also",
        nargs="+",
        type=Path,
        default=[],
        metavar="SCT",
        help="further outputs of a stochastic method for the same input: adds how much they differ (diversity_hu)",
    )
    one.add_argument("--csv", type=Path, help="write the scores as one line of CSV, too")
    one.add_argument("--report", type=Path, metavar="HTML", help="write a page with pictures, tables and definitions")
    one.add_argument("--error-map", type=Path, metavar="IMAGE", help="write synthetic − reference in HU")
    parser.add_argument(
        "--cohort",
        type=Path,
        metavar="JSON",
        help='many pairs: a list of {"case", "reference", "synthetic"[, "mask", "regions", "group"]}',
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="JSON|DIR", help="where to write the scores; of a cohort a folder"
    )
    parser.add_argument(
        "--other-grid",
        choices=("resample", "refuse"),
        default="resample",
        help="where grids differ: onto the reference's, with a note (default), or not at all",
    )
    parser.add_argument(
        "--no-numbers",
        choices=("refuse", "leave-out"),
        default="refuse",
        help="voxels that are NaN or infinite: refuse the image (default), or leave them out and say how many",
    )
    parser.add_argument(
        "--other-patient", action="store_true", help="compare although DICOM names two patients: an id was replaced"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.epilog = (
        "Seams between tiles are not seen in a single synthetic CT: synthct.synthesis.seams measures them for a model "
        "by translating an image twice, the tiles shifted."
    )


def run(options: argparse.Namespace, events: Events) -> None:
    single = {"--reference": options.reference, "--synthetic": options.synthetic}
    only_single = {
        "--mask": options.mask,
        "--regions": options.regions,
        "--line": options.line,
        "--also": options.also,
        "--csv": options.csv,
        "--report": options.report,
        "--error-map": options.error_map,
    }
    if options.cohort is None:
        missing = [name for name, value in single.items() if value is None]
        if missing:
            raise UserError(
                f"{' and '.join(missing)} is missing.", todo="Give a pair, or --cohort with a list of pairs."
            )
        _evaluate_one(options, events)
    else:
        given = [name for name, value in {**single, **only_single}.items() if value]
        if given:
            raise UserError(
                f"{', '.join(given)} and --cohort do not go together.",
                "The list names the files of each case, and every case gets its page.",
                "Leave out one of them.",
            )
        _evaluate_cohort(options, events)


def _evaluate_one(options: argparse.Namespace, events: Events) -> None:
    from synthct.evaluation.images.pair_list import ListedPair
    from synthct.evaluation.images.pair_report import pair_page
    from synthct.evaluation.images.regions import error_map
    from synthct.evaluation.images.scores import score_diversity, write_csv
    from synthct.evaluation.plain_values import write_json
    from synthct.volumes.read import read_image
    from synthct.volumes.write import check_output, write_image
    from synthct.whole_file import require_writable, write_whole

    require_writable(options.output, options.csv, options.report, overwrite=options.overwrite)
    if options.error_map:
        check_output(options.error_map, options.overwrite)
    mask = options.mask if options.mask in (None, "auto") else Path(options.mask)
    listed = ListedPair(options.synthetic.name, options.reference, options.synthetic, mask, options.regions)
    line = (options.line[:3], options.line[3:]) if options.line else None
    found = _evaluated(listed, options, line)
    if options.also:
        outputs = [read_image(path) for path in (options.synthetic, *options.also)]
        region = None if found.pair.inside is None else _mask_image(found.pair)
        names = [str(path) for path in (options.synthetic, *options.also)]
        found.scores.values.update(score_diversity(outputs, names, region))
    content = found.to_dict()
    write_json(content, options.output)
    if options.csv:
        write_csv({options.synthetic.name: found.scores}, options.csv)
    if options.report:
        write_whole(options.report, pair_page(found, f"{listed.case} against its reference", _sources(listed)))
    if options.error_map:
        write_image(error_map(found.pair), options.error_map, options.overwrite)
    for note in found.scores.notes:
        events.warning(note)
    events.result(output=str(options.output), scores={name: content[name] for name in found.scores.values})
    print(f"Scores {found.scores.region} ({found.scores.voxels} voxels):")
    for name, value in found.scores.values.items():
        print(f"  {name:24s} {value:10.4f}   {content['definitions'][name]}")
    for row in found.regions:
        print(f"  {row['region']:24s} {row['mae_hu']:10.4f}   mae_hu of {row['voxels']} voxels")


def _evaluate_cohort(options: argparse.Namespace, events: Events) -> None:
    from synthct.evaluation.images.cohort_report import cohort_page, cohort_summary, regions_csv, scores_csv
    from synthct.evaluation.images.pair_list import read_pairs
    from synthct.evaluation.images.pair_report import pair_page
    from synthct.evaluation.plain_values import counted, write_json
    from synthct.whole_file import require_writable, write_whole

    folder = options.output
    require_writable(folder / "scores.json", overwrite=options.overwrite)
    pairs = read_pairs(options.cohort)
    found = {}
    for number, listed in enumerate(pairs):
        events.progress(number, len(pairs), "evaluation", listed.name)
        each = _evaluated(listed, options, None)
        found[listed.name] = each.to_dict()
        write_whole(folder / "cases" / f"{listed.name}.html", pair_page(each, listed.name, _sources(listed)))
        write_json(found[listed.name], folder / "cases" / f"{listed.name}.json")
    summary = cohort_summary(pairs, found)
    write_whole(folder / "scores.csv", scores_csv(pairs, found))
    regions = regions_csv(pairs, found)
    if regions:
        write_whole(folder / "regions.csv", regions)
    write_whole(folder / "report.html", cohort_page(pairs, found, summary))
    write_json(summary, folder / "scores.json")
    for name, notes in summary["notes"].items():
        for note in notes:
            events.warning(f"{name}: {note}")
    events.result(output=str(folder), report=str(folder / "report.html"), cases=len(pairs))
    for group, scores in summary["groups"].items():
        shown = scores["mae_hu"]
        name = f"{group}: " if group else ""
        spread = "" if shown["sd_sample"] is None else f" ± {shown['sd_sample']:.2f}"
        print(
            f"{name}MAE {shown['mean']:.2f}{spread} HU over {counted(shown['n'], 'case')}; see {folder / 'report.html'}"
        )


def _evaluated(
    listed: ListedPair, options: argparse.Namespace, line: tuple[list[float], list[float]] | None
) -> Evaluation:
    """Read one case and measure everything on it."""
    from synthct.evaluation.images.pair import make_pair
    from synthct.evaluation.images.pair_report import evaluate_pair
    from synthct.volumes.body import body_mask
    from synthct.volumes.read import read_image
    from synthct.volumes.segments import read_segments

    finite = options.no_numbers == "refuse"
    reference = read_image(listed.reference, finite=finite)
    region = str(listed.mask)
    mask = None if listed.mask in (None, "auto") else read_image(str(listed.mask))
    if listed.mask == "auto":
        mask, region = body_mask(reference, "ct"), f"The body in {listed.reference}"
    synthetic = read_image(listed.synthetic, finite=finite)
    names = (str(listed.reference), str(listed.synthetic), region)
    pair = make_pair(reference, synthetic, mask, names, options.other_grid, options.no_numbers)
    pair.notes.extend(_of_one_patient(listed, options.other_patient))
    segments = read_segments(listed.regions) if listed.regions else None
    return evaluate_pair(pair, segments, line)


def _sources(listed: ListedPair) -> dict[str, str]:
    names = ("reference", "synthetic", "mask", "regions")
    return {name: str(getattr(listed, name) or "none") for name in names}


def _of_one_patient(listed: ListedPair, other_patient: bool) -> list[str]:
    """Compare what DICOM says of both CTs; other frames are no error: a synthetic CT lies in its MR's."""
    from synthct.evaluation.one_patient import require_one_patient
    from synthct.volumes.dicom import header_values

    paths = (listed.reference, listed.synthetic)
    (first, frame), (second, other) = (header_values(path, "PatientID", "FrameOfReferenceUID") for path in paths)
    notes = require_one_patient((str(paths[0]), str(paths[1])), (first, second), other_patient)
    if frame and other and frame != other:
        notes.append("The CTs lie in different DICOM frames of reference; positions in mm are taken as they are.")
    return notes


def _mask_image(pair: Pair):  # type: ignore[no-untyped-def]
    from synthct.volumes.geometry import image_from_array

    return image_from_array(pair.inside, pair.grid)  # type: ignore[arg-type]
