"""The command line as a user calls it: in a child process, exit codes and messages included."""

import errno
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.__main__ import main
from synthct.commands.recipe_options import overrides_from
from synthct.errors import UserError


def synthct(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "synthct", *map(str, words)], capture_output=True, text=True, timeout=120, **options
    )


@pytest.fixture
def pair(tmp_path):
    random = np.random.default_rng(0)
    reference = random.normal(0, 300, (12, 16, 18)).astype(np.int16)
    for name, array in (("ct", reference), ("sct", reference + 10), ("mask", np.ones_like(reference))):
        image = sitk.GetImageFromArray(array.astype(np.int16))
        image.SetSpacing((1.5, 1.5, 3))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    return tmp_path


def test_evaluate_writes_scores_with_definitions(pair):
    words = ("evaluate", "--reference", pair / "ct.nii.gz", "--synthetic", pair / "sct.nii.gz", "--mask")
    answer = synthct(*words, pair / "mask.nii.gz", "--output", pair / "scores.json", "--csv", pair / "scores.csv")
    assert answer.returncode == 0, answer.stderr
    scores = json.loads((pair / "scores.json").read_text())
    assert scores["mae_hu"] == 10 and scores["me_hu"] == 10
    for name in [
        "psnr_2500_db",
        "psnr_synthrad2023_db",
        "psnr_synthrad2025_db",
        "ssim_synthrad2023",
        "msssim_synthrad2025",
        "dice_bone",
        "dice_air",
    ]:
        assert isinstance(scores[name], float), name
        assert "inside the mask" in scores["definitions"][name]
    assert (pair / "scores.csv").read_text().count("\n") == 2


def test_nothing_is_overwritten_unasked(pair):
    (pair / "scores.json").write_text("precious")
    words = ("evaluate", "--reference", pair / "ct.nii.gz", "--synthetic", pair / "sct.nii.gz", "--output")
    answer = synthct(*words, pair / "scores.json")
    assert answer.returncode == 2 and "exists" in answer.stderr
    assert (pair / "scores.json").read_text() == "precious"
    assert synthct(*words, pair / "scores.json", "--overwrite").returncode == 0


def test_a_user_error_is_one_paragraph_without_traceback(pair):
    words = ("evaluate", "--reference", pair / "none.nii.gz", "--synthetic", pair / "sct.nii.gz", "--output")
    answer = synthct(*words, pair / "s.json", "--events", pair / "events.jsonl")
    assert answer.returncode == 2
    assert "none.nii.gz" in answer.stderr and "Traceback" not in answer.stderr and answer.stderr.count("\n") == 1
    last = json.loads((pair / "events.jsonl").read_text().splitlines()[-1])
    assert last["kind"] == "error" and last["by"] == "user" and "none.nii.gz" in last["what"]
    assert "Traceback" in synthct(*words, pair / "s.json", "--debug").stderr


def test_events_without_a_file_go_to_standard_output(pair):
    words = ("evaluate", "--reference", pair / "ct.nii.gz", "--synthetic", pair / "sct.nii.gz", "--output")
    answer = synthct(*words, pair / "s.json", "--events")
    kinds = [json.loads(line)["kind"] for line in answer.stdout.splitlines() if line.startswith("{")]
    assert kinds[-1] == "result"


def test_presets_are_listed_and_printed():
    listed = synthct("presets")
    assert listed.returncode == 0 and "umea-gan-paired" in listed.stdout
    printed = synthct("presets", "umea-gan-paired")
    assert "2e-5" in printed.stdout or "2.0e-5" in printed.stdout
    assert synthct("presets", "umea-gan-pared").returncode == 2


def test_unknown_verbs_and_options_are_refused():
    assert synthct("translate").returncode == 2
    answer = synthct("evaluate", "--reference", "a", "--synthetic", "b", "--output", "c", "--maks", "d")
    assert answer.returncode == 2 and "--maks" in answer.stderr


def test_a_disk_that_fails_is_no_fault_of_ours(monkeypatch, capsys):
    from synthct.commands import devices

    def full(options, events):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere/model.json")

    monkeypatch.setattr(devices, "run", full)
    assert main(["devices"]) == 2
    assert "somewhere/model.json cannot be read or written. No space left on device. Check" in capsys.readouterr().err


def test_interrupting_gives_130(tmp_path):
    """A verb that runs long is interrupted as by Ctrl-C."""
    child = subprocess.Popen(
        [sys.executable, "-m", "synthct", "worker", "--folder", str(tmp_path / "worker")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "worker" / "lock").exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, message = child.communicate(timeout=60)
    assert child.returncode == 130 and "cancelled" in message and "Traceback" not in message


def test_recipe_keys_become_overrides():
    words = ["--batch", "4", "--networks.generator.width=24", "--initial-rate", "1e-3"]
    assert overrides_from(words) == {"batch": "4", "networks.generator.width": "24", "initial_rate": "1e-3"}
    with pytest.raises(UserError, match="no value"):
        overrides_from(["--batch"])
    with pytest.raises(UserError, match="not understood"):
        overrides_from(["batch", "4"])


def test_options_of_the_uncertainty_are_refused_without_it(pair, capsys):
    words = ["synthesize", "--model", "m", "--input", str(pair / "ct.nii.gz"), "--output", str(pair / "new.nii.gz")]
    assert main([*words, "--samples", "4", "--flips", "head-foot"]) == 2
    assert "--samples and --flips would do nothing" in " ".join(capsys.readouterr().err.split())
