"""Plant nodules into every label map (or CT) of a folder and make the CTs, inside Slicer and without a window.

    Slicer --no-main-window --python-script Testing/batch/label_folder_to_ct.py MODEL LIBRARY FOLDER OUTPUT \
        [--count 1] [--seed 0] [--device auto]

MODEL is a model folder or a training run that makes CTs of label maps; LIBRARY holds nodule templates. The files of
FOLDER are NIfTI, NRRD or MetaImage; of NAME_CT.nii.gz, or of any volume that holds HU, a label map is made first. For
each NAME the planted label map, the mask of its nodules and the CT are written: NAME_labels.nii.gz,
NAME_nodules.nii.gz, NAME_sCT.nii.gz. A file that exists is not replaced. Exit code 0: all done; 1: some could not be
done (each is named); 2: the arguments cannot be used. The same runs in the embedded host of the tests.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from synthct.errors import UserError
from synthct.scene.jobs import Job
from synthct.scene.label_synthesis.models import classes_of, label_card
from synthct.scene.session import Session
from synthct.scene.translation import Request, Translation
from synthct.synthesis.card import card_of

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
ROLES = ("_labels", "_seg", "_CT", "_ct")
"""What a name may end with beside the case."""
WRITTEN = ("labels", "nodules", "sCT")


def main(words):
    """Do the folder and return the exit code."""
    parser = argparse.ArgumentParser(prog="label_folder_to_ct.py", description=__doc__.splitlines()[0])
    for name in ("model", "library", "folder", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--count", type=int, default=1, help="nodules in each (1)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed plants the same")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    try:
        options = parser.parse_args(words)
    except SystemExit as ended:
        return ended.code
    try:
        card = label_card(card_of, str(options.model))
        files = sorted(path for path in options.folder.iterdir() if path.name.lower().endswith(ENDINGS))
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if not files:
        print(f"{options.folder} holds no image ({', '.join(ENDINGS)}).", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    session = Session()
    failed = 0
    try:
        for path in files:
            try:
                print(f"{path.name}: {plant_and_synthesise(path, options, card, session)}", flush=True)
            except UserError as error:
                failed += 1
                print(f"{path.name}: not done. {error}", file=sys.stderr, flush=True)
            slicer.mrmlScene.Clear(0)
    finally:
        session.close()
    return 1 if failed else 0


def plant_and_synthesise(path, options, card, session):
    """Make the label map where there is none, plant, synthesise; return what was done in words."""
    name = path.name.split(".")[0]
    name = next((name.removesuffix(role) for role in ROLES if name.endswith(role)), name)
    target = {what: (options.output / f"{name}_{what}.nii.gz").resolve() for what in WRITTEN}
    for file in target.values():
        if file.exists():
            raise UserError(f"{file} exists.", "Nothing is replaced unasked.", "Remove it or choose another folder.")
    labels = path.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        if holds_hu(path):
            labels = Path(scratch) / "labels.nii.gz"
            run("labels", {"ct": path.resolve(), "output": labels}, Path(scratch) / "labels job")
        wanted = {"labels": labels, "library": options.library.resolve(), "random": options.count}
        wanted |= {"seed": options.seed, "output": target["labels"], "mask": target["nodules"]}
        planted = run("insert", wanted, Path(scratch) / "insert job")["planted"]
    node = slicer.util.loadLabelVolume(str(target["labels"]), {"singleFile": True})
    request = Request(
        input_node=node,
        model=options.model.resolve(),
        model_name=card["name"],
        planes=tuple(card["planes"][:1]),
        device=options.device,
        body_mask=None,
        classes=classes_of(card),
    )
    translation = Translation(request, session)
    while not translation.finished:
        translation.poll()
        slicer.app.processEvents()
        time.sleep(0.05)
    for warning in translation.warnings:
        print(f"{path.name}: {warning}", file=sys.stderr)
    if translation.error is not None:
        raise translation.error
    translation.kept.discard()
    slicer.util.saveNode(translation.output_node, str(target["sCT"]))
    return f"{len(planted)} planted, {', '.join(file.name for file in target.values())} written"


def holds_hu(path):
    """Whether a file holds a CT and no label map."""
    try:
        node = slicer.util.loadVolume(str(path), {"singleFile": True})
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read as a volume.", f"{error}") from error
    voxels = slicer.util.arrayFromVolume(node)
    return bool(voxels.min() < 0 or voxels.max() > 255)


def run(verb, options, folder):
    """Run a verb of ``synthct`` as a job and return its result."""
    job = Job.start(verb, options, folder)
    job.wait(slicer.app.processEvents)
    if job.result is None:
        raise UserError(*(str((job.error or {}).get(key) or "") for key in ("what", "why", "todo")))
    return job.result


if __name__ == "__main__":
    code = main(sys.argv[1:])
    slicer.util.exit(code) if slicer.app.applicationName.startswith("Slicer") else sys.exit(code)
