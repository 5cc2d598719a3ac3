"""``synthct explain``: what a segmentation network looks at, as a volume on the CT's grid."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, help="a network that `synthct experiment` has trained: its run or model folder"
    )
    parser.add_argument(
        "--image", required=True, type=Path, metavar="CT", help="NIfTI, NRRD, MetaImage or DICOM folder"
    )
    parser.add_argument(
        "--method",
        required=True,
        choices=("occlusion", "grad-cam"),
        help="occlusion: what it cannot do without; grad-cam: which features speak for a lesion",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="MAP", help="the volume to write; .json beside it"
    )
    parser.add_argument(
        "--at", metavar="R,A,S", help="middle of the window that is explained, mm (default: the largest lesion found)"
    )
    parser.add_argument("--block", type=int, metavar="VOXELS", help="occlusion: side of what is covered (a sixth)")
    parser.add_argument("--layer", metavar="NAME", help="grad-cam: part of the network (default: coarsest features)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.epilog = "A point on the left or back has a minus: --at=-75,20,-110. The map is 0 outside the window."


def run(options: argparse.Namespace, events: Events) -> None:
    import json

    from synthct.options import typed
    from synthct.synthesis.device import choose_device
    from synthct.synthesis.explanation import explain, summary
    from synthct.synthesis.segment import load_segmenter
    from synthct.volumes.read import read_image
    from synthct.volumes.write import check_output, write_image
    from synthct.whole_file import require_writable, write_whole

    path, ending = check_output(options.output, options.overwrite)
    told = path.with_name(path.name[: -len(ending)] + ".json")
    require_writable(told, overwrite=options.overwrite)
    at = None if options.at is None else typed(tuple[float, float, float], options.at, "--at")
    device = choose_device(options.device)
    model = load_segmenter(options.model, device)
    ct = read_image(options.image)
    found = explain(model, ct, options.method, device, at, options.block, options.layer, events)
    if not found.found:
        events.warning(
            f"The network finds no lesion in the window of {options.image}.",
            "The map explains the voxels that it holds most likely.",
            "Give another place by --at.",
        )
    content = {**summary(found, options.method), "model": model.card["name"], "image": str(options.image)}
    write_image(found.image, path, options.overwrite)
    write_whole(told, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    place = ", ".join(f"{value:g}" for value in found.centre_ras)
    print(f"{path}: {content['map']}. Score {found.score:.3f} over {found.voxels} voxels about ({place}) mm RAS.")
    events.result(output=str(path), score=content["score"], centre_ras=content["centre_ras"])
