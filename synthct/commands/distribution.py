"""``synthct distribution``: synthetic images against real ones as sets: FID, KID, MMD, precision and recall, IS."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthct.errors import UserError
from synthct.events import Events
from synthct.whole_file import require_writable, write_whole

if TYPE_CHECKING:
    from synthct.evaluation.distribution.scores import Rows
    from synthct.synthesis.feature_models import FeatureModel
    from synthct.synthesis.feature_set import FeatureSet


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--real", required=True, type=Path, metavar="DIR", help="real images (images/, masks/) or their cohort.json"
    )
    parser.add_argument(
        "--synthetic", required=True, type=Path, metavar="DIR", help="generated ones, as `synthct generate` leaves them"
    )
    parser.add_argument(
        "--features",
        required=True,
        metavar="MODEL",
        help="a model or run of the preset synthct-features-resnet; `statistics`: simple statistics, no network; or "
        "with --network a safetensors file",
    )
    parser.add_argument(
        "--network", metavar="resnetN", help="what a safetensors file holds the weights of: resnet10 to resnet200"
    )
    parser.add_argument(
        "--by",
        choices=("images", "masks", "pairs"),
        default="images",
        help="what is compared (default images); a pair: the features of its image, then of its mask",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar="N",
        help="slices, rows and columns that images are resized to; default 64 64 64; a trained model says its own",
    )
    parser.add_argument(
        "--mask-values", type=int, choices=(1, 2), help="highest value in masks; default: as the model learned, else 1"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON", help="where to write the numbers")
    parser.add_argument("--report", type=Path, metavar="HTML", help="write a page with words, definitions and a t-SNE")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="write the t-SNE alone")
    parser.add_argument("--places", type=Path, metavar="CSV", help="write the places of its points, and whose they are")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw (default 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.epilog = (
        "What was seen of each image is kept in a folder beside the output (NAME-features) and not looked at again. "
        "A value depends on the features and on how many images there are; published ones must not be compared with."
    )


def run(options: argparse.Namespace, events: Events) -> None:
    _check(options)

    from synthct import __version__
    from synthct.evaluation.distribution.report import distribution_page
    from synthct.evaluation.distribution.scores import DEFINITIONS, NOT_COMPARED, Rows, compare_sets, in_words
    from synthct.evaluation.plain_values import write_json
    from synthct.synthesis.device import choose_device
    from synthct.synthesis.feature_models import open_features
    from synthct.synthesis.feature_set import features_of, field_of_view_note, open_set, repeated, require_apart
    from synthct.volumes.read import read_image

    device = choose_device(options.device)
    cohorts = [open_set(path, events) for path in (options.real, options.synthetic)]
    require_apart(cohorts[0], cohorts[1], (options.real, options.synthetic))
    first = cohorts[0].cases[0]
    flat = 1 in read_image(first.ct, first.ct_series, single_slice=True).GetSize()
    size = None if options.size is None else tuple(options.size)
    model = open_features(options.features, options.network, size, flat, options.mask_values)
    kept = options.output.with_name(f"{options.output.stem}-features")
    real, synthetic = (
        features_of(cohort, model, options.by, device, kept, events, task)
        for cohort, task in zip(cohorts, ("real images", "synthetic images"), strict=True)
    )
    rows = [
        Rows(model.scaled(each.features, real.features), each.patients, each.probabilities)
        for each in (real, synthetic)
    ]
    found = compare_sets(rows[0], rows[1], model.classes, options.seed)
    copies = repeated(real, synthetic)
    what = options.by if len(model.data.size) == 3 else f"slices of {options.by}"
    notes = [*found["notes"], *_notes(options, model, len(copies), synthetic)]
    view = field_of_view_note(real, synthetic)
    content = {
        "by": options.by,
        "real": _described(options.real, real),
        "synthetic": {**_described(options.synthetic, synthetic), "equal_to_a_real_one": list(copies)},
        "features": {**model.to_dict(), "features": real.features.shape[1]},
        "scores": found["scores"],
        "at_equal_numbers": found["at_equal_numbers"],
        "words": in_words(found, what),
        "notes": [*notes, *([] if view is None else [view]), NOT_COMPARED],
        "definitions": DEFINITIONS,
        "seed": options.seed,
        "version": __version__,
    }
    points: list[dict[str, Any]] = []
    if options.report or options.picture or options.places:
        points, content["embedding"] = _points(rows, (real, synthetic), model, options.seed)
    write_json(content, options.output)
    if options.report or options.picture:
        picture = _picture(points, f"Features of {options.by}: {model.name}")
        if options.picture:
            write_whole(options.picture, picture)
        if options.report:
            write_whole(options.report, distribution_page(content, picture, content["embedding"]))
    if options.places:
        write_whole(options.places, _as_csv(points))
    for note in content["notes"][:-1]:
        events.warning(note)
    shown = {name: value for name, value in found["scores"].items() if isinstance(value, float)}
    events.result(output=str(options.output), report=str(options.report or ""), scores=shown, words=content["words"])
    for name, value in shown.items():
        print(f"  {name:24s} {value:12.5g}")
    for line in content["words"]:
        print(line)
    print(NOT_COMPARED)


def _check(options: argparse.Namespace) -> None:
    files = (options.output, options.report, options.picture, options.places)
    require_writable(*files, overwrite=options.overwrite)
    if options.size is not None and (len(options.size) not in (2, 3) or not 32 <= min(options.size) <= 1024):
        raise UserError(
            f"--size {' '.join(map(str, options.size))} cannot be.",
            todo="Give slices, rows and columns, or rows and columns for single slices, of 32 to 1024.",
        )
    for path in (options.real, options.synthetic):
        if not path.exists():
            raise UserError(f"{path} does not exist.", todo="Give a folder of images, or a cohort.json.")


def _notes(options: argparse.Namespace, model: FeatureModel, copies: int, synthetic: FeatureSet) -> list[str]:
    notes = []
    different = len(set(synthetic.digests))
    if different < len(synthetic.digests):
        notes.append(
            f"Only {different} of {len(synthetic.digests)} synthetic samples differ from each other at all: the same "
            "image was made again and again."
        )
    if copies:
        notes.append(
            f"{copies} of {len(synthetic.images)} synthetic {options.by} equal a real one voxel by voxel, as the "
            "features see them: remembered, not made. Every number here praises that; see "
            "`synthct generate --check-against`."
        )
    if model.network is not None:
        notes.append(
            "A network sees what it needed for its own task, and may be blind to the rest (noise, say): that no "
            "difference is seen does not mean that there is none. Compare with --features statistics, too."
        )
    if options.by != "images" and model.network is not None:
        notes.append(
            "The network learned from images and never saw a mask; masks go through it scaled from −1 to 1. Its "
            "features of them are as good as those of any picture that it was not made for."
        )
    return notes


def _described(folder: Path, found: FeatureSet) -> dict[str, Any]:
    import numpy as np

    return {
        "folder": str(folder),
        "images": len(found.images),
        "samples": len(found.features),
        "patients": len(set(found.patients)),
        "median_extent_mm": np.median(found.extents, axis=0).round(2).tolist(),
        "median_spacing_mm": np.median(found.spacings, axis=0).round(4).tolist(),
    }


def _points(
    rows: Sequence[Rows], sets: tuple[FeatureSet, FeatureSet], model: FeatureModel, seed: int
) -> tuple[list[dict[str, Any]], str]:
    """Return every sample with its place on a plane, and how the places were found."""
    import numpy as np

    from synthct.evaluation.distribution.embedding import chosen_points, embed

    samples = [
        {
            "set": which,
            "source": source,
            "case": case,
            "image": str(images[case].ct.absolute()),
            "series": images[case].ct_series or "",
        }
        for which, found in zip(("real", "synthetic"), sets, strict=True)
        for images in [{case.id: case for case in found.images}]
        for case, source in zip(found.cases, _sources(found, model, which), strict=True)
    ]
    features = np.concatenate([each.features for each in rows])
    chosen = chosen_points(len(features))
    places, how = embed(features[chosen], seed)
    shown = f"{len(chosen)} of {len(features)} samples. " if len(chosen) < len(features) else ""
    points = [{**samples[number], "x": float(x), "y": float(y)} for number, (x, y) in zip(chosen, places, strict=True)]
    return points, f"{shown}{how}"


def _picture(points: list[dict[str, Any]], title: str) -> bytes:
    import numpy as np

    from synthct.evaluation.distribution.embedding import draw_embedding

    places = np.array([[point["x"], point["y"]] for point in points])
    return draw_embedding(places, [point["set"] for point in points], [point["source"] for point in points], title)


def _as_csv(points: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(points[0]))
    writer.writeheader()
    writer.writerows(points)
    return text.getvalue()


def _sources(found: FeatureSet, model: FeatureModel, otherwise: str) -> list[str]:
    """Centre or class of each sample, or the name of its set."""
    names = {case.id: getattr(case, model.class_of) or case.centre or case.diagnosis for case in found.images}
    return [names[case] or otherwise for case in found.cases]
