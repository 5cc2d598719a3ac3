"""A training from cohort to model: what the run folder holds, and every refusal in words."""

import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_recipes import tiny_cohort, tiny_recipe

from synthct.data.cohort import Cohort, read_cohort
from synthct.data.split import Split, read_split
from synthct.errors import UserError
from synthct.events import Events, read_events
from synthct.locks import FolderLock
from synthct.recipe import load_recipe
from synthct.synthesis.model_file import load_model
from synthct.synthesis.translate import translate
from synthct.training import checkpoint
from synthct.training.run import resume, train
from synthct.volumes.read import read_image


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return tiny_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cohort):
    """A regression that has learned something, and the events its caller heard."""
    run = tmp_path_factory.mktemp("trained") / "run with ümlaut"
    heard = []
    recipe = tiny_recipe(steps=60, steps_per_epoch=30)
    result = train(recipe, cohort, run, device="cpu", events=Events(listener=heard.append))
    assert result == run
    return run, recipe, heard


def change(recipe, **training):
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **training))


def test_run_folder(trained, cohort):
    run, recipe, heard = trained
    assert load_recipe(run / "recipe.yaml") == recipe
    assert read_cohort(run / "cohort.json").cases == cohort.cases
    split = read_split(run / "split.json", cohort)
    assert split.training and split.validation
    assert not (run / "lock").exists()
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["epoch_0001.png", "epoch_0002.png"]
    assert any((run / "tensorboard").iterdir())
    kept = read_events(run / "events.jsonl")[0]
    assert [event["kind"] for event in kept] == [event["kind"] for event in heard]


def test_events(trained):
    run, _, heard = trained
    progress = [event for event in heard if event["kind"] == "progress" and event["task"] == "training"]
    assert progress[0]["done"] == 0 and progress[-1]["done"] == progress[-1]["total"] == 60
    assert progress[-1]["message"] == "epoch 2 of 2" and progress[-1]["eta_s"] >= 0
    losses = [event["values"]["loss/l1"] for event in heard if "loss/l1" in event.get("values", {})]
    assert losses[-1] < losses[0]
    scores = [event["values"] for event in heard if "validation/mae_hu" in event.get("values", {})]
    assert len(scores) == 2 and {*scores[0]} == {"validation/mae_hu", "validation/psnr_synthrad2023_db"}
    assert [event["step"] for event in heard if event["kind"] == "sample"] == [30, 60]
    best = min(scores, key=lambda values: values["validation/mae_hu"])["validation/mae_hu"]
    result = heard[-1]
    assert result["kind"] == "result" and result["model"] == str(run / "model") and result["best_mae_hu"] == best


def test_the_model_is_the_best_and_says_how_it_was_made(trained, cohort):
    run, _, heard = trained
    model = load_model(run)
    card = model.card
    assert card["name"] == "tiny-regression" and card["hu_range"] == [-1024, 2000] and card["in_channels"] == 3
    assert card["training"]["scores"]["mae_hu"] == pytest.approx(heard[-1]["best_mae_hu"], abs=1e-3)
    assert card["training"]["steps"] == heard[-1]["best_step"]
    assert card["statistics"]["spacing_mm"] == [[4, 4], [4, 4], [5, 5]]
    case = cohort[read_split(run / "split.json").validation[0]]
    result = translate(read_image(case.mr), model, mask=read_image(case.mask), device="cpu")
    body = sitk.GetArrayFromImage(read_image(case.mask)) > 0
    error = sitk.GetArrayFromImage(result)[body].astype(float) - sitk.GetArrayFromImage(read_image(case.ct))[body]
    assert np.abs(error).mean() == pytest.approx(card["training"]["scores"]["mae_hu"], rel=0.05)


def test_kept_weights_are_the_running_mean(trained):
    run, _, heard = trained
    if heard[-1]["best_step"] != 60:
        pytest.skip("the best model is not the last one")
    _, tensors, _ = checkpoint.load_checkpoint(run / "checkpoints")
    kept = load_model(run).network.state_dict()
    assert all(torch.equal(kept[name], tensors["ema"][name]) for name in kept)
    assert any(not torch.equal(kept[name], tensors["networks"][f"generator.{name}"]) for name in kept)


def test_resuming_a_finished_run_reports_its_result_again(trained):
    run, _, _ = trained
    before = checkpoint.read_summary(run / "checkpoints")
    assert resume(run, device="cpu") == run
    assert checkpoint.read_summary(run / "checkpoints") == before


def test_initial_model(trained, cohort, tmp_path):
    run, _, _ = trained
    recipe = tiny_recipe("gan", steps=1, steps_per_epoch=1, ema=None)
    frozen = dataclasses.replace(
        recipe, optimisers={role: {**entry, "lr": 1e-12} for role, entry in recipe.optimisers.items()}
    )
    train(frozen, cohort, tmp_path / "refined", device="cpu", initial_model=run)
    start, end = load_model(run).network, load_model(tmp_path / "refined").network
    weights = [dict(network.named_parameters()) for network in (start, end)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[0])
    assert load_model(tmp_path / "refined").card["training"]["started_from"] == "tiny-regression"
    other = dataclasses.replace(recipe, networks={**recipe.networks, "generator": {"name": "unet", "width": "4-8-16"}})
    with pytest.raises(UserError, match="cannot be the start"):
        train(other, cohort, tmp_path / "other", device="cpu", initial_model=run)
    assert not (tmp_path / "other").exists()


def test_a_run_is_never_overwritten(trained, cohort, tmp_path):
    run, recipe, _ = trained
    with pytest.raises(UserError, match="--resume"):
        train(recipe, cohort, run, device="cpu")
    own = tmp_path / "own"
    own.mkdir()
    (own / "images").symlink_to(cohort.root)
    content = b'{"cases": [{"id": "a", "mr": "images/phantom_00_MR.nii.gz", "ct": "images/phantom_00_CT.nii.gz"}]}'
    (own / "cohort.json").write_bytes(content)
    with pytest.raises(UserError, match=r"holds cohort.json"):
        train(recipe, cohort, own, device="cpu")
    assert (own / "cohort.json").read_bytes() == content


def test_a_run_that_ended_before_its_first_step_may_be_started_anew(cohort, tmp_path):
    recipe = tiny_recipe(steps=1)
    broken = dataclasses.replace(recipe, preparation=dataclasses.replace(recipe.preparation, registration="magic"))
    with pytest.raises(UserError, match="magic"):
        train(broken, cohort, tmp_path / "run", device="cpu")
    assert read_events(tmp_path / "run" / "events.jsonl")[0][-1]["kind"] == "error"
    with pytest.raises(UserError, match="magic"):
        train(broken, cohort, tmp_path / "run", device="cpu")


def test_two_runs_in_one_folder(cohort, tmp_path):
    with FolderLock(tmp_path / "run"), pytest.raises(UserError, match="in use"):
        train(tiny_recipe(), cohort, tmp_path / "run", device="cpu")


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match="nothing to resume"):
        resume(tmp_path, device="cpu")
    assert not any(tmp_path.iterdir())


def test_recipe_changed(trained, tmp_path):
    run, _, _ = trained
    text = (run / "recipe.yaml").read_text()
    try:
        (run / "recipe.yaml").write_text(text.replace("batch: 2", "batch: 3"))
        with pytest.raises(UserError, match=r"recipe of the run .* changed"):
            resume(run, device="cpu")
    finally:
        (run / "recipe.yaml").write_text(text)


def test_image_changed(cohort, tmp_path):
    own = tiny_cohort(tmp_path / "cohort", 3)
    run = train(tiny_recipe(steps=1), own, tmp_path / "run", device="cpu")
    ct = sitk.ReadImage(str(own.cases[1].ct))
    sitk.WriteImage(ct + 1, str(own.cases[1].ct))
    with pytest.raises(UserError, match="images of phantom_01"):
        resume(run, device="cpu")


def test_cohort_without_a_usable_case(cohort, tmp_path):
    excluded = Cohort(tuple(dataclasses.replace(case, excluded="bad") for case in cohort.cases), cohort.root)
    with pytest.raises(UserError, match="excluded"):
        train(tiny_recipe(), excluded, tmp_path / "run", device="cpu")
    with pytest.raises(UserError, match="left for training"):
        train(tiny_recipe(), cohort, tmp_path / "none", device="cpu", split=Split(()))


def test_without_validation_the_last_weights_are_kept(cohort, tmp_path):
    heard = []
    split = Split(training=tuple(case.id for case in cohort.cases))
    run = train(tiny_recipe(steps=2), cohort, tmp_path / "run", "cpu", Events(listener=heard.append), split=split)
    assert any(event["kind"] == "warning" and "no validation" in event["what"] for event in heard)
    assert load_model(run).card["training"]["steps"] == 2 and heard[-1]["best_mae_hu"] is None


def test_one_patient_is_split_by_slabs(tmp_path):
    cohort = tiny_cohort(tmp_path / "cohort", 1, (24, 32, 36))
    heard = []
    run = train(tiny_recipe(steps=2), cohort, tmp_path / "run", "cpu", Events(listener=heard.append))
    assert read_split(run / "split.json").slabs["validation"]
    assert any(event["kind"] == "warning" and "patients" in event["what"] for event in heard)
    assert heard[-1]["best_mae_hu"] > 0


@pytest.mark.parametrize("lr", [1e30, float("nan")])
def test_a_loss_that_is_not_a_number(cohort, tmp_path, lr):
    recipe = tiny_recipe(steps=8)
    recipe = dataclasses.replace(recipe, optimisers={"generator": {"name": "sgd", "lr": lr}})
    with pytest.raises(UserError, match="not a number any more at step"):
        train(recipe, cohort, tmp_path / "run", device="cpu")
    _, tensors, _ = checkpoint.load_checkpoint(tmp_path / "run" / "checkpoints")
    assert all(value.isfinite().all() for value in tensors["networks"].values())
    assert "lower learning rate" in read_events(tmp_path / "run" / "events.jsonl")[0][-1]["todo"]


def test_early_stopping(cohort, tmp_path):
    recipe = tiny_recipe(steps=40, steps_per_epoch=1, patience=2, ema=None)
    still = {"generator": {"name": "unet", "width": "4-8", "norm": "instance"}}
    recipe = dataclasses.replace(recipe, networks=still, optimisers={"generator": {"name": "sgd", "lr": 1e-30}})
    run = train(recipe, cohort, tmp_path / "run", device="cpu")
    standing = checkpoint.read_summary(run / "checkpoints")["standing"]
    assert standing["step"] == standing["best_step"] + 2 < 40


@pytest.mark.parametrize(
    ("key", "value"), [("batch", 0), ("steps", 0), ("seed", -1), ("ema", 1.0), ("precision", "7-bit")]
)
def test_impossible_numbers_are_named(cohort, tmp_path, key, value):
    with pytest.raises(UserError, match=f"training.{key}"):
        train(change(tiny_recipe(), **{key: value}), cohort, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_device_that_is_not_there(cohort, tmp_path):
    with pytest.raises(UserError, match="cuda:99"):
        train(tiny_recipe(), cohort, tmp_path / "run", device="cuda:99")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions(cohort, tmp_path, precision):
    run = train(tiny_recipe("gan", steps=2, precision=precision), cohort, tmp_path / "run", device="cpu")
    assert load_model(run).network.training is False
    assert json.loads((run / "model" / "model.json").read_text())["training"]["steps"] == 2


def test_batches_from_worker_processes_are_the_same(cohort, tmp_path):
    runs = [train(tiny_recipe(steps=4, workers=n), cohort, tmp_path / f"run{n}", device="cpu") for n in (0, 2)]
    weights = [checkpoint.load_checkpoint(run / "checkpoints")[1]["networks"] for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
