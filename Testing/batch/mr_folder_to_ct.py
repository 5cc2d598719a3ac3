"""Turn every MR in a folder into a synthetic CT, inside Slicer and without a window.

    Slicer --no-main-window --python-script Testing/batch/mr_folder_to_ct.py MODEL MR_FOLDER CT_FOLDER [DEVICE]

MODEL is a model folder or a training run. The MRs are NIfTI, NRRD or MetaImage files; each CT gets the MR's name with
"_sCT" and is written as NIfTI. A file that exists is not replaced. Exit code 0: all done; 1: some could not be
translated (each is named); 2: the arguments cannot be used. The same runs in the embedded host of the tests.
"""

import sys
import time
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from synthct.errors import UserError
from synthct.scene.session import Session
from synthct.scene.translation import Request, Translation

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def main(words):
    """Translate the folder and return the exit code."""
    if len(words) not in (3, 4) or not Path(words[1]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    model, source, target = (Path(word).resolve() for word in words[:3])
    device = words[3] if len(words) == 4 else "auto"
    files = sorted(path for path in source.iterdir() if path.name.lower().endswith(ENDINGS))
    if not files:
        print(f"{source} holds no image ({', '.join(ENDINGS)}).", file=sys.stderr)
        return 2
    target.mkdir(parents=True, exist_ok=True)
    session = Session()
    failed = 0
    try:
        for path in files:
            try:
                print(f"{path.name}: {translate(path, model, target, device, session)}", flush=True)
            except UserError as error:
                failed += 1
                print(f"{path.name}: not translated. {error}", file=sys.stderr, flush=True)
            slicer.mrmlScene.Clear(0)
    finally:
        session.close()
    return 1 if failed else 0


def translate(path, model, target, device, session):
    """Load one MR, translate it and save the CT; return what was done in words."""
    output = target / f"{path.name.split('.')[0]}_sCT.nii.gz"
    if output.exists():
        raise UserError(f"{output} exists.", "Nothing is replaced unasked.", "Remove it or choose another folder.")
    try:
        node = slicer.util.loadVolume(str(path), {"singleFile": True})
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read as a volume.", f"{error}") from error
    translation = Translation(Request(input_node=node, model=model, device=device), session)
    while not translation.finished:
        translation.poll()
        slicer.app.processEvents()
        time.sleep(0.05)
    for warning in translation.warnings:
        print(f"{path.name}: {warning}", file=sys.stderr)
    if translation.error is not None:
        raise translation.error
    slicer.util.saveNode(translation.output_node, str(output))
    return f"written to {output}"


if __name__ == "__main__":
    code = main(sys.argv[1:])
    slicer.util.exit(code) if slicer.app.applicationName.startswith("Slicer") else sys.exit(code)
