"""Scores of masks against cases computed by hand, and the command that scores folders of them."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.evaluation.masks.report import mask_pairs, score_masks
from synthct.evaluation.masks.scores import DEFINITIONS, mask_scores

SPACING = (0.5, 1.0, 2.0)


def block(*ranges, shape=(12, 20, 30)):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(*each) for each in ranges)] = 1
    return mask


def write(path, mask, spacing=SPACING):
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(spacing)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def test_overlap_by_hand():
    truth = block((4, 6), (5, 9), (10, 20))  # 80 voxels
    found = block((4, 6), (5, 9), (16, 30))  # 112 voxels, 32 in common
    scores = mask_scores(truth, found, SPACING)
    tp, fp, fn = 32, 80, 48
    assert scores["dice_percent"] == pytest.approx(100 * 2 * tp / (2 * tp + fp + fn))
    assert scores["sensitivity_percent"] == pytest.approx(40.0)
    assert scores["precision_percent"] == pytest.approx(100 * 32 / 112)
    assert scores["f2_percent"] == pytest.approx(100 * 5 * tp / (5 * tp + fp + 4 * fn))
    assert scores["accuracy_percent"] == pytest.approx(100 * (1 - 128 / truth.size))
    assert (scores["reference_ml"], scores["predicted_ml"]) == pytest.approx((0.08, 0.112))
    assert scores["volume_error_percent"] == pytest.approx(40.0)


@pytest.mark.parametrize(("axis", "length"), [(0, 2.0), (1, 1.0), (2, 0.5)])
def test_a_single_voxel_moved_is_as_far_away_as_its_spacing_says(axis, length):
    truth, found = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8)
    truth[4, 4, 4] = 1
    found[tuple(4 + 2 * (axis == each) for each in range(3))] = 1
    scores = mask_scores(truth, found, SPACING, tolerance_mm=2 * length)
    assert scores["hausdorff95_mm"] == pytest.approx(2 * length)
    assert scores["surface_dice_percent"] == 100
    assert mask_scores(truth, found, SPACING, tolerance_mm=1.9 * length)["surface_dice_percent"] == 0


def test_a_mask_at_the_volume_s_edge_has_a_surface_there():
    whole = np.ones((4, 5, 6), np.uint8)
    inner = block((1, 3), (1, 4), (1, 5), shape=whole.shape)
    scores = mask_scores(whole, inner, (1, 1, 1), tolerance_mm=0.5)
    assert scores["hausdorff95_mm"] == pytest.approx(math.sqrt(3)) and scores["surface_dice_percent"] == 0


def test_the_same_masks_agree_wholly():
    truth = block((4, 6), (5, 9), (10, 20))
    scores = mask_scores(truth, truth * 7, SPACING)
    assert scores["dice_percent"] == scores["surface_dice_percent"] == 100
    assert scores["hausdorff95_mm"] == 0 == scores["volume_error_ml"]


def test_empty_masks_are_as_defined():
    some, none = block((4, 6), (5, 9), (10, 20)), block((0, 0))
    missed, invented, nothing = (mask_scores(*pair, SPACING) for pair in ((some, none), (none, some), (none, none)))
    for scores in (missed, invented):
        assert scores["dice_percent"] == scores["f2_percent"] == scores["surface_dice_percent"] == 0
        assert scores["hausdorff95_mm"] == math.inf
    assert missed["sensitivity_percent"] == 0 and math.isnan(missed["precision_percent"])
    assert invented["precision_percent"] == 0 and math.isnan(invented["sensitivity_percent"])
    assert math.isnan(invented["volume_error_percent"])
    undefined = {name for name, value in nothing.items() if math.isnan(value)}
    assert undefined == set(DEFINITIONS) - {"accuracy_percent", "volume_error_ml", "reference_ml", "predicted_ml"}


def test_the_command_scores_folders_and_feeds_the_statistics(tmp_path):
    truth = block((4, 6), (5, 9), (10, 20))
    for name, mask in {"p1": truth, "p2": truth, "p3": truth * 0}.items():
        write(tmp_path / "truth" / f"{name}.nii.gz", mask)
    for group, moved in {"real": 1, "made": 3}.items():
        for name, mask in {"p1": np.roll(truth, moved, 2), "p2": np.roll(truth, 2 * moved, 2), "p3": truth * 0}.items():
            write(tmp_path / group / f"{name}.nii.gz", mask)
        words = f"overlap --reference {tmp_path}/truth --predicted {tmp_path}/{group} --column set={group}"
        words += f" --output {tmp_path}/{group}.csv --summary {tmp_path}/{group}.json"
        done = subprocess.run([sys.executable, "-m", "synthct", *words.split()], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "real.csv").open()))
    assert [row["dice_percent"] for row in rows] == ["90.0", "80.0", ""]
    assert [row["lesion_present"] for row in rows] == ["yes", "yes", "no"]
    content = json.loads((tmp_path / "real.json").read_text())
    assert content["patients"] == 3 and content["with_a_lesion"] == 2
    assert content["scores"]["patients with a lesion"]["dice_percent"]["mean"] == pytest.approx(85)
    assert content["scores"]["all patients"]["dice_percent"]["left_out"] == 1
    words = f"statistics --scores {tmp_path}/real.csv {tmp_path}/made.csv --group set --baseline real --pair-by patient"
    words += f" --where lesion_present=yes --score dice_percent --output {tmp_path}/stats.json"
    done = subprocess.run([sys.executable, "-m", "synthct", *words.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (test,) = json.loads((tmp_path / "stats.json").read_text())["comparisons"]
    assert test["n"] == 2 and test["difference"] == pytest.approx(-30)


def test_what_cannot_be_scored_is_refused_by_name(tmp_path):
    truth = block((4, 6), (5, 9), (10, 20))
    a = write(tmp_path / "a" / "p1.nii.gz", truth)
    b = write(tmp_path / "b" / "p1.nii.gz", truth, spacing=(1, 1, 1))
    with pytest.raises(UserError, match="b/p1"):
        list(score_masks([("p1", a, b)], 1))
    c = write(tmp_path / "c" / "p1.nii.gz", truth + np.roll(truth, 3, 2))
    with pytest.raises(UserError, match="not a binary mask"):
        list(score_masks([("p1", a, c)], 1))
    write(tmp_path / "b" / "p2.nii.gz", truth)
    with pytest.raises(UserError, match="lacks 1 of the masks: p2"):
        mask_pairs(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError, match="is a file, and"):
        mask_pairs(a, tmp_path / "b")
    with pytest.raises(UserError, match="does not exist"):
        mask_pairs(a, tmp_path / "nowhere")
