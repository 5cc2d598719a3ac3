"""Jobs as detached processes: followed, cancelled with all their children, found again, and what a dead one says."""

import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from synthct.scene import jobs, launch
from synthct.scene.jobs import Job
from synthct.scene.worker import Worker

PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
from synthct.events import Events
verb, words = sys.argv[1], sys.argv[2:]
options = dict(zip(words[::2], words[1::2]))
events = Events(options["--events"])
if verb == "good":
    for done in range(4):
        events.progress(done, 3, "counting")
    events.warning("Careful.", "It is hot.")
    events.result(answer=42, cwd=os.getcwd())
elif verb == "twice":
    events.result(answer=1)
    time.sleep(0.3)
    events.result(answer=2)
elif verb == "bad":
    events.emit("error", what="No.", why="Because.", todo="Do not.", by="user")
elif verb == "dies":
    events.progress(1, 3)
    print("these are my last words", flush=True)
    os._exit(3)
else:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", stubborn])
    Path("child.pid").write_text(str(child.pid))
    events.progress(1, 3, "waiting")
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    """Let jobs run the little program above in place of the command line, which needs seconds to load torch."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    real = launch.launch
    monkeypatch.setattr(jobs, "launch", lambda words, *rest: real([str(path), *words[2:]], *rest))
    monkeypatch.setattr(jobs, "PATIENCE_S", 0.5)


def follow(job, until=lambda job: job.finished, patience_s=60):
    end = time.monotonic() + patience_s
    events = []
    while not until(job):
        assert time.monotonic() < end, (job.state, job.log.read_text())
        events += job.poll()
        time.sleep(0.02)
    return events


def test_of_several_results_the_last_counts(tmp_path):
    job = Job.start("twice", {}, tmp_path / "job", results=2)
    follow(job, lambda job: job.result is not None)
    assert job.result["answer"] == 2 or not job.finished
    again = Job.find(tmp_path / "job")
    assert again is not None
    for each in (job, again):
        follow(each)
        assert each.state == "done" and each.result["answer"] == 2


def test_a_job_from_start_to_result(tmp_path):
    job = Job.start("good", {}, tmp_path / "jöb 1")
    assert job.state == "starting"
    events = follow(job)
    assert job.state == "done" and job.result["answer"] == 42
    assert job.progress["done"] == 3 and job.warnings == ["Careful. It is hot."]
    assert [event["kind"] for event in events] == ["progress"] * 4 + ["warning", "result"]
    assert Path(job.result["cwd"]) == tmp_path / "jöb 1"
    assert job.poll() == []


def test_an_error_in_words(tmp_path):
    job = Job.start("bad", {}, tmp_path / "job")
    follow(job)
    assert job.state == "failed" and job.error["what"] == "No." and job.error["todo"] == "Do not."


def test_a_process_that_dies_leaves_its_last_words(tmp_path):
    job = Job.start("dies", {}, tmp_path / "job")
    follow(job)
    assert job.state == "failed" and "these are my last words" in job.error["why"]
    assert Job.find(tmp_path / "job").state == "lost"


def test_cancel_ends_the_whole_tree(tmp_path):
    job = Job.start("waits", {}, tmp_path / "job")
    follow(job, lambda job: job.progress is not None)
    family = [job.pid, int((tmp_path / "job/child.pid").read_text())]
    assert all(psutil.pid_exists(pid) for pid in family)
    job.cancel()
    assert job.state == "cancelling"
    job.cancel()
    follow(job)
    assert job.state == "cancelled" and job.error is None
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in family)
    job.cancel()
    assert job.state == "cancelled"


def test_cancel_before_the_process_says_anything(tmp_path):
    job = Job.start("waits", {}, tmp_path / "job")
    job.cancel()
    follow(job)
    assert job.state == "cancelled" and not psutil.pid_exists(job.pid)


def test_found_again_after_a_restart(tmp_path):
    folder = tmp_path / "job"
    job = Job.start("waits", {"planes": ["axial", "coronal"], "nothing": None}, folder)
    follow(job, lambda job: job.progress is not None)
    again = Job.find(folder)
    assert (again.pid, again.state, again.verb) == (job.pid, "running", "waits")
    assert again.options == {"planes": ["axial", "coronal"]}
    again.cancel()
    follow(again)
    assert again.state == "cancelled"
    assert Job.find(tmp_path) is None
    (folder / "job.json").write_text("{")
    assert Job.find(folder) is None


def test_a_reused_process_number_is_another_process(tmp_path):
    content = {"verb": "good", "options": {}, "pid": os.getpid(), "started": 5.0}
    content |= {"events": str(tmp_path / "e"), "log": str(tmp_path / "l")}
    (tmp_path / "job.json").write_text(json.dumps(content))
    job = Job.find(tmp_path)
    assert job.state == "lost"
    job.cancel()  # must not end this process


def test_a_leader_that_died_first_takes_its_session_with_it(tmp_path):
    """The child ignores a polite request, so the process that asked it is gone before it is."""
    job = Job.start("waits", {}, tmp_path / "job")
    follow(job, lambda job: job.progress is not None)
    child = int((tmp_path / "job/child.pid").read_text())
    job.cancel()
    time.sleep(0.2)
    follow(job)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_options_as_words():
    words = launch.arguments(
        {"model": Path("a b"), "planes": ("axial", "sagittal"), "fast": True, "off": False, "x": None}
    )
    assert words == ["--model", "a b", "--planes", "axial,sagittal", "--fast"]
    assert launch.arguments({"steps_per_epoch": 3}) == ["--steps-per-epoch", "3"]


def test_environment_and_python_of_a_job(monkeypatch):
    monkeypatch.setenv("ITK_AUTOLOAD_PATH", "/somewhere")
    monkeypatch.setenv("PYTHONPATH", "/else")
    variables = launch.environment()
    assert "ITK_AUTOLOAD_PATH" not in variables
    first, second = variables["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "synthct/errors.py").is_file() and second == "/else"
    monkeypatch.setattr(sys, "executable", "/opt/Slicer/bin/SlicerApp-real")
    monkeypatch.setattr(launch.shutil, "which", lambda name: f"/opt/Slicer/bin/{name}")
    assert launch.python() == "/opt/Slicer/bin/PythonSlicer"
    monkeypatch.setattr(launch.shutil, "which", lambda name: None)
    with pytest.raises(Exception, match="PythonSlicer"):
        launch.python()


def test_worker_is_started_once_and_again_after_a_cancel(tmp_path, monkeypatch):
    started = []

    def start(verb, options, folder, events=None):
        started.append(verb)
        return real("waits", options, folder, events)

    real = Job.start
    monkeypatch.setattr(Job, "start", start)
    worker = Worker(tmp_path)
    first = worker.submit("synthesize", {"input": tmp_path / "a.nrrd", "mask": None}, tmp_path / "one")
    second = worker.submit("synthesize", {}, tmp_path / "two")
    assert started == ["worker"] and first.pid == second.pid
    requests = [json.loads(path.read_text()) for path in (tmp_path / "requests").glob("*.json")]
    assert {
        "verb": "synthesize",
        "options": {"input": str(tmp_path / "a.nrrd")},
        "events": str(first.events),
    } in requests
    first.cancel()
    follow(first)
    third = worker.submit("synthesize", {}, tmp_path / "three")
    assert started == ["worker"] * 2 and third.pid != first.pid
    psutil.Process(third.pid).kill()  # before it said anything: another one takes over, once
    follow(third, lambda job: len(started) == 3)
    worker.stop()
    follow(third)
    assert third.state == "failed" and len(started) == 3


def test_what_a_crashed_slicer_left_is_removed_after_a_day(tmp_path):
    pytest.importorskip("slicer")
    from synthct.scene.session import remove_orphans

    old, young, mine, other = (
        tmp_path / name
        for name in ("SyntheticCT-4194301-a", "SyntheticCT-4194301-b", f"SyntheticCT-{os.getpid()}-c", "Elsewhere")
    )
    for folder in (old, young, mine, other):
        folder.mkdir()
        (folder / "input.nrrd").write_text("a patient")
    for folder in (old, mine, other):
        os.utime(folder, (1, 1))
    remove_orphans(tmp_path)
    assert [folder.exists() for folder in (old, young, mine, other)] == [False, True, True, True]
