"""Warnings of collapse: silent while a training learns, in words when it does not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_recipes import tiny_cohort, tiny_recipe

from synthct.events import Events, read_events
from synthct.methods.gan import GAN
from synthct.networks.unet import UNet
from synthct.training import watch
from synthct.training.curves import Curves
from synthct.training.plan import Plan
from synthct.training.reporting import Report
from synthct.training.run import resume, train
from synthct.training.watch import Watch, are_alike, diversity, is_worsening


def causes(watching, series):
    """The step and cause of everything said about a series of (step, values)."""
    return [(step, trouble.cause) for step, values in series for trouble in watching.add(step, values)]


def pairs(losses):
    return [(step, {"loss/d_real": loss / 2, "loss/d_synthetic": loss / 2}) for step, loss in enumerate(losses, 1)]


def test_a_discriminator_that_wins_is_named_once_until_it_loses():
    random = np.random.default_rng(0)
    healthy = random.uniform(0.2, 1.2, 1000)
    assert not causes(Watch(), pairs(healthy))
    said = causes(Watch(), pairs([*healthy, *[0.0] * 1500, *healthy, *[0.001] * 1500]))
    assert [cause for _, cause in said] == ["discriminator", "discriminator"]
    assert 1000 + watch.WON_STEPS < said[0][0] < 1000 + 3 * watch.WON_STEPS and said[1][0] > 3500


def test_a_short_lead_is_not_told():
    assert not causes(Watch(), pairs([*[1.0] * 200, *[0.0] * 250, *[1.0] * 200]))
    assert not causes(Watch(), pairs([0.0] * 250))


def test_reports_every_few_steps_say_the_same():
    series = [(step, values) for step, values in pairs([1.0] * 100 + [0.0] * 1400) if step % 50 == 0]
    assert [cause for _, cause in causes(Watch(), series)] == ["discriminator"]


def test_each_discriminator_of_a_cyclegan_is_judged_by_itself():
    watching = Watch()
    said = [watching.add(step, {"loss/d_ct": 0.001, "loss/d_input": 0.2, "loss/g_ct": 0.9}) for step in range(400)]
    (trouble,) = [trouble for told in said for trouble in told]
    assert "discriminator of the CT has won" in trouble.what and "learning rate" in trouble.todo


def test_a_flat_critic():
    flat = [(step, {"loss/critic": 0.0, "loss/penalty": 0.999}) for step in range(400)]
    alive = [(step, {"loss/critic": -0.3, "loss/penalty": 0.08}) for step in range(400)]
    assert [cause for _, cause in causes(Watch(), flat)] == ["critic"] and not causes(Watch(), alive)


@pytest.mark.parametrize(
    ("scores", "worse"),
    [
        ([200, 150, 120, 100, 95, 92, 91, 90, 90.5, 90.2, 90.1], False),  # learns, then rests
        ([100, 90, 95, 99, 104, 110, 108], True),
        ([100, 90, 95, 99, 104], False),  # not for long enough
        ([100, 90, 92, 93, 92, 93, 92], False),  # hardly worse
        ([100, 80, 130, 70, 120, 60, 110, 50, 100, 40], False),  # restless, but better and better
        ([], False),
    ],
)
def test_worsening(scores, worse):
    assert is_worsening(scores) == worse


def test_worsening_is_said_again_only_after_it_was_better():
    scores = [100, 90, 110, 110, 110, 110, 110, 110, 80, 100, 100, 100, 100, 100]
    said = causes(Watch(), [(n, {"validation/mae_hu": score}) for n, score in enumerate(scores)])
    assert [step for step, _ in said] == [6, 13]


def test_diversity_by_hand():
    masks = np.ones((2, 1, 3))
    masks[1, 0, 2] = 0  # the third voxel lies outside one of the bodies
    targets = np.array([[[0.0, 10.0, 500.0]], [[20.0, 10.0, -500.0]]])
    outputs = np.array([[[0.0, 4.0, 0.0]], [[10.0, 4.0, 0.0]]])
    assert diversity(outputs, targets, masks) == pytest.approx(0.5)
    assert diversity(np.zeros_like(targets), targets, masks) == 0
    assert diversity(targets, targets, masks) == 1
    assert diversity(outputs[:1], targets[:1], masks[:1]) is None
    assert diversity(outputs, targets, 0 * masks) is None
    assert diversity(outputs, 0 * targets, masks) is None


def test_alike():
    assert are_alike([0.8, 0.05, 0.01]) and not are_alike([0.05]) and not are_alike([0.05, 0.2])


def warnings(run: Path):
    return [event["what"] for event in read_events(run / "events.jsonl")[0] if event["kind"] == "warning"]


def test_a_healthy_regression_hears_nothing(tmp_path):
    cohort = tiny_cohort(tmp_path / "cohort")
    run = train(tiny_recipe(steps=160, steps_per_epoch=20), cohort, tmp_path / "run", device="cpu")
    assert warnings(run) == []
    events = read_events(run / "events.jsonl")[0]
    shares = [e["values"]["samples/diversity"] for e in events if "samples/diversity" in e.get("values", {})]
    assert len(shares) == 8 and min(shares[1:]) > watch.ALIKE
    memory = [event["memory_mb"] for event in events if event["kind"] == "progress" and event["task"] == "training"]
    assert all(value > 50 for value in memory) and memory == sorted(memory)


def test_a_generator_that_gives_a_constant_is_told_once(tmp_path, monkeypatch):
    forward = UNet.forward
    monkeypatch.setattr(UNet, "forward", lambda self, x: 0 * forward(self, x))
    cohort = tiny_cohort(tmp_path / "cohort")
    recipe = tiny_recipe("gan", steps=8, steps_per_epoch=2)
    run = train(recipe, cohort, tmp_path / "run", device="cpu")
    assert [what for what in warnings(run) if "mode collapse" in what] == warnings(run) and len(warnings(run)) == 1


def test_a_discriminator_that_wins_in_a_training_is_told_and_remembered(tmp_path, monkeypatch):
    step = GAN.training_step

    def won(self, batch, update, progress):
        losses = step(self, batch, update, progress)
        return {**losses, "d_real": torch.tensor(0.001), "d_synthetic": torch.tensor(0.001)}

    monkeypatch.setattr(GAN, "training_step", won)
    monkeypatch.setattr(watch, "WON_STEPS", 6)
    monkeypatch.setattr("synthct.training.reporting.SHORTEST_S", 0.0)
    cohort = tiny_cohort(tmp_path / "cohort")
    recipe = tiny_recipe("gan", steps=12, steps_per_epoch=12)
    run = train(recipe, cohort, tmp_path / "run", device="cpu")
    assert len([what for what in warnings(run) if "discriminator has won" in what]) == 1
    resume(run, device="cpu")
    assert len(warnings(run)) == 1


def test_what_was_said_before_is_remembered_on_resuming(tmp_path):
    own = Events(tmp_path / "events.jsonl")
    for step, score in enumerate([1, 2, 2, 2, 2, 2], 1):
        own.metrics(step, {"validation/mae_hu": score, "loss/l1": 8.0})

    class Drawn(Curves):
        def add(self, step, values):
            drawn.append(values)

    heard, drawn = [], []
    curves = Drawn(tmp_path / "tensorboard")
    report = Report(Events(listener=heard.append), curves, Plan(10, 5, ()), tmp_path, torch.device("cpu"))
    report.begin(6)
    report.scalars(7, {"validation/mae_hu": 2.0, "loss/l1": 1.0})
    assert not [event for event in heard if event["kind"] == "warning"]
    assert drawn == [{"validation/mae_hu": 2.0, "loss/l1": 1.0, "loss_ema/l1": pytest.approx(7.0, abs=0.01)}]
