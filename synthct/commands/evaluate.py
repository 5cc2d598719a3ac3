"""``synthct evaluate``: score a synthetic CT against its reference CT."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference", required=True, type=Path, metavar="CT", help="the true CT in HU (file or DICOM folder)"
    )
    parser.add_argument("--synthetic", required=True, type=Path, metavar="SCT", help="the synthetic CT in HU")
    parser.add_argument(
        "--mask",
        metavar="MASK",
        help="score only where this mask is not 0, or `auto`: in the CT's body; default: everywhere",
    )
    parser.add_argument(
        "--also",
        nargs="+",
        type=Path,
        default=[],
        metavar="SCT",
        help="further outputs of a stochastic method for the same input: adds how much they differ (diversity_hu)",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="where to write the scores")
    parser.add_argument("--csv", type=Path, help="write the scores as one line of CSV, too")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.epilog = (
        "Seams between tiles are not seen in a single synthetic CT: synthct.synthesis.seams measures them for a model "
        "by translating an image twice, the tiles shifted."
    )


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.evaluation.report import score_diversity, score_pair, write_csv, write_json
    from synthct.volumes.body import body_mask
    from synthct.volumes.read import read_image

    for output in (options.output, options.csv):
        if output is not None and output.exists() and not options.overwrite:
            raise UserError(
                f"{output} exists.", "Nothing is replaced unasked.", "Add --overwrite or choose another name."
            )
    reference = read_image(options.reference)
    region = str(options.mask)
    mask = read_image(options.mask) if options.mask not in (None, "auto") else None
    if options.mask == "auto":
        mask, region = body_mask(reference, "ct"), f"The body in {options.reference}"
    names = (str(options.reference), str(options.synthetic), region)
    synthetic = read_image(options.synthetic)
    scores = score_pair(reference, synthetic, mask, names)
    if options.also:
        outputs = [synthetic, *(read_image(path) for path in options.also)]
        scores.values.update(score_diversity(outputs, [str(options.synthetic), *map(str, options.also)], mask))
    content = scores.to_dict()
    write_json(content, options.output)
    if options.csv:
        write_csv({options.synthetic.name: scores}, options.csv)
    for note in scores.notes:
        events.warning(note)
    events.result(output=str(options.output), scores={name: content[name] for name in scores.values})
    print(f"Scores {scores.region} ({scores.voxels} voxels):")
    for name, value in scores.values.items():
        print(f"  {name:24s} {value:10.4f}   {content['definitions'][name]}")
