"""Judge every synthetic CT of a folder against its reference, inside Slicer and without a window.

    Slicer --no-main-window --python-script Testing/batch/evaluate_folder.py REFERENCES SYNTHETICS OUTPUT \
        [--whole-image]

Files are NIfTI, NRRD or MetaImage; a synthetic CT is called like its reference. Scores count in the body, found in the
reference, or in the whole image. OUTPUT gets pairs.json, scores.csv, scores.json, report.html, a page of each case and
cases.mrb, a scene with the table that SynthEval opens: a click on a row shows the case. An evaluation that exists is
not replaced. Exit code 0: done; 1: it could not be done (the file is named); 2: the arguments cannot be used. The same
runs in the embedded host of the tests.
"""

import argparse
import sys
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "SynthEval"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from synthct.errors import UserError
from synthct.scene.evaluation.cases import take_scores, write_list
from synthct.scene.jobs import Job
from synthct.scene.session import Session


def main(words):
    """Judge the folder and return the exit code."""
    parser = argparse.ArgumentParser(prog="evaluate_folder.py", description=__doc__.splitlines()[0])
    for name in ("references", "synthetics", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--whole-image", action="store_true", help="count everything, not the body alone")
    try:
        options = parser.parse_args(words)
    except SystemExit as ended:
        return ended.code
    session = Session()
    try:
        return evaluate(options, session)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        session.close()


def evaluate(options, session):
    """Write the list, run the job and keep the table; return the exit code."""
    output = options.output.resolve()
    listed = output / "pairs.json"
    if listed.exists():
        raise UserError(f"{listed} exists.", "Nothing is replaced unasked.", "Choose another folder.")
    count = write_list(options.references.resolve(), options.synthetics.resolve(), listed, "", not options.whole_image)
    print(f"{count} pairs", flush=True)
    job = Job.start("evaluate", {"cohort": listed, "output": output}, session.new_folder())
    job.wait(slicer.app.processEvents)
    for warning in job.warnings:
        print(warning, file=sys.stderr)
    if job.result is None:
        raise UserError(*(str((job.error or {}).get(key) or "") for key in ("what", "why", "todo")))
    from SynthEval import SynthEvalLogic

    SynthEvalLogic().getParameterNode().cohortScores = take_scores(listed, output, None)
    if not slicer.util.saveScene(str(output / "cases.mrb")):
        raise UserError(f"{output / 'cases.mrb'} cannot be written.", todo="Free space on the disk.")
    print(f"written to {output / 'report.html'}")
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    slicer.util.exit(code) if slicer.app.applicationName.startswith("Slicer") else sys.exit(code)
