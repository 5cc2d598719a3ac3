"""``synthct qa``: examine one patient's synthetic CT where there is no CT."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events
from synthct.whole_file import require_writable

_ENDINGS = (".json", ".html")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = 'Findings are a result, not an error: the exit code is 0 and the JSON says "passed": false.'
    parser.add_argument("--model", required=True, type=Path, help="the run or model folder that made the synthetic CT")
    parser.add_argument("--mr", required=True, type=Path, help="the MR it was made from (file or DICOM folder)")
    parser.add_argument("--synthetic", required=True, type=Path, metavar="SCT", help="the synthetic CT in HU")
    parser.add_argument("--uncertainty", type=Path, metavar="SD", help="standard deviation in HU, where there is one")
    parser.add_argument("--mask", type=Path, help="the body; default: found in the MR")
    parser.add_argument(
        "--void-ml", type=float, default=1.0, help="smallest place without MR signal to list (default 1)"
    )
    parser.add_argument(
        "--sd-limit", type=float, default=150.0, metavar="HU", help="of the uncertainty's 95th percentile (default 150)"
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:N (default cpu)")
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder that holds several")
    parser.add_argument(
        "--output", required=True, type=Path, nargs="+", metavar="FILE", help="qa.json, qa.html or both"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(options: argparse.Namespace, events: Events) -> None:
    for path in options.output:
        if path.suffix.lower() not in _ENDINGS:
            raise UserError(f"{path} has an unknown ending.", f"Known: {', '.join(_ENDINGS)}.")
    require_writable(*options.output, overwrite=options.overwrite)
    if not options.void_ml > 0:
        raise UserError(f"--void-ml {options.void_ml:g} cannot be used.", "It must be above 0 ml.")

    from synthct.evaluation.plain_values import write_json
    from synthct.studies.patient_qa import examine
    from synthct.studies.patient_qa_report import sentence, write_qa_page
    from synthct.studies.seal import file_sha256, software
    from synthct.synthesis.device import choose_device
    from synthct.synthesis.model_file import load_model
    from synthct.volumes.geometry import resample_onto, same_grid
    from synthct.volumes.hu import AIR_HU
    from synthct.volumes.read import read_image

    model = load_model(options.model)
    mr, synthetic = read_image(options.mr, options.series), read_image(options.synthetic)
    examination = examine(
        mr,
        synthetic,
        model,
        read_image(options.uncertainty) if options.uncertainty else None,
        read_image(options.mask) if options.mask else None,
        options.void_ml,
        options.sd_limit,
        str(choose_device(options.device)),
    )
    made_with = {
        "MR": str(options.mr),
        "synthetic CT": str(options.synthetic),
        "model": f"{model.card['name']}, {options.model}",
        "weights sha256": str(model.card["weights_sha256"]),
        **software(),
    }
    if options.synthetic.is_file():
        made_with["synthetic CT sha256"] = file_sha256(options.synthetic)
    for path in options.output:
        if path.suffix.lower() == ".json":
            write_json({**examination.to_dict(), "made_with": made_with}, path)
        else:
            shown = synthetic if same_grid(mr, synthetic) else resample_onto(synthetic, mr, "linear", AIR_HU)
            write_qa_page(examination, mr, shown, made_with, path)
    events.result(**examination.to_dict(), outputs=[str(path) for path in options.output])
    for finding in examination.findings:
        print(f"  {finding.severity:10s} {finding.topic}: {finding.sentence}")
    print(sentence(examination))
