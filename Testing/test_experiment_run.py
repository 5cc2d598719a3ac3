"""A whole experiment in child processes, killed and undisturbed: the same weights, a table, scores that rise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from experiment_parts import TRAINING, write_recipe, write_set
from safetensors.torch import load_file

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.evaluation.masks.scores import mask_scores
from synthct.evaluation.statistics.table import read_score_table
from synthct.locks import Claim
from synthct.studies.segmentation.experiment import Experiment
from synthct.studies.segmentation.recipe import load_experiment
from synthct.studies.segmentation.report import write_experiment_report
from synthct.synthesis.segment import load_segmenter, probability_image

ROOT = Path(__file__).parents[1]
ARMS = [
    {"name": "real_4", "sources": {"real": 4}},
    {"name": "tuned", "sources": {"made": 4}, "then": {"sources": {"real": 2}, "iterations": 8}, "ensemble": 1},
    {"name": "adapted", "sources": {"made": 4}, "adapt": {"target": {"real": 4}}, "ensemble": 1},
]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """Folder with the sets, the recipe and both experiments."""
    folder = tmp_path_factory.mktemp("experiment")
    write_set(folder / "real", 6, 1)
    write_set(folder / "made", 4, 2)
    training = {**TRAINING, "iterations": [8, 24], "validate_every": 6}
    recipe = write_recipe(folder, folds=2, arms=ARMS, training=training)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "Testing")]),
    }
    program = [sys.executable, str(ROOT / "Testing/experiment_lives.py"), str(recipe), str(folder), "10,40,75"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def experiment_of(lives, folder="undisturbed"):
    recipe, root = load_experiment(str(lives / "recipe.yaml"))
    return Experiment(recipe, root, lives / folder, "cpu")


def test_killed_and_resumed_is_bit_for_bit_the_same(lives):
    first, second = (lives / name for name in ("undisturbed", "killed"))
    weights = sorted(path.relative_to(first) for path in first.glob("arms/**/at_*/weights.safetensors"))
    assert len(weights) == 9  # real_4: 2 folds × 2; tuned: 2, then 1; adapted: 2
    for path in weights:
        a, b = load_file(first / path), load_file(second / path)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), path
    assert (first / "scores.csv").read_bytes() == (second / "scores.csv").read_bytes()
    assert (first / "table.md").read_bytes() == (second / "table.md").read_bytes()


def test_the_network_learns_balls(lives):
    rows = read_score_table(lives / "undisturbed/scores.csv").rows
    last = [float(row["dice_percent"]) for row in rows if row["training_set"] == "real_4" and row["iterations"] == "24"]
    assert len(last) == 2 and min(last) > 60
    assert {(row["training_set"], row["iterations"]) for row in rows} == {
        ("real_4", "8"), ("real_4", "24"), ("tuned", "24"), ("adapted", "8"), ("adapted", "24"),
    }  # fmt: skip


def test_an_ensemble_is_the_mean_of_its_folds(lives):
    run = lives / "undisturbed"
    ct = sitk.ReadImage(str(lives / "real/images/i0.nii.gz"))
    models = [load_segmenter(run / f"arms/real_4/fold{fold}/at_24") for fold in (1, 2)]
    parts = [probability_image(model, ct, torch.device("cpu")) for model in models]
    expected = (parts[0] + parts[1]) / 2 >= 0.5
    found = sitk.ReadImage(str(run / "masks/real_4/24/real0.nii.gz"))
    assert found.GetSpacing() == ct.GetSpacing()
    assert np.array_equal(sitk.GetArrayFromImage(found) > 0, expected)
    assert not all(np.array_equal(part >= 0.5, expected) for part in parts)
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(lives / "real/images/m0.nii.gz")))
    scores = mask_scores(truth, expected, ct.GetSpacing())
    row = next(
        row for row in read_score_table(run / "scores.csv").rows
        if (row["training_set"], row["iterations"], row["patient"]) == ("real_4", "24", "real0")
    )  # fmt: skip
    assert float(row["dice_percent"]) == pytest.approx(scores["dice_percent"])


def test_fine_tuning_starts_from_what_was_learned_before(lives):
    fold = lives / "undisturbed/arms/tuned/fold1"
    before, after = (load_file(fold / name / "weights.safetensors") for name in ("at_24", "then/at_8"))
    other = load_file(lives / "undisturbed/arms/real_4/fold1/at_8/weights.safetensors")
    norm = lambda a, b: sum(float((a[key] - b[key]).norm()) for key in a)  # noqa: E731
    assert 0 < norm(before, after) < norm(other, after)


def test_what_is_written_down(lives):
    run = lives / "undisturbed"
    table = json.loads((run / "table.json").read_text())
    assert table["arms"]["tuned"] == "4 made, then 2 real"
    assert table["arms"]["adapted"] == "4 made, adapted to 2 real unlabelled"
    assert table["results"]["patients with a lesion"]["patients"] == 2
    assert (run / "dice.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "report.html").read_text()
    assert "NOT CHECKED" in page and "data:image/png" in page and "real_4" in page
    cases = json.loads((run / "cases.json").read_text())
    assert cases["test"] == ["real/real0", "real/real1"]
    for folds in cases["arms"].values():
        for fold in folds:
            assert not set(fold["training"]) & set(fold["validation"])
    card = load_segmenter(run / "arms/real_4/fold1/at_24").card
    assert card["training"]["cases"] == cases["arms"]["real_4"][0]["training"]


def test_statistics_reads_the_scores(lives, tmp_path, capsys):
    words = ["--group", "training_set", "--baseline", "real_4", "--pair-by", "patient", "--where", "lesion_present=yes"]
    assert main(["statistics", "--scores", str(lives / "undisturbed/scores.csv"), *words,
                 "--score", "dice_percent", "--output", str(tmp_path / "stats.json")]) == 0  # fmt: skip
    found = json.loads((tmp_path / "stats.json").read_text())["comparisons"]
    assert {(one["group"], one["stratum"]) for one in found} >= {
        ("tuned", "iterations=24"),
        ("adapted", "iterations=24"),
    }


def test_what_another_process_holds_is_left_to_it(lives):
    experiment = experiment_of(lives, "killed")
    scores = experiment.scores_of(experiment.recipe.all_arms[2])
    content = scores.read_bytes()
    scores.unlink()
    claim = Claim(lives / "killed/scores/.adapted/lock")
    assert claim.take()
    with claim:
        assert not experiment.run() and experiment.open_arms() == ["adapted"]
    assert not experiment.run(only_arms=["real_4"])
    assert experiment.run() and scores.read_bytes() == content
    before = (lives / "killed/table.md").read_bytes()
    assert write_experiment_report(experiment).read_bytes() == before


def test_another_recipe_or_image_is_refused_in_the_same_folder(lives, tmp_path):
    recipe, root = load_experiment(str(lives / "recipe.yaml"), {"training.batch": "1"})
    with pytest.raises(UserError, match="begun with another recipe"):
        Experiment(recipe, root, lives / "undisturbed", "cpu")
    with pytest.raises(UserError, match="no arm real_5"):
        experiment_of(lives).run(only_arms=["real_5"])
    with pytest.raises(UserError, match="no fold 3"):
        experiment_of(lives).run(only_fold=3)
    (tmp_path / "note.txt").write_text("mine")
    recipe, root = load_experiment(str(lives / "recipe.yaml"))
    with pytest.raises(UserError, match="is not empty"):
        Experiment(recipe, root, tmp_path, "cpu")
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_explain_writes_a_map_beside_what_it_is_of(lives, tmp_path):
    words = ["explain", "--model", str(lives / "undisturbed/arms/real_4/fold1/at_24"), "--device", "cpu"]
    words += ["--image", str(lives / "real/images/i0.nii.gz"), "--output", str(tmp_path / "map.nii.gz")]
    assert main([*words, "--method", "grad-cam"]) == 0
    told = json.loads((tmp_path / "map.json").read_text())
    assert told["method"] == "grad-cam" and told["voxels"] > 0
    image, ct = (sitk.ReadImage(str(path)) for path in (tmp_path / "map.nii.gz", lives / "real/images/i0.nii.gz"))
    assert image.GetSize() == ct.GetSize() and image.GetSpacing() == ct.GetSpacing()
    assert sitk.GetArrayFromImage(image).max() > 0
    assert main([*words, "--method", "grad-cam"]) == 2  # nothing is replaced unasked
