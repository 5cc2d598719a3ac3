"""Recipes compared on held-out phantoms: the trivial answers by hand, the table, and going on after an interruption."""

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from training_recipes import tiny_cohort, tiny_recipe

from synthct.__main__ import main
from synthct.data.cohort import read_cohort
from synthct.errors import UserError
from synthct.evaluation.images.scores import score_arrays
from synthct.studies.baselines import constant_ct, interpolated_slices
from synthct.studies.comparison import (
    CONSTANT,
    FLOOR,
    INTERPOLATION,
    LOOKUP,
    SHUFFLED,
    WATER,
    VolumeTime,
    by_folds,
    compare,
    held_out,
)
from synthct.studies.table import markdown, summary


def test_constant_is_the_median_of_the_training_bodies():
    ct = np.array([[[-1000, 10, 20, 90]]])
    body = ct > -500
    assert constant_ct([ct], [body], body).tolist() == [[[-1024, 20, 20, 20]]]


def test_interpolation_uses_known_slices_only():
    ct = np.arange(10).reshape(10, 1, 1) * np.full((1, 2, 2), 10)
    ct[3:6] = 999  # hidden
    filled = interpolated_slices(ct, 4, 5, [(0, 3), (6, 10)])
    assert filled.tolist() == [[[40, 40], [40, 40]]]  # half-way between slices 2 and 6
    assert interpolated_slices(ct, 8, 10, [(0, 3)]).tolist() == [[[20, 20]] * 2] * 2  # one side only: repeated


def test_every_patient_is_tested_once_and_finished_runs_are_kept(tmp_path):
    cohort = tiny_cohort(tmp_path / "data", cases=4)
    cohort_cts = {case.id: case.ct for case in cohort}
    recipes = [tiny_recipe("regression", steps=4), tiny_recipe("gan", steps=2)]
    starts = {"tiny-gan": "tiny-regression"}
    splitter = by_folds(2, 0)
    for fold in (2, 1):  # as two jobs of a cluster would
        compare(recipes, cohort, tmp_path / "out", splitter, "cpu", starts, only_fold=fold)
    csv = "scores tiny-gan.csv"  # jobs at work at once do not write over each other's
    assert [(tmp_path / "out" / where / csv).exists() for where in ("fold1", "fold2", "")] == [True, True, False]
    weights = tmp_path / "out" / "fold1" / "tiny-regression" / "model" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    comparison = compare(recipes, cohort, tmp_path / "out", splitter, "cpu", starts)
    assert weights.stat().st_mtime_ns == before
    assert list(comparison.scores) == [WATER, CONSTANT, LOOKUP, "tiny-regression", "tiny-gan", FLOOR]
    for method, scores in comparison.scores.items():
        assert sorted(scores) == sorted(case.id for case in cohort), method
        assert all(math.isfinite(score.values["mae_hu"]) for score in scores.values())
    for path in (tmp_path / "out").glob("fold*/tiny-gan/test/*.nii.gz"):
        synthetic, ct = (sitk.ReadImage(str(image)) for image in (path, cohort_cts[path.name.split(".")[0]]))
        assert synthetic.GetOrigin() == pytest.approx(ct.GetOrigin()) and synthetic.GetSize() == ct.GetSize()
        assert synthetic.GetDirection() == pytest.approx(ct.GetDirection())
    assert len(list((tmp_path / "out").glob("fold*/tiny-gan/test/*.nii.gz"))) == len(cohort_cts)
    lookup = np.mean([score.values["mae_hu"] for score in comparison.scores[LOOKUP].values()])
    constant = np.mean([score.values["mae_hu"] for score in comparison.scores[CONSTANT].values()])
    assert lookup < 0.7 * constant  # a phantom's tissues differ in the MR
    water = {case: score.values["mae_hu"] for case, score in comparison.scores[WATER].items()}
    for case in cohort:
        ct, body = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (case.ct, case.mask))
        assert water[case.id] == pytest.approx(np.abs(ct[body > 0].astype(float)).mean())

    content = summary(comparison.scores, LOOKUP)
    assert content[LOOKUP]["mae_hu"]["ratio"] == 1 and content[CONSTANT]["mae_hu"]["cases"] == 4
    assert content[CONSTANT]["mae_hu"]["ratio"] == pytest.approx(constant / lookup)
    assert "| look-up |" in markdown(content, LOOKUP)
    assert content["tiny-gan"]["slice_jump"]["cases"] == 4
    taken = comparison.volume_times
    assert list(taken) == ["tiny-regression", "tiny-gan"]
    assert all(time.seconds > 0 and time.voxels == 8 * 32 * 36 and time.device == "cpu" for time in taken.values())
    table = markdown(content, LOOKUP, {"tiny-gan": VolumeTime(1.234, 2e6, "cuda:0")})
    header, *rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert header[-2:] == ["slice jump", "time per volume (s) |"]
    assert {row[0]: row[-1] for row in rows}["| tiny-gan"] == "1.2 |" and rows[0][-1] == "– |"
    assert "2e+06 voxels" in table and "cuda:0" in table
    json.dumps(content)


def test_one_patient_is_split_by_slab_and_the_trivial_answers_see_no_test_slice(tmp_path):
    tiny_cohort(tmp_path / "data", cases=1, shape=(30, 32, 36))
    cohort = read_cohort(tmp_path / "data" / "cohort.json")
    recipe = tiny_recipe("regression", steps=2, steps_per_epoch=2)
    comparison = compare([recipe], cohort, tmp_path / "out", held_out(0), "auto")
    shuffled = "tiny-regression" + SHUFFLED
    assert set(comparison.scores) == {WATER, CONSTANT, LOOKUP, INTERPOLATION, "tiny-regression", shuffled, FLOOR}
    split = json.loads((tmp_path / "out" / "fold1" / "tiny-regression" / "split.json").read_text())
    ((start, stop),) = split["slabs"]["test"]["phantom_00"]
    assert comparison.scores[LOOKUP]["phantom_00"].voxels < (stop - start) * 32 * 36


def test_comparisons_that_cannot_be_fair_are_refused(tmp_path):
    cohort = tiny_cohort(tmp_path / "data", cases=3)
    recipe = tiny_recipe()
    with pytest.raises(UserError, match="same name"):
        compare([recipe, recipe], cohort, tmp_path / "out", held_out(0))
    with pytest.raises(UserError, match="cannot start from"):
        compare([recipe], cohort, tmp_path / "out", held_out(0), starts={"tiny-regression": "another"})


@pytest.mark.parametrize("options", [["--folds", "4"], ["--folds", "0"], ["--folds", "2", "--only-fold", "3"]])
def test_folds_that_cannot_be_are_refused_before_volumes_are_prepared(tmp_path, options):
    tiny_cohort(tmp_path / "data", cases=3)
    words = ["compare", "--preset", "synthct-unet", "--cohort", str(tmp_path / "data" / "cohort.json")]
    assert main([*words, "--output", str(tmp_path / "out"), *options]) == 2
    assert not (tmp_path / "out").exists()


def test_p_values_need_six_cases():
    def scores(offset, cases):
        zeros = np.zeros((8, 8, 8))
        return {str(n): score_arrays(zeros, zeros + offset + n) for n in range(cases)}

    few = summary({LOOKUP: scores(10, 5), "net": scores(5, 5)}, LOOKUP)
    many = summary({LOOKUP: scores(10, 6), "net": scores(5, 6)}, LOOKUP)
    assert few["net"]["mae_hu"]["p_wilcoxon"] is None
    assert many["net"]["mae_hu"]["p_wilcoxon"] == pytest.approx(2 / 2**6)
    assert many["net"]["mae_hu"]["difference"] == -5
