"""The small picture of a case, and what `synthct cohort` reports for a table of cases."""

import json
import subprocess
import sys

import numpy as np
import SimpleITK as sitk
from phantoms import phantom_pair, write_phantom_cohort

from synthct.data.cohort import Case, read_cohort, write_cohort
from synthct.data.thumbnails import SIDE, write_thumbnail


def picture_of(tmp_path, mr, ct):
    paths = tmp_path / "mr.nrrd", tmp_path / "ct.nrrd"
    for image, path in zip((mr, ct), paths, strict=True):
        sitk.WriteImage(image, str(path))
    write_thumbnail(Case("p", *paths), tmp_path / "p.png")
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "p.png")))


def test_mr_and_ct_stand_side_by_side(tmp_path):
    mr, ct, _mask = phantom_pair()
    both = picture_of(tmp_path, mr, ct)
    assert both.shape == (SIDE, 2 * SIDE) and both.dtype == np.uint8
    bone = both[:, SIDE:] > 180
    assert 0.01 < bone.mean() < 0.2
    assert both[:, :SIDE][bone].mean() < both[:, :SIDE].max() / 3  # bone is dark in the MR: the two lie on one another


def test_any_order_of_axes_gives_the_same_upright_picture(tmp_path):
    mr, ct, _ = phantom_pair()
    upright = picture_of(tmp_path, mr, ct)
    turned = picture_of(tmp_path, sitk.PermuteAxes(mr, (2, 0, 1)), sitk.Flip(ct, (False, True, True)))
    assert np.abs(upright.astype(int) - turned).mean() < 1


def test_the_verb_reports_each_case_with_its_picture_and_checks_a_manifest_again(tmp_path):
    manifest = write_phantom_cohort(tmp_path / "cases", 3)
    cohort = read_cohort(manifest)
    ct = sitk.ReadImage(str(cohort.cases[1].ct)) * 0 + 5
    sitk.WriteImage(ct, str(cohort.cases[1].ct))
    words = [manifest, "--output", tmp_path / "out.json", "--thumbnails", tmp_path / "pictures"]
    words = [sys.executable, "-m", "synthct", "cohort", *map(str, words), "--events", str(tmp_path / "events.jsonl")]
    subprocess.run(words, check=True, capture_output=True)
    result = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])
    assert result["kind"] == "result" and result["excluded"] == ["phantom_01"] and result["leftovers"] == []
    levels = {check["id"]: check["level"] for check in result["checks"]}
    assert levels["phantom_01"] == "error" and set(levels) == {"phantom_00", "phantom_01", "phantom_02"}
    assert any("constant" in finding["what"] for finding in result["checks"][1]["findings"])
    for check in result["checks"]:
        assert sitk.ReadImage(check["thumbnail"]).GetSize() == (2 * SIDE, SIDE)
    assert len(read_cohort(tmp_path / "out.json").used) == 2 and len(read_cohort(manifest).used) == 3


def test_a_case_that_cannot_be_read_has_no_picture(tmp_path):
    cohort = read_cohort(write_phantom_cohort(tmp_path / "cases", 2))
    cohort.cases[0].mr.write_bytes(b"no image")
    write_cohort(cohort, tmp_path / "again.json")
    words = ["cohort", str(tmp_path / "again.json"), "--output", str(tmp_path / "out.json")]
    words += ["--thumbnails", str(tmp_path / "pictures"), "--events", str(tmp_path / "events.jsonl")]
    subprocess.run([sys.executable, "-m", "synthct", *words], check=True, capture_output=True)
    checks = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])["checks"]
    assert checks[0]["thumbnail"] is None and checks[0]["level"] == "error" and checks[1]["thumbnail"]
