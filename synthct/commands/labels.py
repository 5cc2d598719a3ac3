"""``synthct labels``: a label map of tissue classes and nodules from a CT or another segmentation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthct.errors import UserError
from synthct.events import Events

if TYPE_CHECKING:
    import SimpleITK as sitk

    from synthct.labels.classes import ClassTable


def add_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ct", type=Path, help="the CT: NIfTI, NRRD, MetaImage or a DICOM folder")
    source.add_argument(
        "--segmentation", type=Path, help="any label map or segmentation of Slicer (.seg.nrrd), with --mapping"
    )
    source.add_argument("--show-table", action="store_true", help="print the table of classes, to copy and edit")
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder that holds several")
    parser.add_argument(
        "--uneven",
        choices=("refuse", "interpolate"),
        default="refuse",
        help="DICOM slices at uneven distances or missing ones (default refuse)",
    )
    parser.add_argument("--nodules", type=Path, metavar="MASK", help="nodules, on the same grid; they go over all")
    parser.add_argument("--body", type=Path, metavar="MASK", help="the body; default: found in the CT")
    parser.add_argument(
        "--classes", default="eight", metavar="TABLE", help="six (published), seven, eight (default) or a YAML file"
    )
    parser.add_argument(
        "--mapping", type=Path, metavar="YAML", help="of --segmentation: `number or segment name: class`"
    )
    parser.add_argument(
        "--spacing", metavar="X,Y,Z", help="mm to resample to, or `published` (0.48828125,0.48828125,1); default: none"
    )
    parser.add_argument(
        "--without", default="", metavar="STEPS", help="leave out: scan-field, artefacts, resampling, rounding"
    )
    parser.add_argument("--output", type=Path, metavar="LABELS", help="label map to write; .json and .ctbl beside it")
    parser.add_argument("--ct-output", type=Path, metavar="CT", help="write the pre-processed CT as well")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.labels.classes import SHIPPED, read_class_table

    if options.show_table:
        path = SHIPPED.get(options.classes) or Path(options.classes)
        read_class_table(options.classes)
        print(path.read_text(encoding="utf-8"), end="")
        return
    if options.output is None:
        raise UserError("No output was given.", todo="Say where to write the label map: --output labels.nii.gz.")
    if (options.segmentation is None) != (options.mapping is None):
        raise UserError("--segmentation and --mapping belong together.", "Labels get their classes by a mapping.")
    if options.segmentation and (options.spacing or options.without or options.ct_output or options.series):
        raise UserError(
            "--spacing, --without, --ct-output and --series are for a --ct.", "A segmentation keeps its own grid."
        )

    from synthct.labels.label_files import check_label_output, write_label_map
    from synthct.volumes.write import check_output, write_image
    from synthct.whole_file import require_apart

    given = (options.ct, options.segmentation, options.nodules, options.body, options.mapping)
    require_apart((options.output, options.ct_output), given)
    table = read_class_table(options.classes)
    check_label_output(options.output, options.overwrite)
    if options.ct_output:
        check_output(options.ct_output, options.overwrite)
    if options.segmentation:
        labels, log = _from_segmentation(options, table, events)
    else:
        labels, ct, log = _from_ct(options, table, events)
        if options.ct_output:
            write_image(ct, options.ct_output, options.overwrite)
    log = write_label_map(labels, table, log, options.output, options.overwrite)
    events.result(output=str(options.output.absolute()), classes=log["classes"], changes=log.get("changes", []))
    for entry in log["classes"]:
        print(f"{entry['index']:3d}  {entry['name']:24s} {entry['voxels']:12d} voxels  {entry['ml']:10.1f} ml")
    print(f"The label map is {options.output}.")


def _from_ct(
    options: argparse.Namespace, table: ClassTable, events: Events
) -> tuple[sitk.Image, sitk.Image, dict[str, Any]]:
    from synthct.labels.label_map import label_ct
    from synthct.labels.preprocessing import PUBLISHED_SPACING, as_log, preprocess
    from synthct.options import typed
    from synthct.volumes.body import body_mask
    from synthct.volumes.geometry import require_same_grid, resample_onto
    from synthct.volumes.read import read_image

    spacing = None
    if options.spacing and options.spacing != "none":
        words = options.spacing
        spacing = PUBLISHED_SPACING if words == "published" else typed(tuple[float, float, float], words, "--spacing")
    without = [word.strip() for word in options.without.split(",") if word.strip()]
    original = read_image(options.ct, options.series, options.uneven, events)
    masks = {}
    for what in ("nodules", "body"):
        path = getattr(options, what)
        if path is not None:
            masks[what] = read_image(path)
            require_same_grid(original, masks[what], (str(options.ct), str(path)))
    events.progress(0, 2, "labels", "finding the body")
    # on the CT's own grid, which is mostly the coarser
    if "body" not in masks and any(table.of_source(source) is not None for source in ("outside", "airways")):
        try:
            masks["body"] = body_mask(original, "ct")
        except UserError as error:
            raise UserError(
                f"What is outside the body cannot be told in {options.ct}.", str(error), "Or give a mask: --body."
            ) from error
    events.progress(1, 2, "labels", "labelling")
    ct, changes = preprocess(original, spacing, without)
    for change in changes:
        events.emit("change", step=change.step, what=change.what, voxels=change.voxels, share=change.share)
    masks = {what: resample_onto(mask, ct, "nearest") for what, mask in masks.items()}
    names = (str(options.ct), str(options.nodules), str(options.body))
    labels = label_ct(ct, table, masks.get("nodules"), masks.get("body"), events, names)
    events.progress(2, 2, "labels", "labelling")
    return labels, ct, {"ct": str(options.ct), **_sources(options), "changes": as_log(changes)}


def _from_segmentation(
    options: argparse.Namespace, table: ClassTable, events: Events
) -> tuple[sitk.Image, dict[str, Any]]:
    from synthct.labels.label_map import label_segmentation
    from synthct.labels.mapping import read_mapping
    from synthct.volumes.bulk import segment_names
    from synthct.volumes.read import read_image

    segmentation = read_image(options.segmentation)
    mapping = read_mapping(options.mapping, segment_names(segmentation))
    nodules = read_image(options.nodules) if options.nodules else None
    body = read_image(options.body) if options.body else None
    names = (str(options.segmentation), str(options.nodules), str(options.body))
    labels = label_segmentation(segmentation, mapping, table, nodules, body, events, names)
    named = {str(value): name for value, name in mapping.items()}
    return labels, {"segmentation": str(options.segmentation), **_sources(options), "mapping": named}


def _sources(options: argparse.Namespace) -> dict[str, str | None]:
    return {what: str(path) if (path := getattr(options, what)) else None for what in ("nodules", "body")}
