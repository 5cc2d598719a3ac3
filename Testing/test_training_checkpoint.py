"""Checkpoints: whole, or the one before."""

import errno
import json
from pathlib import Path

import pytest
import torch

from synthct.errors import UserError
from synthct.training import checkpoint
from synthct.training.checkpoint import (
    load_checkpoint,
    put_tensors_back,
    read_summary,
    save_checkpoint,
    take_tensors_out,
)


class Crash(BaseException):
    """Stands for the process being killed: nothing in the program may catch it."""


def save(folder, step):
    tensors = {"networks": {"a.weight": torch.full((2, 3), float(step))}, "method": {}}
    state = {"optimisers": {"generator": {"state": {0: {"exp_avg": torch.ones(2) * step}}, "betas": (0.5, 0.9)}}}
    save_checkpoint(folder, {"step": step}, tensors, state)


def test_round_trip(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    summary, tensors, state = load_checkpoint(tmp_path)
    assert summary["step"] == 2
    assert torch.equal(tensors["networks"]["a.weight"], torch.full((2, 3), 2.0))
    assert state["optimisers"]["generator"]["betas"] == (0.5, 0.9)
    assert torch.equal(state["optimisers"]["generator"]["state"][0]["exp_avg"], torch.ones(2) * 2)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_none_yet(tmp_path):
    assert read_summary(tmp_path / "checkpoints") is None
    with pytest.raises(UserError, match="no checkpoint"):
        load_checkpoint(tmp_path / "checkpoints")


def crash_at(monkeypatch, count):
    """Let the ``count``-th step of a save that touches the disk be the process's last."""
    calls = []

    def counted(function):
        def wrapped(*arguments, **options):
            calls.append(function)
            if len(calls) == count:
                raise Crash
            return function(*arguments, **options)

        return wrapped

    monkeypatch.setattr(checkpoint, "save_file", counted(checkpoint.save_file))
    monkeypatch.setattr(checkpoint.torch, "save", counted(torch.save))
    monkeypatch.setattr(checkpoint.os, "fsync", counted(checkpoint.os.fsync))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", counted(checkpoint.shutil.rmtree))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    return calls


@pytest.mark.parametrize("count", range(1, 16))
def test_killed_at_any_step_of_a_save(tmp_path, monkeypatch, count):
    save(tmp_path, 1)
    with monkeypatch.context() as patched:
        calls = crash_at(patched, count)
        try:
            save(tmp_path, 2)
        except Crash:
            pass
        else:
            assert count > len(calls)
    summary, tensors, _ = load_checkpoint(tmp_path)
    assert summary["step"] in (1, 2)
    assert tensors["networks"]["a.weight"][0, 0] == summary["step"]
    save(tmp_path, 3)
    assert load_checkpoint(tmp_path)[0]["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_full_disk_keeps_the_one_before(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", full)
        with pytest.raises(UserError, match="disk is full"):
            save(tmp_path, 2)
    assert load_checkpoint(tmp_path)[0]["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize("name", ["networks.safetensors", "state.pt", "checkpoint.json"])
def test_damaged_file_is_named(tmp_path, name):
    save(tmp_path, 1)
    file = tmp_path / "last" / name
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(UserError, match=name):
        load_checkpoint(tmp_path)


def test_newer_format_is_refused(tmp_path):
    save(tmp_path, 1)
    file = tmp_path / "last" / "checkpoint.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        read_summary(tmp_path)


def test_tensors_are_taken_out_and_put_back():
    tree = {"pool": {"images": [torch.zeros(2), torch.ones(3)]}, "count": 4, "empty": []}
    rest, tensors = take_tensors_out(tree)
    assert set(tensors) == {"pool.images.0", "pool.images.1"}
    json.dumps(rest)
    back = put_tensors_back(rest, tensors)
    assert back["count"] == 4 and back["empty"] == []
    assert torch.equal(back["pool"]["images"][1], torch.ones(3))
