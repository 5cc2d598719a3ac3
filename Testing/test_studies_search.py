"""Searches of a tiny recipe: the best is chosen, every trial is done once, killed ones go on, bad ones end early."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from training_recipes import tiny_cohort, tiny_pairs, tiny_recipe

from synthct.__main__ import main
from synthct.data.cohort import read_cohort, write_cohort
from synthct.errors import UserError
from synthct.events import read_events
from synthct.locks import Claim
from synthct.recipe import load_recipe
from synthct.studies.search import Settings, search
from synthct.studies.space import Range, Values, grid_points, read_space
from synthct.synthesis.model_file import load_model
from synthct.training.checkpoint import read_summary

ROOT = Path(__file__).parents[1]
LR = "optimisers.generator.lr"
MAE = "validation/mae_hu"


@pytest.fixture(scope="module")
def cohort_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    tiny_cohort(folder)
    return folder / "cohort.json"


def recipe_file(folder: Path, **training: object) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny_recipe("regression", **training).to_dict()))
    return file


def trials(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


def validated(run: Path) -> list[float]:
    return [event["values"][MAE] for event in read_events(run / "events.jsonl")[0] if MAE in event.get("values", {})]


def test_specs_say_values_and_ranges(tmp_path):
    words = [
        "lr=1e-4,2e-4",
        "generator.name={unet, pix2pix-unet}",
        "batch=2..8",
        "beta1=0.5..0.9",
        "lr2=1e-5..1e-3:log",
    ]
    file = tmp_path / "space.yaml"
    file.write_text("size: [[32, 32], [64, 64]]\nema: {low: 0.9, high: 0.99}\nflip: true,false\n")
    space = read_space(words, file)
    assert space == {
        "lr": Values((1e-4, 2e-4)),
        "generator.name": Values(("unet", "pix2pix-unet")),
        "batch": Range(2, 8),
        "beta1": Range(0.5, 0.9),
        "lr2": Range(1e-5, 1e-3, log=True),
        "size": Values(("[32, 32]", "[64, 64]")),
        "ema": Range(0.9, 0.99),
        "flip": Values((True, False)),
    }
    assert space["batch"].whole and not space["beta1"].whole
    points = grid_points({key: space[key] for key in ("lr", "flip")})
    assert points == [{"lr": lr, "flip": flip} for lr in (1e-4, 2e-4) for flip in (True, False)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to search"),
        (["lr"], "no `=`"),
        (["lr="], "no values"),
        (["lr={}"], "no values"),
        (["lr=1..0.1"], "lower first"),
        (["lr=0..1:log"], "above 0"),
        (["lr=a..b"], "must be numbers"),
        (["lr=[1"], "cannot be read"),
        (["lr=1,2", "lr=3"], "twice"),
    ],
)
def test_specs_that_say_nothing_are_refused(words, said):
    with pytest.raises(UserError, match=said):
        read_space(words)


def test_a_grid_is_done_once_and_its_best_is_chosen(tmp_path, cohort_file, capsys):
    recipe = recipe_file(tmp_path, steps=8)
    out = tmp_path / "out"
    words = ["search", "--preset", str(recipe), "--cohort", str(cohort_file), "--output", str(out), "--device", "cpu"]
    words += ["--vary", "generator.lr=1e-6,1e-2,1e-4", "--events", str(tmp_path / "events.jsonl")]
    assert main(words) == 0
    found = trials(out)
    assert [row["state"] for row in found] == ["complete"] * 3
    assert [float(row["generator.lr"]) for row in found] == [1e-6, 1e-2, 1e-4]
    for row in found:
        assert float(row[MAE]) == min(validated(out / row["run"]))
        assert load_recipe(out / row["run"] / "recipe.yaml").optimisers["generator"]["lr"] == float(row["generator.lr"])
        assert (out / row["run"] / "split.json").read_text() == (out / "split.json").read_text()
    best = min(found, key=lambda row: float(row[MAE]))
    assert load_recipe(out / "best.yaml").optimisers["generator"]["lr"] == float(best["generator.lr"]) == 1e-2
    assert f"model: {out / best['run'] / 'model'}" in (out / "best.yaml").read_text().splitlines()[0]
    load_model(out / best["run"] / "model")
    assert (out / "table.md").read_text().splitlines()[4].startswith(f"| {best['trial']} | 0.01 |")
    assert (out / "search.png").read_bytes().startswith(b"\x89PNG")
    result = read_events(tmp_path / "events.jsonl")[0][-1]
    assert result["kind"] == "result" and result["value"] == float(best[MAE])

    before = (out / "journal.log").stat().st_size, (out / "trial_0000" / "events.jsonl").stat().st_mtime_ns
    assert main(words) == 0
    assert len(trials(out)) == 3
    assert before[1] == (out / "trial_0000" / "events.jsonl").stat().st_mtime_ns
    capsys.readouterr()
    assert main([*words, "--metric", "loss/total"]) == 2
    assert "another metric" in capsys.readouterr().err


def test_two_processes_share_a_grid_and_one_that_is_killed_loses_nothing(tmp_path, cohort_file):
    recipe = recipe_file(tmp_path, steps=16, steps_per_epoch=8)
    out = tmp_path / "out"
    words = ["-m", "synthct", "search", "--preset", str(recipe), "--cohort", str(cohort_file), "--output", str(out)]
    words += ["--vary", f"{LR}=1e-2,1e-3", "--vary", "batch=1,2", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def begin(name):
        with (tmp_path / name).open("w") as log:
            return subprocess.Popen([sys.executable, *words], env=environment, stdout=log, stderr=log)

    def holders():
        found = {}
        for file in (out / "claims").glob("[0-9]*"):
            try:
                found[int(file.name)] = json.loads(file.read_text())["pid"]
            except (ValueError, FileNotFoundError):
                continue
        return found

    processes = [begin("first.log"), begin("second.log")]
    began, seen = time.time(), {}
    victim = None
    while victim is None:  # until both have begun a trial, and the first one's has a checkpoint behind its start
        assert time.time() < began + 120, (tmp_path / "first.log").read_text()
        now = holders()
        seen |= now
        mine = [number for number, pid in now.items() if pid == processes[0].pid]
        if len(set(seen.values())) == 2 and mine:
            summary = read_summary(out / f"trial_{mine[0]:04d}" / "checkpoints")
            if summary is not None and summary["standing"]["step"] >= 8:
                victim = mine[0]
                processes[0].send_signal(signal.SIGKILL)
        time.sleep(0.02)
    processes[0].wait()
    assert processes[1].wait(timeout=200) == 0, (tmp_path / "second.log").read_text()
    found = trials(out)
    assert [row["state"] for row in found] == ["complete"] * 4
    assert len({(row[LR], row["batch"]) for row in found}) == 4
    resumed = validated(out / f"trial_{victim:04d}")
    assert len(resumed) == 2 and float(found[victim][MAE]) == min(resumed)
    for row in found:
        events = read_events(out / row["run"] / "events.jsonl")[0]
        steps = [event["step"] for event in events if MAE in event.get("values", {})]
        assert steps == [8, 16], "a trial was trained twice, or not to its end"
    assert not holders()


def test_bad_trials_end_early(tmp_path, cohort_file):
    recipe = recipe_file(tmp_path, steps=4, steps_per_epoch=2, ema=None)
    out = tmp_path / "out"
    space = {LR: Values((1e-2, 2e-2, 5e-3, 300.0, 1e38))}
    outcomes = search(recipe, {}, space, read_cohort(cohort_file), out, Settings(pruner="median"), "cpu")
    assert [outcome.state for outcome in outcomes] == ["complete"] * 3 + ["pruned"] * 2
    assert outcomes[3].why == "pruned" and len(validated(outcomes[3].run)) == 1
    standing = read_summary(outcomes[3].run / "checkpoints")["standing"]
    assert standing["epoch_ended"] == standing["step"] == 2 * len(validated(outcomes[3].run))
    assert outcomes[4].why.startswith("diverged") and outcomes[4].value is None
    assert (out / "best.yaml").is_file() and "diverged" in (out / "table.md").read_text()


def test_ranges_in_a_database_go_on_where_they_were(tmp_path, cohort_file):
    recipe = recipe_file(tmp_path, steps=2, steps_per_epoch=2)
    out, storage = tmp_path / "out", f"sqlite:///{tmp_path / 'trials.db'}"
    words = ["search", "--preset", str(recipe), "--cohort", str(cohort_file), "--output", str(out), "--device", "cpu"]
    words += ["--vary", f"{LR}=1e-4..1e-2:log", "--vary", "generator.width={4-8,6-8}", "--vary", "batch=1..2"]
    words += ["--storage", storage, "--seed", "5"]
    assert main([*words, "--trials", "1"]) == 0
    first = trials(out)
    assert main([*words, "--trials", "2"]) == 0
    again = trials(out)
    assert len(first) == 1 and again[:1] == first and len(again) == 2
    assert len({row[LR] for row in again}) == 2
    for row in again:
        recipe = load_recipe(out / row["run"] / "recipe.yaml")
        assert 1e-4 <= recipe.optimisers["generator"]["lr"] == float(row[LR]) <= 1e-2
        assert recipe.networks["generator"]["width"] == row["generator.width"] in ("4-8", "6-8")
        assert recipe.training.batch == int(row["batch"]) and recipe.training.seed == 5


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--vary", "learning_rate=1,2"], "no recipe key `learning_rate`"),
        (["--vary", "training.batch=2,many"], "`training.batch`"),
        (["--vary", "preparation.bias_correction=true,false"], "other volumes"),
        (["--vary", f"{LR}=1e-4..1e-2", "--sampler", "grid"], "no values for"),
        (["--vary", f"{LR}=1,2", "--trials", "3"], "as many trials as it has points"),
        (["--vary", "generator.width=none-such"], "No trial of the search"),
        (["--vary", f"{LR}=1e-3", "--metric", "validation/fid"], "validation/mae_hu"),
        (["--vary", f"{LR}=1e-3", "--metric", "fid"], "They report"),
        (["--vary", f"{LR}=1e-3", "--storage", "nosuchdb://x"], "cannot be opened"),
        ([], "nothing to search"),
    ],
)
def test_what_cannot_be_searched_is_said(tmp_path, cohort_file, capsys, more, said):
    recipe = recipe_file(tmp_path, steps=2, steps_per_epoch=2)
    words = ["search", "--preset", str(recipe), "--cohort", str(cohort_file), "--output", str(tmp_path / "out")]
    assert main([*words, "--device", "cpu", *more]) == 2
    assert said in capsys.readouterr().err


def test_without_optuna_the_verb_says_what_to_install(tmp_path, cohort_file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "synthct.studies.search")
    words = ["search", "--preset", "synthct-unet", "--cohort", str(cohort_file), "--output", str(tmp_path / "out")]
    assert main([*words, "--vary", "batch=1,2"]) == 2
    assert "pip install optuna" in capsys.readouterr().err


def test_a_claim_is_taken_over_from_the_dead_alone(tmp_path):
    first, second = Claim(tmp_path / "claim"), Claim(tmp_path / "claim")
    assert first.take() and not second.take()
    first.release()
    assert second.take() and not first.take()
    second.release()
    other = json.dumps({"host": "another-machine", "pid": 1, "started": 0.0, "token": ""})
    (tmp_path / "claim").write_text(other)
    assert not first.take()  # it has just given a sign of life
    old = time.time() - 1000
    os.utime(tmp_path / "claim", (old, old))
    assert first.take()
    assert [file.name for file in tmp_path.iterdir()] == ["claim"]
    first.release()


def test_a_search_from_noise_is_chosen_by_the_statistics_distance(tmp_path, capsys):
    """Row C10, small: the score of translations is not asked for."""
    cohort = tmp_path / "pairs" / "cohort.json"
    write_cohort(tiny_pairs(tmp_path / "pairs", cases=4, shape=(12, 16, 16)), cohort)
    words = ["search", "--preset", "oslo-wgan-clip-3d", "--cohort", str(cohort), "--output", str(tmp_path / "search")]
    words += ["--vary", "optimisers.generator.lr=1e-4,4e-4", "--data.size", "12,12,12", "--data.fit", "resize"]
    words += ["--preparation.spacing", "null", "--training.steps", "2", "--training.steps_per_epoch", "2"]
    words += ["--networks.generator.filters", "2-4", "--networks.critic.filters", "2-4", "--device", "cpu"]
    assert main(words) == 0
    assert "statistics_distance" in (tmp_path / "search" / "table.md").read_text(encoding="utf-8")
    assert "The best recipe is" in capsys.readouterr().out
