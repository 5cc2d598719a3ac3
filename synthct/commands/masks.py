"""``synthct masks``: the contours of a DICOM structure set, or a DICOM segmentation, into a mask on the CT's grid."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="source", required=True, type=Path, metavar="FILE", help="RTSTRUCT or SEG")
    parser.add_argument("--dicom", type=Path, metavar="DIR", help="the CT series (a folder with its subfolders)")
    parser.add_argument("--series", metavar="UID", help="which series of --dicom; default: the one it was drawn on")
    parser.add_argument(
        "--roi", action="append", default=[], metavar="NAME", help="a region, repeated for several; default: all"
    )
    parser.add_argument("--output", type=Path, metavar="MASK", help="the mask to write; without it, regions are listed")
    parser.add_argument("--ct", type=Path, metavar="FILE", help="also write the CT, on the same grid")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    import numpy as np

    from synthct.errors import UserError
    from synthct.labels.dicom_masks import check_frame, frame_of, masks_of, open_source
    from synthct.volumes.dicom import choose_series, list_series, read_series
    from synthct.volumes.geometry import array_of
    from synthct.volumes.write import check_output, write_image

    source = open_source(options.source)
    if options.output is None:
        for name in source.regions:
            print(name)
        events.result(regions=list(source.regions))
        return
    if options.dicom is None:
        raise UserError("--dicom is missing.", "The mask lies on the CT's grid.", "Give the folder of the CT.")
    for path in (options.output, options.ct):
        if path is not None:
            check_output(path, options.overwrite)
    uid = options.series
    if uid is None and source.series_uid in {info.uid for info in list_series(options.dicom)}:
        uid = source.series_uid
    series = choose_series(options.dicom, uid)
    check_frame(source, frame_of(series), events)
    image = read_series(options.dicom, series.uid, events=events)
    mask, labels = masks_of(source, image, options.roi, events)
    write_image(mask, options.output, options.overwrite)
    if options.ct is not None:
        write_image(image, options.ct, options.overwrite)
    counts = np.bincount(array_of(mask).ravel(), minlength=len(labels) + 1)
    events.result(output=str(options.output), labels=labels)
    for name, label in labels.items():
        volume = counts[label] * float(np.prod(mask.GetSpacing())) / 1000
        print(f"{label}: {name}, {volume:.2f} ml")
