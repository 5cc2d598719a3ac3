"""Memory that runs out: smaller batch, smaller tile, then the CPU, each said aloud, and the result is still right."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from synthesis_models import Centre, centre_model

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.synthesis import predictor
from synthct.synthesis.planes import input_blocks
from synthct.synthesis.predictor import Predictor
from synthct.synthesis.translate import translate


class Hungry(Centre):
    """Runs out of memory above a number of pixels per call, in the way of one of several libraries."""

    def __init__(self, limit, error):
        super().__init__()
        self.limit, self.error = limit, error

    def forward(self, image):
        if image.numel() > self.limit:
            raise self.error
        return super().forward(image)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


def image():
    return sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 2000, (10, 120, 136)).astype(np.int16))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_batch_is_halved_and_then_the_tile(error):
    events = []
    model = centre_model(Hungry(72 * 72, error), size=[128, 128])
    result = translate(image(), model, device="cpu", batch=4, events=Events(listener=events.append))
    assert np.array_equal(sitk.GetArrayFromImage(result), sitk.GetArrayFromImage(image()))
    answers = [event["todo"] for event in events if event["kind"] == "warning"]
    assert answers == [
        "The batch is now 2.",
        "The batch is now 1.",
        "Slices are now cut into tiles of 64×64.",
    ]


def test_too_little_memory_for_one_tile_is_an_error_in_words():
    with pytest.raises(UserError, match="not enough memory"):
        translate(image(), centre_model(Hungry(10, MemoryError())), device="cpu")


def test_other_errors_are_not_taken_for_it():
    model = centre_model(Hungry(10, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="shapes"):
        translate(image(), model, device="cpu")


class Elsewhere(Centre):
    """Stands for a network on a GPU that never has memory: works only once it was moved to the CPU."""

    def __init__(self):
        super().__init__()
        self.moved = []

    def to(self, device):
        self.moved.append(torch.device(device).type)
        return self

    def forward(self, image):
        if self.moved[-1] != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(image)


def test_the_cpu_goes_on_when_nothing_else_helps():
    events = []
    network = Elsewhere()
    model = centre_model(network, size=[64, 64])
    slices = sitk.GetArrayFromImage(image())
    worker = Predictor(model, torch.device("meta"), 2, Events(listener=events.append))
    blocks = input_blocks(slices, model.input_scaling, 0, 2)
    outputs = list(worker.predict(blocks, -1.0))
    assert network.moved == ["meta", "cpu"] and worker.device.type == "cpu"
    assert events[-1]["what"] == "The device meta ran out of memory." and "CPU goes on" in events[-1]["todo"]
    assert [start for start, _ in outputs] == [0, 2, 4, 6, 8]
    restored = model.target_scaling.invert(np.concatenate([output for _, output in outputs]))
    assert np.allclose(restored, slices, atol=0.01)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(UserError, match="batch cannot be 0"):
        Predictor(centre_model(), torch.device("cpu"), 0, SILENT)


def test_default_batches():
    assert Predictor(centre_model(), torch.device("cpu"), None, SILENT).batch == 1
    assert Predictor(centre_model(), torch.device("cuda:0"), None, SILENT).batch == predictor._GPU_BATCH
