"""The dry run: what a recipe needs on this machine, measured, and said where it cannot be had."""

import json
import subprocess
import sys

import pytest
import yaml
from training_recipes import tiny_recipe

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.events import Events, read_events
from synthct.methods.registry import build_method
from synthct.recipe import load_recipe
from synthct.training import dry_run
from synthct.training.dry_run import DryRun, measure


@pytest.mark.parametrize("method", ["regression", "gan", "cyclegan"])
def test_measures_what_a_training_does(method):
    heard = []
    recipe = tiny_recipe(method)
    found = measure(recipe, "cpu", steps=2, events=Events(listener=heard.append))
    networks = build_method(recipe).networks
    assert found.parameters == sum(weight.numel() for weight in networks.parameters())
    assert found.seconds_per_step > 0 and found.device == "cpu" and found.steps == 12
    assert [event["done"] for event in heard] == [0, 1, 2, 3]


def test_memory_grows_with_the_network():
    small, large = ("synthct-unet", {"batch": "1"}), ("synthct-unet", {"batch": "1", "generator.width": "64-128-256"})
    peaks = [measure(load_recipe(name, keys), "cpu", steps=1).peak_memory_mb for name, keys in (small, large)]
    assert peaks[1] > peaks[0] > 1


def test_networks_that_take_turns_are_timed_over_a_whole_round(monkeypatch):
    recipe = load_recipe("umea-wgan", {"batch": "1", "size": "32,32", "generator.width": "2", "critic.width": "2"})
    assert build_method(recipe).cycle == 4
    seconds = [9.0, 1.0, 1.0, 1.0, 5.0]
    monkeypatch.setattr(dry_run, "_timed", lambda *_: [seconds.pop(0)])
    found = measure(recipe, "cpu", steps=3)
    assert not seconds and found.seconds_per_step == 2.0 and found.steps is None


def test_a_long_first_step_is_not_the_one_measured(monkeypatch):
    seconds = [50.0, 2.0, 3.0, 4.0]  # the first starts the data processes
    monkeypatch.setattr(dry_run, "_timed", lambda *_: [seconds.pop(0)])
    heard = []
    found = measure(tiny_recipe(), "cpu", events=Events(listener=heard.append))
    assert [event["done"] for event in heard] == [0, 1, 4] and found.seconds_per_step == 2.0


def test_command(tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe().to_dict()))
    events = tmp_path / "events.jsonl"
    words = ["train", "--preset", str(recipe), "--dry-run", "--device", "cpu", "--batch", "1", "--steps", "7"]
    assert main([*words, "--events", str(events)]) == 0
    result = read_events(events)[0][-1]
    assert result["kind"] == "result" and result["steps"] == 7
    assert {*result} >= {"seconds_per_step", "peak_memory_mb", "parameters", "device"}
    assert "s a step" in capsys.readouterr().out and sorted(p.name for p in tmp_path.iterdir()) == [
        "events.jsonl",
        "mine.yaml",
    ]
    assert main([*words, "--batch", "x"]) == 2


def test_said_in_words():
    found = DryRun(0.4, 1234.5, 2_000_000, "cpu", 1500)
    assert found.words() == "about 0.4 s a step, 1.2 GB, 2 M parameters, 1500 steps: 10 min 00 s on cpu"
    assert "depends on the cohort" in DryRun(0.4, 12, 2, "cpu", None).words()


def test_too_little_memory_is_said_in_words():
    program = (
        "import resource, sys, psutil, torch, synthct.training.dry_run\n"
        "from synthct.__main__ import main\n"
        "limit = psutil.Process().memory_info().vms + 400_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    if sys.platform != "linux":
        pytest.skip("memory is limited by RLIMIT_AS")
    words = ["train", "--preset", "synthct-unet", "--dry-run", "--device", "cpu", "--generator.width", "999-2000-4000"]
    done = subprocess.run([sys.executable, "-c", program, *words, "--events"], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    error = json.loads(done.stdout.splitlines()[-1])
    assert "does not fit into the memory of cpu" in error["what"] and "`training.batch` (now 8)" in error["todo"]


def test_needs_a_recipe():
    assert main(["train", "--dry-run"]) == 2
    with pytest.raises(UserError, match="cuda:99"):
        measure(tiny_recipe(), "cuda:99")
