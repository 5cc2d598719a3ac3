"""The small parts of a training: one update, running mean, plan, picture, signals."""

import os
import signal

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from matplotlib.image import imread
from torch import nn

from synthct.errors import Cancelled, UserError
from synthct.recipe import Training
from synthct.training.ema import Ema
from synthct.training.interrupt import Interrupt
from synthct.training.launch import launch
from synthct.training.loop import step_seed
from synthct.training.plan import make_plan
from synthct.training.sample_grid import write_sample_grid
from synthct.training.update import Update


def test_update_is_one_step_of_the_named_optimiser_only():
    torch.manual_seed(0)
    networks = {"generator": nn.Linear(3, 3), "discriminator": nn.Linear(3, 1)}
    before = {role: network.weight.detach().clone() for role, network in networks.items()}
    optimisers = {role: torch.optim.SGD(network.parameters(), 0.1) for role, network in networks.items()}
    update = Update(Fabric(accelerator="cpu", devices=1), optimisers)
    x = torch.ones(2, 3)
    for _ in range(2):  # gradients left over from the first call must not count in the second
        networks["generator"].weight.data.copy_(before["generator"])
        networks["discriminator"].weight.data.copy_(before["discriminator"])
        loss = networks["discriminator"](networks["generator"](x)).sum()
        update("generator", loss)
    gradient = 2 * before["discriminator"].T @ torch.ones(1, 3)
    assert torch.allclose(networks["generator"].weight, before["generator"] - 0.1 * gradient)
    assert torch.equal(networks["discriminator"].weight, before["discriminator"])


def test_update_in_mixed_precision_forgets_old_16_bit_weights():
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    network = nn.Linear(4, 1, bias=False)
    update = Update(fabric, {"generator": torch.optim.SGD(network.parameters(), 1.0)})
    x = torch.ones(1, 4)
    with fabric.autocast():
        first = network(x)
        update("generator", first.sum())
        second = network(x)
    assert (first - second).item() == pytest.approx(4.0, abs=0.1)


def test_running_mean():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    network[0].weight.data.fill_(0.0)
    ema = Ema(network, 0.5)
    expected = 0.0
    for step, value in enumerate((1.0, 2.0, 3.0, 4.0)):
        network[0].weight.data.fill_(value)
        network[1].running_mean.fill_(value)
        ema.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert ema.network[0].weight.item() == pytest.approx(expected)
        assert ema.network[1].running_mean.item() == value
    assert not ema.network.training
    again = Ema(network, 0.5)
    again.load(ema.tensors(), ema.updates)
    assert torch.equal(again.network[0].weight, ema.network[0].weight) and again.updates == 4


def test_plan():
    plan = make_plan(Training(steps=10, steps_per_epoch=4, validate_every=2), 99, True)
    assert [step for step in range(11) if plan.ends_epoch(step)] == [4, 8, 10]
    assert plan.validations == (8, 10)
    assert [plan.epoch(step) for step in (1, 4, 5, 10)] == [1, 1, 2, 3]
    assert plan.words(4) == "epoch 2 of 3" and plan.words(10) == "epoch 3 of 3"
    assert make_plan(Training(epochs=3), 7, False).total == 21


def test_seeds_differ_between_steps_and_processes():
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(2)}
    assert len(seeds) == 300
    assert step_seed(0, 0, 0) == step_seed(0, 0, 0) >= 0


def test_sample_grid(tmp_path):
    random = np.random.default_rng(0)
    images = [random.normal(0, 300, (2, 20, 24)) for _ in range(3)]
    path = tmp_path / "samples" / "epoch_0001.png"
    write_sample_grid(path, *images, np.ones((2, 20, 24)), "epoch 1")
    picture = imread(path)
    assert picture.shape[1] > picture.shape[0] > 500
    assert [file.name for file in path.parent.iterdir()] == ["epoch_0001.png"]


def test_signals_are_kept_for_later():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.asked
        with pytest.raises(Cancelled):
            interrupt.events().progress(1, 2)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_launch_refuses_what_is_not_there():
    assert launch("cpu").world_size == 1
    with pytest.raises(UserError, match="cuda:77"):
        launch("cuda:77")
    with pytest.raises(UserError, match="8-true"):
        launch("cpu", "8-true")
