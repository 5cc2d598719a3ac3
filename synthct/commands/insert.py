"""``synthct insert``: plant nodules of a library into a label map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthct.errors import UserError
from synthct.events import Events

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK as sitk

    from synthct.labels.classes import ClassTable
    from synthct.labels.template_shapes import Pose


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", required=True, type=Path, help="the label map, as `synthct labels` writes it")
    parser.add_argument("--library", required=True, type=Path, metavar="DIR", help="the templates")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--at",
        action="append",
        metavar="R,A,S",
        help="plant one here: mm to the right, anterior, superior; may be repeated; write --at=-1,2,3 where it begins "
        "with a minus",
    )
    place.add_argument("--random", type=int, metavar="N", help="plant N at random places")
    parser.add_argument(
        "--template", action="append", metavar="NAME", help="draw from this one only; may be repeated; default: all"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="the same seed plants the same; on a label map that it planted into before it goes on where it was",
    )
    pose = parser.add_argument_group("changed shapes")
    pose.add_argument("--rotate", metavar="DEG", help="one number: draw angles up to it; R,A,S: exactly these angles")
    pose.add_argument("--scale", metavar="FACTOR", help="of every length; LOW,HIGH: draw it")
    pose.add_argument("--elastic", type=float, default=0.0, metavar="MM", help="bend by about so much, volume kept")
    rule = parser.add_argument_group("rule")
    rule.add_argument("--on", action="append", metavar="CLASS", help="classes to plant on; default: other tissue")
    rule.add_argument("--share", type=float, default=0.8, help="so much of a nodule must lie on them; default: 0.8")
    rule.add_argument(
        "--surface", default="10", metavar="MM", help="least distance to the body's surface; none: as published"
    )
    rule.add_argument(
        "--regions",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="smaller regions of the classes, by this share of the largest, do not count (gas in the bowel); 0: all do",
    )
    rule.add_argument("--body", type=Path, metavar="MASK", help="the body; default: from the label map")
    rule.add_argument(
        "--classes", metavar="TABLE", help="six, seven, eight or a YAML file; default: as the label map's log says"
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="LABELS", help=".json and .ctbl are put beside it"
    )
    parser.add_argument("--mask", type=Path, metavar="NODULES", help="write a mask of all nodules, 1, 2, ...")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    rotate = _numbers(options.rotate, "--rotate", (1, 3))
    scale = _numbers(options.scale, "--scale", (1, 2))
    points = [_numbers(words, "--at", (3,)) for words in options.at or []]
    surface = None if options.surface == "none" else _numbers(options.surface, "--surface", (1,))[0]
    if options.seed < 0:
        raise UserError(f"The seed cannot be {options.seed}.", todo="Give 0 or more.")

    import numpy as np

    from synthct.labels.ground import Ground, Rule
    from synthct.labels.insertion import nodule_mask, plant_at, plant_random
    from synthct.labels.label_files import check_label_output, read_log, write_label_map
    from synthct.labels.library import load_all, load_template
    from synthct.volumes.read import read_image
    from synthct.volumes.write import check_output, write_image
    from synthct.whole_file import require_apart

    require_apart((options.output, options.mask), (options.labels, options.body))
    check_label_output(options.output, options.overwrite)
    if options.mask:
        check_output(options.mask, options.overwrite)
    rule = Rule(tuple(options.on or ()), options.share, surface, options.regions)
    templates = load_all(options.library)
    if options.template:
        templates = [load_template(options.library, name) for name in dict.fromkeys(options.template)]
    labels, table = read_image(options.labels), _table(options)
    body = read_image(options.body) if options.body else None
    _require_tissues(labels, str(options.labels))
    events.progress(0, 1, "looking where nodules may lie")
    ground = Ground(labels, table, rule, body, str(options.labels))
    events.progress(1, 1, "looking where nodules may lie")

    def draw(random: np.random.Generator) -> Pose:
        return _pose(random, rotate, scale, options.elastic)

    before = read_log(options.labels) or {}
    first = sum(entry.get("random_seed") == options.seed for entry in before.get("planted", []))
    if points:
        planted = []
        for number, point in enumerate(points, first):
            random = np.random.default_rng([options.seed, number])
            template = templates[int(random.integers(len(templates)))]
            planted.append(plant_at(ground, template, point, draw(random)))
    else:
        planted = plant_random(ground, templates, options.random, options.seed, draw, events, first)
    mask = nodule_mask(ground, planted)
    entries: list[dict[str, Any]] = [
        {"label": number, "library": str(options.library), **entry.to_dict(), "random_seed": options.seed}
        for number, entry in enumerate(planted, 1)
    ]
    for entry in before.get("planted", []):  # their numbers in the mask are new ones
        entries.append({**entry, "label": int(mask[tuple(entry["voxel"])])})
    kept = {key: value for key, value in before.items() if key not in ("format", "table", "classes", "planted")}
    log = {**kept, "labels": str(options.labels), "planted": entries}
    if options.mask:
        write_image(mask, options.mask, options.overwrite)
    write_label_map(ground.image(), table, log, options.output, options.overwrite)
    events.result(output=str(options.output.absolute()), planted=entries[: len(planted)])
    for entry in entries[: len(planted)]:
        right, anterior, superior = entry["position_ras"]
        print(
            f"{entry['label']:3d}  {entry['template']:24s} R {right:8.1f}  A {anterior:8.1f}  S {superior:8.1f} mm  "
            f"{entry['volume_mm3']:9.1f} mm³  {entry['share_on_classes']:.0%} on {' or '.join(ground.chosen)}"
        )
    print(f"The label map with {len(planted)} planted is {options.output}.")


def _require_tissues(labels: sitk.Image, name: str) -> None:
    """Refuse what is one class everywhere: where nodules may lie cannot be told in it."""
    import SimpleITK as sitk

    voxels = sitk.GetArrayViewFromImage(labels)
    if voxels.min() == voxels.max():
        raise UserError(
            f"{name} holds nothing but {voxels.flat[0]:g}.",
            "A label map of a body has several classes.",
            "Give one that `synthct labels` made.",
        )


def _table(options: argparse.Namespace) -> ClassTable:
    """Return the table asked for, that of the label map's log, or the one of ours that knows its voxels' values."""
    from synthct.labels.classes import read_class_table
    from synthct.labels.label_files import table_beside

    if options.classes:
        return read_class_table(options.classes)
    return table_beside(options.labels) or read_class_table()


def _pose(random: np.random.Generator, rotate: list[float], scale: list[float], elastic: float) -> Pose:
    from synthct.labels.template_shapes import Pose, draw_pose

    drawn = draw_pose(
        random,
        rotate[0] if len(rotate) == 1 else 0.0,
        (scale[0], scale[-1]) if scale else (1.0, 1.0),
        elastic,
    )
    rotation = (rotate[0], rotate[1], rotate[2]) if len(rotate) == 3 else drawn.rotation
    return Pose(rotation, drawn.scale, elastic, drawn.seed)


def _numbers(words: str | None, option: str, counts: tuple[int, ...]) -> list[float]:
    if words is None:
        return []
    try:
        values = [float(word) for word in words.split(",")]
    except ValueError:
        values = []
    if len(values) not in counts or not all(abs(value) < 1e6 for value in values):
        wanted = " or ".join(str(count) for count in counts)
        raise UserError(f"{option} {words} cannot be used.", f"{wanted} number(s) with commas between are needed.")
    return values
