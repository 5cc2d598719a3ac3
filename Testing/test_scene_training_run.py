"""A run folder as Slicer reads it: events taken back, last words, runs that were moved or left by a dead process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from synthct.events import Events
from synthct.scene.training.run import TrainingRun


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("recipe.yaml", "cohort.json"):
        (folder / name).write_text("{}")
    return folder


def report(folder, steps, loss=1.0):
    events = Events(folder / "events.jsonl")
    for step in steps:
        events.metrics(step, {"loss/mae": loss * step, "learning_rate": 1e-3})
        events.emit("progress", task="training", done=step, total=50, message="epoch 1 of 2", memory_mb=100 + step)
    return events


def test_curves_progress_and_warnings_grow_with_the_file(run):
    report(run, range(1, 4)).warning("The loss grows.", "Why.", "Do this.")
    followed = TrainingRun(run)
    assert followed.step == 3 and followed.memory_mb == 103 and followed.state == "paused"
    report(run, range(4, 6)).warning("The loss grows.", "Why.", "Do this.")
    followed.poll()
    assert list(followed.curves) == ["loss/mae"] and followed.curves["loss/mae"].steps == [1, 2, 3, 4, 5]
    assert followed.curves["loss/mae"].values == [1, 2, 3, 4, 5] and followed.step == 5
    assert followed.warnings == ["The loss grows. Why. Do this."]


@pytest.mark.parametrize("more", [1, 40])
def test_events_taken_back_are_forgotten_whether_the_file_is_shorter_or_longer_than_before(run, more):
    report(run, range(1, 4))
    size = (run / "events.jsonl").stat().st_size
    report(run, range(4, 8)).emit("cancelled")
    followed = TrainingRun(run)
    assert followed.curves["loss/mae"].steps[-1] == 7
    with open(run / "events.jsonl", "r+b") as file:
        file.truncate(size)
    report(run, range(4, 4 + more), loss=2.0)
    followed.poll()
    curve = followed.curves["loss/mae"]
    assert curve.steps == list(range(1, 4 + more)) and curve.values[:4] == [1, 2, 3, 8]


def test_a_line_that_is_being_written_is_waited_for(run):
    report(run, range(1, 3))
    whole = (run / "events.jsonl").read_bytes()
    (run / "events.jsonl").write_bytes(whole[:-20])
    followed = TrainingRun(run)
    assert followed.step == 1
    (run / "events.jsonl").write_bytes(whole)
    followed.poll()
    assert followed.step == 2 and followed.curves["loss/mae"].steps == [1, 2]


def test_last_words(run):
    events = report(run, range(1, 3))
    events.result(model=str(run / "model"), steps=2, best_mae_hu=50.0, best_step=2)
    assert TrainingRun(run).state == "done" and TrainingRun(run).result["best_mae_hu"] == 50.0
    events.emit("error", what="The disk is full.", why="Why.", todo="Free some.")
    failed = TrainingRun(run)
    assert failed.state == "failed" and failed.error.what == "The disk is full." and failed.resumable
    events.emit("cancelled")
    assert TrainingRun(run).state == "paused"


def test_a_process_that_died_without_a_word_is_said_and_an_older_word_is_not_its(run):
    report(run, range(1, 3)).emit("cancelled")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    job = {"verb": "train", "options": {}, "pid": dead.pid, "started": 4e9, "log": "log.txt"}
    (run / "job.json").write_text(json.dumps(job | {"events": str(run / "events.jsonl")}))
    followed = TrainingRun(run)
    assert followed.state == "failed" and "without a word" in followed.error.what
    assert "Resume" in followed.error.todo


def test_a_run_that_was_moved_still_shows_its_picture_and_model(run):
    events = report(run, [1])
    (run / "samples").mkdir()
    (run / "samples/epoch_0001.png").write_bytes(b"")
    events.sample(Path("/elsewhere/samples/epoch_0001.png"), 1)
    (run / "model").mkdir()
    assert TrainingRun(run).sample == run / "samples/epoch_0001.png" and TrainingRun(run).model is None
    (run / "model/model.json").write_text("{}")
    assert TrainingRun(run).model == run / "model"


def test_folders_that_hold_no_run_are_empty(tmp_path):
    assert TrainingRun(tmp_path / "none").state == "empty" and not (tmp_path / "none").exists()
    (tmp_path / "events.jsonl").write_bytes(b"no json\n\xff\xfe\n[1]\n")
    assert TrainingRun(tmp_path).state == "empty" and TrainingRun(tmp_path).step == 0
