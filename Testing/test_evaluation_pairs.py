"""Curves, regions, histograms and lines of a pair by hand; the page of a pair and of a cohort."""

import csv
import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from test_volumes_dicom import write_series

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.evaluation.images.curves import HISTOGRAM_BINS, bone_curve, joint_histogram, line_profile, slice_curve
from synthct.evaluation.images.pair import make_pair
from synthct.evaluation.images.pair_list import read_pairs
from synthct.evaluation.images.regions import error_map, score_regions
from synthct.evaluation.images.scores import scores_of
from synthct.volumes.segments import read_segments

UPSIDE_DOWN = (1, 0, 0, 0, -1, 0, 0, 0, -1)


def image(array, spacing=(1.0, 1.0, 2.0), origin=(0.0, 0.0, 0.0), direction=None):
    made = sitk.GetImageFromArray(np.asarray(array))
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    if direction:
        made.SetDirection(direction)
    return made


def box(shape=(8, 10, 12), value=0, dtype=np.int16):
    return np.full(shape, value, dtype)


def synthct(*words):
    return subprocess.run([sys.executable, "-m", "synthct", *map(str, words)], capture_output=True, text=True)


def test_slices_are_counted_from_the_feet_up_whichever_way_they_are_stored():
    reference, synthetic = box(), box()
    synthetic[0] += 100  # stored first: the highest slice of an image that runs from head to feet
    synthetic[3, :, :6] -= 50
    mask = np.ones_like(reference)
    mask[5] = 0
    pair = make_pair(*(image(array, direction=UPSIDE_DOWN) for array in (reference, synthetic, mask)))
    found = slice_curve(pair)
    assert found.height_mm.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert found.mae_hu == pytest.approx([0, 0, math.nan, 0, 25, 0, 0, 100], nan_ok=True)
    assert found.me_hu == pytest.approx([0, 0, math.nan, 0, -25, 0, 0, 100], nan_ok=True)


def test_the_bone_curve_by_hand():
    reference, synthetic = box(), box()
    reference[2, 2, :6], synthetic[2, 2, 3:9] = 600, 300
    found = bone_curve(make_pair(image(reference), image(synthetic)), (200, 500, 700))
    assert found[200] == 0.5 and found[500] == 0 and math.isnan(found[700])


def test_the_joint_histogram_counts_every_voxel_once():
    reference, synthetic = box(value=-1024), box(value=3000)
    reference[0, 0, 0], synthetic[0, 0, 0] = 24, -976
    mask = np.ones_like(reference)
    mask[7] = 0
    counts = joint_histogram(make_pair(image(reference), image(synthetic), image(mask)))
    assert counts.sum() == mask.sum()
    place = int((24 + 1024) // (3024 / HISTOGRAM_BINS))
    assert counts[place, 2] == 1 and counts[0, HISTOGRAM_BINS - 1] == mask.sum() - 1


def test_a_line_in_ras_meets_the_voxels_it_should():
    x = np.arange(12) * 10
    reference = np.broadcast_to(x, (8, 10, 12)).astype(np.int16)
    pair = make_pair(image(reference, origin=(5, 7, 9)), image(reference + 1, origin=(5, 7, 9)))
    found = line_profile(pair, (-5, -9, 13), (-16, -9, 13))  # along the first axis, R = -x
    assert found.distance_mm[-1] == 11 and found.reference_hu[0] == 0 and found.reference_hu[-1] == 110
    assert found.reference_hu == pytest.approx(10 * found.distance_mm)
    assert found.synthetic_hu - found.reference_hu == pytest.approx(np.ones(len(found.distance_mm)))
    beyond = line_profile(pair, (-5, -9, 13), (20, -9, 13))
    assert np.isnan(beyond.reference_hu).sum() > 20 > 0 and beyond.reference_hu[0] == 0
    with pytest.raises(UserError, match=r"nowhere lies.*R -16 to -5, A -16 to -7, S 9 to 23 mm"):
        line_profile(pair, (500, 0, 0), (600, 0, 0))
    with pytest.raises(UserError, match="no length"):
        line_profile(pair, (0, 0, 0), (0, 0, 0))


def test_regions_by_hand_and_the_error_map(tmp_path):
    reference, synthetic, labels = box(value=100), box(value=100), box(dtype=np.uint8)
    labels[2:4, 2:4, 2:6], labels[6, 6, 6] = 1, 2
    synthetic[2, 2, 2:6] = 140
    mask = np.ones_like(reference)
    mask[6] = 0
    sitk.WriteImage(image(labels), str(tmp_path / "regions.nii.gz"))
    pair = make_pair(image(reference), image(synthetic), image(mask))
    first, second = score_regions(pair, read_segments(tmp_path / "regions.nii.gz"))
    assert (first["voxels"], first["mae_hu"], first["me_hu"], first["volume_ml"]) == (16, 10, 10, 0.032)
    assert first["sd_hu"] == pytest.approx(math.sqrt(0.25 * 30**2 + 0.75 * 10**2))
    assert second["voxels"] == 0 and math.isnan(second["mae_hu"])
    difference = sitk.GetArrayFromImage(error_map(pair))
    assert difference.sum() == 160 and difference[2, 2, 3] == 40


@pytest.mark.parametrize("moved", [False, True], ids=["one grid", "another grid"])
def test_voxels_without_a_number_are_refused_or_left_out_and_counted(moved):
    reference = np.zeros((8, 10, 12), np.float32)
    synthetic = reference + 10
    synthetic[3, 4, 5] = math.nan
    reference[1, 1, 1] = math.inf
    images = image(reference), image(synthetic, origin=(0, 0, 0.5) if moved else (0, 0, 0))
    with pytest.raises(UserError, match="1 NaN or infinite values"):
        make_pair(*images)
    pair = make_pair(*images, no_numbers="leave-out")
    assert np.isfinite(pair.synthetic).all() and not pair.inside[1, 1, 1]
    assert f"{3 if moved else 2} voxels are NaN" in " ".join(pair.notes)  # between two slices both are spoilt
    assert pair.region == "whole image, unmasked, without voxels that are no number"
    if not moved:
        assert np.abs(pair.synthetic - pair.reference)[pair.inside].mean() == 10


def test_another_grid_is_refused_when_asked():
    pair = image(box()), image(box(), spacing=(1, 1, 1.9))
    assert "another grid" in make_pair(*pair).notes[0]
    with pytest.raises(UserError, match="not on the same grid"):
        make_pair(*pair, other_grid="refuse")


@pytest.fixture
def cohort(tmp_path):
    """Two cases by two methods, one of them 20 HU off, the other 40, and more in the second case."""
    random = np.random.default_rng(0)
    entries = []
    for number, case in enumerate(("p1", "p2")):
        reference = random.normal(0, 100, (10, 16, 18)).astype(np.int16)
        reference[4:6, 5:9, 5:9] = 700
        sitk.WriteImage(image(reference), str(tmp_path / f"{case}_ct.nii.gz"))
        regions = np.zeros_like(reference, np.uint8)
        regions[4:6] = 1
        sitk.WriteImage(image(regions), str(tmp_path / f"{case}_regions.nii.gz"))
        for method, offset in (("good", 20), ("poor", 40)):
            path = tmp_path / f"{case} {method}.nii.gz"
            sitk.WriteImage(image(reference + np.int16(offset + 10 * number)), str(path))
            entries.append(
                {
                    "case": case,
                    "group": method,
                    "reference": f"{case}_ct.nii.gz",
                    "synthetic": path.name,
                    "regions": f"{case}_regions.nii.gz",
                }
            )
    (tmp_path / "pairs.json").write_text(json.dumps(entries))
    return tmp_path


def test_a_cohort_gets_a_table_a_summary_and_pages(cohort):
    done = synthct("evaluate", "--cohort", cohort / "pairs.json", "--output", cohort / "out")
    assert done.returncode == 0, done.stderr
    out = cohort / "out"
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert [(row["case"], row["group"], float(row["mae_hu"])) for row in rows] == [
        ("p1", "good", 20),
        ("p1", "poor", 40),
        ("p2", "good", 30),
        ("p2", "poor", 50),
    ]
    assert [float(row["me_hu"]) for row in csv.DictReader((out / "regions.csv").open())] == [20, 40, 30, 50]
    content = json.loads((out / "scores.json").read_text())
    assert content["groups"]["good"]["mae_hu"]["mean"] == 25
    assert content["groups"]["good"]["mae_hu"]["sd_sample"] == pytest.approx(math.sqrt(50))
    page = (out / "report.html").read_text()
    assert 'href="cases/good%20p1.html"' in page and "<script" not in page and "data:image/png" in page
    case = (out / "cases" / "good p1.html").read_text()
    assert case.count("data:image/png;base64,") == 3 and "http" not in case.replace("http-equiv", "")
    words = ["statistics", "--scores", out / "scores.csv", "--group", "group", "--baseline", "good"]
    words += ["--pair-by", "case", "--score", "mae_hu", "--output", out / "stats.json"]
    assert synthct(*words).returncode == 0
    (test,) = json.loads((out / "stats.json").read_text())["comparisons"]
    assert test["difference"] == 20 and "same amount" in test["notes"][0]
    again = synthct("evaluate", "--cohort", cohort / "pairs.json", "--output", out)
    assert again.returncode == 2 and "--overwrite" in again.stderr


def test_one_pair_with_everything(cohort):
    words = ["evaluate", "--reference", cohort / "p1_ct.nii.gz", "--synthetic", cohort / "p1 good.nii.gz"]
    words += ["--regions", cohort / "p1_regions.nii.gz", "--line", "0", "-5", "8", "-17", "-5", "8"]
    words += ["--output", cohort / "s.json", "--report", cohort / "r.html", "--error-map", cohort / "e.nrrd"]
    done = synthct(*words)
    assert done.returncode == 0, done.stderr
    content = json.loads((cohort / "s.json").read_text())
    assert content["regions"][0]["region"] == "label 1" and content["regions"][0]["mae_hu"] == 20
    assert content["bone_curve"]["500"] == 1 and content["slice_curve"]["me_hu"] == [20] * 10
    assert np.sum(content["joint_histogram"]["counts"]) == 10 * 16 * 18
    assert len(content["line_profile"]["distance_mm"]) == 35
    assert {"regions", "line_profile", "bone_curve", "mae_hu"} <= content["definitions"].keys()
    assert (cohort / "r.html").read_text().count("data:image/png;base64,") == 4
    assert np.all(sitk.GetArrayFromImage(sitk.ReadImage(str(cohort / "e.nrrd"))) == 20)


def test_equal_images_are_reported_as_such(cohort):
    same = cohort / "p1_ct.nii.gz"
    done = synthct("evaluate", "--reference", same, "--synthetic", same, "--output", cohort / "s.json")
    content = json.loads((cohort / "s.json").read_text())
    assert done.returncode == 0 and content["psnr_2500_db"] == "inf" and content["mae_hu"] == 0
    assert any("equal in every voxel" in note for note in content["notes"]) and "equal in every" in done.stderr
    both = ("--output", cohort / "o.json", "--report", cohort / "o.json")
    done = synthct("evaluate", "--reference", same, "--synthetic", same, *both)
    assert done.returncode == 2 and "named for two outputs" in done.stderr


def test_masks_that_are_not_binary_or_hold_air_alone_are_said_to(cohort):
    reference, synthetic, mask = box(value=-1000), box(value=-990), box(dtype=np.float32)
    mask[2:5], mask[3] = 0.5, 2
    pair = make_pair(*(image(array) for array in (reference, synthetic, mask)))
    assert pair.inside.sum() == 3 * 120 and "not binary (values up to 2)" in " ".join(pair.notes)
    found = scores_of(pair)
    assert found.values["mae_air_hu"] == 10 and math.isnan(found.values["mae_bone_hu"])
    assert "that counts is bone" in " ".join(found.notes) and "that counts is soft" in " ".join(found.notes)
    assert not make_pair(*(image(array) for array in (reference, synthetic, 3 * (mask > 0)))).notes


def test_cases_that_are_there_twice_are_refused_by_file_and_said_by_voxel(cohort):
    entries = json.loads((cohort / "pairs.json").read_text())
    again = {**entries[0], "case": "p9"}
    (cohort / "twice.json").write_text(json.dumps([*entries, again]))
    with pytest.raises(UserError, match="the files of good p1 again as good p9"):
        read_pairs(cohort / "twice.json")
    shutil.copy(cohort / entries[0]["synthetic"], cohort / "copy.nii.gz")
    (cohort / "twice.json").write_text(json.dumps([*entries, {**again, "synthetic": "copy.nii.gz"}]))
    done = synthct("evaluate", "--cohort", cohort / "twice.json", "--output", cohort / "out")
    assert done.returncode == 0 and "good p9: Its CTs are those of good p1, voxel by voxel" in done.stderr
    page = (cohort / "out" / "report.html").read_text()
    assert "one case counts twice" in page and page.index("Read first") < page.index("Summary of good")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"synthetic": "nowhere.nii.gz"}, "The synthetic of case p1"),
        ({"sct": "x"}, "does not know sct"),
        ({"case": "../p1"}, "cannot be a file's name"),
        ({"case": "p2"}, "the case good p2 twice"),
        ({"case": 3}, "is no case"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(cohort, change, words):
    entries = json.loads((cohort / "pairs.json").read_text())
    entries[0] = {**entries[0], **change}
    (cohort / "pairs.json").write_text(json.dumps(entries))
    with pytest.raises(UserError, match=words):
        read_pairs(cohort / "pairs.json")


def test_a_pair_and_a_cohort_do_not_go_together(cohort):
    done = synthct("evaluate", "--cohort", cohort / "pairs.json", "--mask", "auto", "--output", cohort / "out")
    assert done.returncode == 2 and "--mask and --cohort do not go together" in done.stderr
    done = synthct("evaluate", "--reference", cohort / "p1_ct.nii.gz", "--output", cohort / "o.json")
    assert done.returncode == 2 and "--synthetic is missing" in done.stderr


def test_cts_of_different_patients_are_refused_and_other_frames_noted(tmp_path, capsys):
    pytest.importorskip("pydicom")
    frames = {"ct": "1.2", "own": "1.2", "other": "9.9"}
    for name, frame in frames.items():
        write_series(tmp_path / name, PatientID="P2" if name == "other" else "P1", FrameOfReferenceUID=frame)
    words = ["evaluate", "--reference", str(tmp_path / "ct"), "--synthetic"]
    assert main([*words, str(tmp_path / "other"), "--output", str(tmp_path / "s.json")]) == 2
    assert "P1 is not P2" in capsys.readouterr().err and not (tmp_path / "s.json").exists()
    assert main([*words, str(tmp_path / "other"), "--output", str(tmp_path / "s.json"), "--other-patient"]) == 0
    notes = json.loads((tmp_path / "s.json").read_text())["notes"]
    assert "different patients, P1 and P2" in notes[0] and "different DICOM frames" in notes[1]
    assert main([*words, str(tmp_path / "own"), "--output", str(tmp_path / "o.json")]) == 0
    assert not any(
        "patients" in note or "frames" in note for note in json.loads((tmp_path / "o.json").read_text())["notes"]
    )
