"""Devices by name, with reasons."""

from __future__ import annotations

import pytest
import torch

from synthct.errors import UserError
from synthct.synthesis.device import choose_device, list_devices


def test_the_cpu_is_always_there_and_last():
    devices = list_devices()
    assert devices[-1].name == "cpu" and devices[-1].label
    assert len(devices) > 1 or devices[-1].reason


def test_choosing():
    assert choose_device("cpu").type == "cpu"
    assert str(choose_device("auto")) == list_devices()[0].name or torch.cuda.device_count() > 1
    assert choose_device(torch.device("cpu")).type == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "tpu", ""])
def test_an_unknown_device_is_refused_with_the_known_ones(name):
    with pytest.raises(UserError, match="cpu") as caught:
        choose_device(name)
    assert caught.value.why


def fake_gpus(monkeypatch, free):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")

    def info(number):
        if free[number] is None:
            raise RuntimeError("busy")
        return free[number], 8 * 2**30

    monkeypatch.setattr(torch.cuda, "mem_get_info", info)


def test_auto_takes_the_gpu_with_most_free_memory(monkeypatch):
    fake_gpus(monkeypatch, [2**30, 6 * 2**30, None])
    assert str(choose_device("auto")) == "cuda:1"
    assert str(choose_device("cuda")) == "cuda:0"
    assert [device.name for device in list_devices()] == ["cuda:0", "cuda:1", "cuda:2", "cpu"]
    assert list_devices()[1].description == "GPU 1, 6.0 of 8.0 GiB free"
    assert list_devices()[-1].reason == ""
