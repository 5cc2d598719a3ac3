"""A whole cohort translated: by one process or two that share it, resumed, and not ended by one broken case."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import write_phantom_cohort
from synthesis_models import centre_model

from synthct.__main__ import main
from synthct.data.cohort import read_cohort
from synthct.errors import Cancelled, UserError
from synthct.events import Events, read_events
from synthct.networks.registry import build_network
from synthct.synthesis.cohort_synthesis import synthesize_cohort
from synthct.synthesis.model_file import save_model
from synthct.synthesis.rank import Rank, own_rank

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cohort(tmp_path):
    return read_cohort(write_phantom_cohort(tmp_path / "cohort", 5, (8, 32, 36)))


def model_at(folder):
    """A model on disk with random weights."""
    card = centre_model().card
    network = {"name": "unet", "width": "4-8"}
    save_model(folder, build_network(network, 1, 1, seed=0), {**card, "network": network, "body_only": False})
    return folder


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_every_case_once_and_finished_ones_are_kept(cohort, tmp_path):
    out = tmp_path / "out"
    model = model_at(tmp_path / "model")
    assert synthesize_cohort(model, cohort, out, device="cpu") == out / "manifest.json"
    found = manifest(out)
    assert [case["case"] for case in found["cases"]] == [case.id for case in cohort]
    assert found["model"]["weights_sha256"] == json.loads((model / "model.json").read_text())["weights_sha256"]
    assert {case["state"] for case in found["cases"]} == {"done"}
    for case in cohort:
        result = sitk.ReadImage(str(out / f"{case.id}.nii.gz"))
        assert result.GetSize() == sitk.ReadImage(str(case.mr)).GetSize()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    (out / "phantom_02.nii.gz").unlink()
    heard = []
    synthesize_cohort(model, cohort, out, device="cpu", events=Events(listener=heard.append))
    assert [event["message"] for event in heard if event.get("task") == "cases"] == ["phantom_02", ""]
    changed = {path.name for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert changed == {"phantom_02.nii.gz"}


def test_what_another_model_made_is_not_mixed_nor_replaced(cohort, tmp_path):
    out = tmp_path / "out"
    synthesize_cohort(centre_model(), cohort, out, device="cpu")
    with pytest.raises(UserError, match="another model"):
        synthesize_cohort(centre_model(weights_sha256="x"), cohort, out, device="cpu")
    (out / "records" / "phantom_01.json").unlink()
    with pytest.raises(UserError, match=r"phantom_01\. They were not made"):
        synthesize_cohort(centre_model(), cohort, out, device="cpu")
    synthesize_cohort(centre_model(weights_sha256="x"), cohort, out, device="cpu", overwrite=True)
    assert manifest(out)["model"]["weights_sha256"] == "x"


def test_a_broken_case_does_not_end_the_others(cohort, tmp_path, capsys):
    broken = cohort.cases[1].mr
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    model, out, events = model_at(tmp_path / "model"), tmp_path / "out", tmp_path / "events.jsonl"
    words = ["synthesize", "--model", str(model), "--cohort", str(cohort.root), "--output", str(out)]
    words += ["--device", "cpu", "--events", str(events)]
    assert main(words) == 2
    error = read_events(events)[0][-1]
    assert error["what"] == "1 of 5 cases could not be translated." and "phantom_01: " in error["why"]
    assert broken.name in error["why"]
    states = {case["case"]: case["state"] for case in manifest(out)["cases"]}
    assert states.pop("phantom_01") == "failed" and set(states.values()) == {"done"}
    broken.write_bytes(whole)
    assert main(words) == 0 and "manifest.json lists them" in capsys.readouterr().out
    assert {case["state"] for case in manifest(out)["cases"]} == {"done"}


def test_an_interrupted_one_goes_on(cohort, tmp_path):
    out = tmp_path / "out"

    def stop(event):
        if event.get("message") == "phantom_03":
            raise Cancelled

    with pytest.raises(Cancelled):
        synthesize_cohort(centre_model(), cohort, out, device="cpu", events=Events(listener=stop))
    assert sorted(path.name for path in out.glob("*.nii.gz")) == [f"phantom_0{n}.nii.gz" for n in range(3)]
    assert not (out / "manifest.json").exists()
    record = out / "records" / "phantom_02.json"  # as if it had ended between the file and its record
    record.write_text(json.dumps({**json.loads(record.read_text()), "state": "begun"}))
    synthesize_cohort(centre_model(), cohort, out, device="cpu")
    assert len(manifest(out)["cases"]) == 5


def test_two_processes_do_the_whole_and_nothing_twice(cohort, tmp_path):
    model, out = model_at(tmp_path / "model"), tmp_path / "out"
    words = ["synthesize", "--model", str(model), "--cohort", str(cohort.root), "--output", str(out)]
    started = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **os.environ}
    torchrun = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "synthct", *words, "--device", "cpu", "--events", str(tmp_path / f"{rank}.jsonl")],
            env={**started, **torchrun, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    done = [
        [event["message"] for event in read_events(tmp_path / f"{rank}.jsonl")[0] if event.get("task") == "cases"][:-1]
        for rank in range(2)
    ]
    assert done == [["phantom_00", "phantom_02", "phantom_04"], ["phantom_01", "phantom_03"]]
    assert [case["case"] for case in manifest(out)["cases"]] == [case.id for case in cohort]
    alone = tmp_path / "alone"
    synthesize_cohort(model, cohort, alone, device="cpu")
    for case in cohort:
        arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(at / f"{case.id}.nii.gz"))) for at in (out, alone)]
        assert np.abs(arrays[0].astype(int) - arrays[1]).max() <= 1


def test_the_manifest_waits_for_the_last(cohort, tmp_path):
    for number in (1, 0):
        assert not (tmp_path / "out" / "manifest.json").exists()
        synthesize_cohort(centre_model(), cohort, tmp_path / "out", device="cpu", rank=Rank(number, 2, number, 2))
    assert len(manifest(tmp_path / "out")["cases"]) == 5


def test_results_of_an_earlier_model_are_not_called_the_new_ones(cohort, tmp_path):
    first, second = (centre_model(weights_sha256=letter * 64) for letter in "ab")
    synthesize_cohort(first, cohort, tmp_path / "out", device="cpu")
    for number, letter in enumerate("ab"):
        rank = Rank(number, 2, number, 2)
        synthesize_cohort(second, cohort, tmp_path / "out", device="cpu", overwrite=True, rank=rank)
        assert manifest(tmp_path / "out")["model"]["weights_sha256"] == letter * 64


def test_options_that_mean_one_image_are_refused(cohort, tmp_path):
    with pytest.raises(UserError, match="cannot be that of every case"):
        synthesize_cohort(centre_model(), cohort, tmp_path / "out", mask="mask.nii.gz")
    words = ["--model", "m", "--cohort", str(cohort.root), "--output", str(tmp_path / "out")]
    assert main(["synthesize", *words, "--series", "1.2"]) == 2
    with pytest.raises(SystemExit):
        main(["synthesize", *words, "--input", "mr.nii.gz"])
    assert not (tmp_path / "out").exists()


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1", "SLURM_NNODES": "2", "SLURM_NODEID": "1"}


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, Rank(0, 1, 0, 1)),
        (TORCHRUN, Rank(3, 4, 1, 2)),
        (SRUN, Rank(3, 4, 1, 2)),
        ({**SRUN, "SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0"}, Rank(3, 4, 1, 2)),
        ({**SRUN, "SLURM_JOB_ID": "9"}, Rank()),  # the batch script itself, not srun
        ({**SRUN, "SLURM_JOB_NAME": "interactive"}, Rank()),
        ({**SRUN, **TORCHRUN, "RANK": "2", "LOCAL_RANK": "0"}, Rank(2, 4, 0, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, Rank()),
        ({**SRUN, "SLURM_NTASKS": "5", "SLURM_PROCID": "2", "SLURM_LOCALID": "2"}, Rank(2, 5, 2, 3)),  # 3 and 2
        ({**SRUN, "SLURM_NTASKS": "5", "SLURM_LOCALID": "3"}, Rank(3, 5, 3, 4)),  # 4 and 1
    ],
)
def test_ranks(environment, rank):
    assert own_rank(environment) == rank


def test_ranks_that_make_no_sense():
    with pytest.raises(UserError, match="RANK=5"):
        own_rank({**TORCHRUN, "RANK": "5"})
    with pytest.raises(UserError, match="cannot be read"):
        own_rank({**TORCHRUN, "RANK": "five"})


def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    from synthct.synthesis import cohort_synthesis

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cohort_synthesis, "choose_device", torch.device)
    devices = [cohort_synthesis.own_device("auto", Rank(n, 6, n % 3, 3)) for n in range(6)]
    assert [device.index for device in devices] == [0, 1, 0, 0, 1, 0]
    assert cohort_synthesis.own_device("cpu", Rank(1, 2, 1, 2)).type == "cpu"
