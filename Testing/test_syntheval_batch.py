"""The script that judges a folder inside Slicer, and the scene that it leaves for SynthEval."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import SimpleITK as sitk
from syntheval_scene import chest_arrays, click_row, image_of, open_window

ROOT = Path(__file__).parents[1]


def test_the_batch_script_judges_a_folder(slicer_host, tmp_path, capsys):
    import slicer

    for number, case in enumerate(("Anna", "Bert")):
        for folder, array in zip(("references", "synthetics"), chest_arrays(seed=number), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            sitk.WriteImage(image_of(array), str(tmp_path / folder / f"{case}.nii.gz"))
    words = [tmp_path / "references", tmp_path / "synthetics", tmp_path / "out", "--whole-image"]
    command = ["-m", "host", "--no-main-window", "--python-script", "batch/evaluate_folder.py", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = [sys.executable, *command]
    done = subprocess.run(run, cwd=ROOT / "Testing", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "2 pairs" in done.stdout, done.stderr
    assert (tmp_path / "out/report.html").is_file()
    script = runpy.run_path(str(ROOT / "Testing/batch/evaluate_folder.py"))
    assert script["main"]([str(word) for word in words]) == 1
    assert "pairs.json exists" in capsys.readouterr().err

    window = open_window(slicer_host)
    window.ui.cohortButton.collapsed = False
    slicer.util.loadScene(str(tmp_path / "out/cases.mrb"))
    table = window.cohort.ui.casesTable
    slicer_host.wait_until(lambda: window.parameters() is not None and table.rowCount == 2)
    click_row(slicer_host, None, table, 1)
    assert window.parameters().caseSynthetic.GetName() == "Bert sCT"
    assert not slicer_host.errors
