"""``synthct bulk``: a CT from tissue labels with one HU each, or from an MR alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", type=Path, help="a label map: NIfTI, NRRD or a segmentation of Slicer (.seg.nrrd)")
    source.add_argument("--mr", type=Path, help="an MR: its body becomes water, everything else air")
    source.add_argument("--show-table", action="store_true", help="print the shipped table, to copy and edit")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="CSV",
        help="columns label,name,hu; default: the shipped one, which knows segments by their names",
    )
    parser.add_argument("--output", type=Path, metavar="CT", help="NIfTI or NRRD to write, int16 HU")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.volumes.body import body_mask
    from synthct.volumes.bulk import SHIPPED, bulk_ct, read_bulk_table, segment_names, water_ct
    from synthct.volumes.read import read_image
    from synthct.volumes.write import check_output, write_image

    if options.show_table:
        print(SHIPPED.read_text(encoding="utf-8"), end="")
        return
    if options.output is None:
        raise UserError("No output was given.", todo="Say where to write the CT: --output ct.nii.gz.")
    check_output(options.output, options.overwrite)
    if options.mr:
        ct = water_ct(body_mask(read_image(options.mr), "mr"))
    else:
        table = read_bulk_table(options.table or SHIPPED)
        labels = read_image(options.labels)
        ct = bulk_ct(labels, table, segment_names(labels))
    path = write_image(ct, options.output, options.overwrite)
    events.result(output=str(path.absolute()))
    print(f"The CT by bulk assignment is {path}.")
