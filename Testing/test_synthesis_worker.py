"""The warm worker as a real child process: requests are files, one failure does not end it, and it ends by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from noise_models import model_at
from synthesis_models import WINDOW

from synthct.errors import Cancelled
from synthct.events import Events, read_events
from synthct.locks import lock_holder
from synthct.networks.registry import build_network
from synthct.synthesis import worker
from synthct.synthesis.generation.generate import generate
from synthct.synthesis.model_file import save_model

PATIENCE_S = 120


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("waited in vain")


@pytest.fixture
def model(tmp_path):
    card = {
        "name": "tiny",
        "network": {"name": "unet", "width": "4-8"},
        "in_channels": 1,
        "out_channels": 1,
        "input_scaling": WINDOW,
        "target_scaling": WINDOW,
        "size": [32, 32],
        "hu_range": [-1024, 2000],
    }
    return save_model(tmp_path / "model", build_network(card["network"], 1, 1, seed=0), card)


@pytest.fixture
def mr(tmp_path):
    path = tmp_path / "mr.nrrd"
    array = np.random.default_rng(0).integers(0, 2000, (6, 20, 24)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


class Client:
    def __init__(self, folder, *options):
        self.folder = folder
        words = [sys.executable, "-m", "synthct", "worker", "--folder", str(folder), *map(str, options)]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        until(lambda: self.state().get("state") == "ready" or self.process.poll() is not None)

    def state(self):
        try:
            return json.loads((self.folder / "state.json").read_text())
        except FileNotFoundError:
            return {}

    def send(self, verb, events=None, **options):
        name = f"{time.monotonic_ns()}.json"
        aside = self.folder / "requests" / f".{name}.part"
        aside.write_text(json.dumps({"verb": verb, "options": options, "events": events and str(events)}))
        aside.rename(self.folder / "requests" / name)

    def ask(self, verb, events: Path, **options):
        self.send(verb, events, **options)
        return until(lambda: [e for e in read_events(events)[0] if e["kind"] in ("result", "error")])[-1]


@pytest.fixture
def client(tmp_path):
    client = Client(tmp_path / "worker", "--idle", 0.3)
    yield client
    client.process.kill()
    client.process.wait()
    client.process.stderr.close()


def test_requests_errors_and_the_end(client, model, mr, tmp_path):
    assert lock_holder(client.folder)[0] == client.process.pid == client.state()["pid"]
    options = {"model": str(model), "input": str(mr), "planes": ["axial"], "device": "cpu", "mask": None}
    first = client.ask("synthesize", tmp_path / "1.jsonl", output=str(tmp_path / "1.nrrd"), **options)
    assert first["kind"] == "result" and sitk.ReadImage(first["output"]).GetSize() == (24, 20, 6)
    assert first["seconds"]["loading"] > 0
    until(lambda: client.state()["state"] == "ready" and client.state()["model"] is None)  # idle: given back

    failed = client.ask("synthesize", tmp_path / "2.jsonl", output=str(tmp_path / "1.nrrd"), **options)
    assert failed["kind"] == "error" and failed["by"] == "user" and "exists" in failed["what"]
    unknown = client.ask("synthesize", tmp_path / "3.jsonl", output=str(tmp_path / "3.nrrd"), colour="red", **options)
    assert "colour" in unknown["what"]
    assert "dance" in client.ask("dance", tmp_path / "4.jsonl")["what"]
    (client.folder / "requests" / "broken.json").write_text("{")
    (client.folder / "requests" / "list.json").write_text("[]")
    again = client.ask("synthesize", tmp_path / "5.jsonl", output=str(tmp_path / "5.nrrd"), **options)
    assert again["kind"] == "result"
    assert Path(again["output"]).read_bytes() == Path(first["output"]).read_bytes()
    assert list((client.folder / "requests").iterdir()) == []

    client.send("stop")
    assert client.process.wait(PATIENCE_S) == 0
    assert lock_holder(client.folder) is None


def test_a_place_between_two_seeds_is_that_of_the_sequence(tmp_path):
    noise = model_at(tmp_path / "model", classes=("benign", "malignant"))
    generate(noise, tmp_path / "sequence", 5, seed=3, between=8, device="cpu")
    models, heard = worker.ModelCache(), []
    options = {"model": str(noise), "seed": 3, "between": 8, "device": "cpu", "overwrite": True}
    files = {kind: str(tmp_path / f"{kind}.nrrd") for kind in ("image", "mask")}
    for number in (0, 3, 4):
        worker.run_request("generate", {**options, **files, "share": number / 4}, Events(listener=heard.append), models)
        assert heard[-1]["kind"] == "result", heard[-1]
        for kind, path in files.items():
            expected = sitk.ReadImage(str(tmp_path / f"sequence/{kind}s/pair_{number:05d}.nii.gz"))
            np.testing.assert_array_equal(*(sitk.GetArrayFromImage(each) for each in (sitk.ReadImage(path), expected)))
    loaded = models.model
    worker.run_request(
        "generate", {**options, **files, "class_name": "malignant"}, Events(listener=heard.append), models
    )
    assert heard[-1]["kind"] == "result" and models.model is loaded  # kept
    for wrong, words in [
        ({"share": 1.5}, "place between"),
        ({"seed": -1}, "seed"),
        ({"class_name": "odd"}, "no class"),
        ({"truncation": 0.5}, "truncation"),
        ({"overwrite": False}, "exists"),
        ({"colour": "red"}, "no option colour"),
        ({"image": ""}, "lacks"),
    ]:
        worker.run_request("generate", {**options, **files, **wrong}, Events(listener=heard.append), models)
        assert heard[-1]["kind"] == "error" and words in heard[-1]["what"], heard[-1]


def test_a_translating_model_makes_no_pair(model, tmp_path):
    heard = []
    options = {"model": str(model), "image": str(tmp_path / "a.nrrd"), "device": "cpu"}
    worker.run_request("generate", options, Events(listener=heard.append), worker.ModelCache())
    assert heard[-1]["kind"] == "error" and "no images from noise" in heard[-1]["what"]
    assert not (tmp_path / "a.nrrd").exists()


def test_it_ends_when_its_folder_vanishes_and_when_nothing_comes(tmp_path):
    client = Client(tmp_path / "worker")
    second = subprocess.run(
        [sys.executable, "-m", "synthct", "worker", "--folder", str(client.folder)], capture_output=True, text=True
    )
    assert second.returncode == 2 and "in use" in second.stderr
    for path in (client.folder / "requests", client.folder):
        until(lambda path=path: _emptied(path))
    assert client.process.wait(PATIENCE_S) == 0
    client.process.stderr.close()
    worker.serve(tmp_path / "short", exit_s=0.1)
    assert not (tmp_path / "short" / "lock").exists()


def _emptied(folder):
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def test_left_over_claims_are_removed_and_waiting_requests_served(tmp_path):
    requests = tmp_path / "worker" / "requests"
    requests.mkdir(parents=True)
    (requests / "old.taken").write_text("{}")
    (requests / "new.json").write_text(json.dumps({"verb": "dance", "events": str(tmp_path / "e.jsonl")}))
    worker.serve(tmp_path / "worker", exit_s=0.2)
    assert [event["kind"] for event in read_events(tmp_path / "e.jsonl")[0]] == ["started", "error"]
    assert list(requests.iterdir()) == []


def test_the_model_is_kept_until_its_file_changes_or_it_is_released(model):
    models = worker.ModelCache()
    first = models.load(model)
    assert models.load(model.parent / "model" / "model.json") is first
    (model / "model.json").touch()
    second = models.load(model)
    assert second is not first
    models.release()
    assert models.model is None and models.load(model) is not second


@pytest.mark.parametrize(("error", "stays"), [(ZeroDivisionError("x"), True), (Cancelled(), False)])
def test_an_internal_error_is_reported_and_a_cancellation_goes_on(monkeypatch, error, stays):
    def fail(model, input, output, compress, events, loader):
        raise error

    monkeypatch.setattr(worker, "synthesize_file", fail)
    seen = []
    options = {"model": "m", "input": "i", "output": "o"}
    ends = nullcontext() if stays else pytest.raises(Cancelled)
    with ends:
        worker.run_request("synthesize", options, Events(listener=seen.append), worker.ModelCache())
    assert seen[-1]["kind"] == ("error" if stays else "cancelled")
    assert seen[-1].get("by", "program") == "program"
