"""Losses, pool, schedules and the frozen discriminator against values computed by hand."""

import math

import pytest
import torch
from torch import nn

from synthct.errors import UserError
from synthct.methods.generation import frozen, preview
from synthct.methods.image_pool import ImagePool
from synthct.methods.losses import (
    binary_cross_entropy,
    judgement,
    least_squares,
    masked_l1,
    probability_error,
)
from synthct.methods.optimisers import OPTIMISERS, Schedule, build_optimisers


def column(*values):
    return torch.tensor(values).reshape(-1, 1)


def test_losses_by_hand():
    assert masked_l1(column(1.0, 2.0, 5.0), column(0.0, 0.0, 0.0)).item() == pytest.approx(8 / 3)
    weight = column(1.0, 3.0, 0.0)
    assert masked_l1(column(1.0, 2.0, 5.0), column(0.0, 0.0, 0.0), weight).item() == pytest.approx((1 + 6) / 4)
    assert masked_l1(column(1.0), column(0.0), column(0.0)).item() == 0
    logits = column(0.0, 2.0)
    probability = 1 / (1 + math.exp(-2))
    expected = (-math.log(0.5) - 0.9 * math.log(probability) - 0.1 * math.log(1 - probability)) / 2
    labels = column(0.5, 0.9)
    assert binary_cross_entropy(logits, labels).item() == pytest.approx(expected)
    assert probability_error(logits, labels).item() == pytest.approx((0 + 0.9 - probability) / 2, abs=1e-6)
    assert least_squares(logits, 1.0).item() == pytest.approx((1 + 1) / 2)


@pytest.mark.parametrize("loss", [binary_cross_entropy, least_squares, probability_error])
def test_every_scale_counts_the_same(loss):
    coarse, fine = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 8, 8)
    expected = (loss(coarse, 0.9) + loss(fine, 0.9)) / 2
    assert loss([fine, coarse], 0.9).item() == pytest.approx(expected.item())
    label = torch.rand(2, 1, 1, 1)  # one for each image
    if loss is not least_squares:
        expected = (loss(coarse, label) + loss(fine, label)) / 2
        assert loss([fine, coarse], label).item() == pytest.approx(expected.item())
    means = (coarse.mean(dim=(1, 2, 3)) + fine.mean(dim=(1, 2, 3))) / 2
    torch.testing.assert_close(judgement([fine, coarse]), means)


def test_cross_entropy_holds_for_large_logits_in_half_precision():
    loss = binary_cross_entropy(torch.tensor([[60.0]], dtype=torch.float16), 0.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(60.0)


def test_pool_fills_then_exchanges():
    torch.manual_seed(0)
    pool = ImagePool(4)
    first = torch.arange(4.0).reshape(4, 1, 1, 1)
    assert torch.equal(pool.query(first), first)
    seen, returned = {0.0, 1.0, 2.0, 3.0}, []
    for value in range(4, 400):
        image = torch.full((1, 1, 1, 1), float(value))
        got = pool.query(image).item()
        assert got in seen | {float(value)}
        returned.append(got == value)
        seen = seen | {float(value)} if got == value else (seen - {got}) | {float(value)}
    assert 0.4 < sum(returned) / len(returned) < 0.6
    assert len(pool.state_dict()["images"]) == 4


def test_pool_of_none_and_resumed_pool():
    image = torch.ones(1, 1, 2, 2, requires_grad=True)
    assert ImagePool(0).query(image).requires_grad is False
    torch.manual_seed(1)
    pool, copy = ImagePool(2), ImagePool(2)
    pool.query(torch.randn(3, 1, 2, 2))
    copy.load_state_dict(pool.state_dict())
    batch = torch.randn(5, 1, 2, 2)
    torch.manual_seed(2)
    expected = pool.query(batch)
    torch.manual_seed(2)
    assert torch.equal(copy.query(batch), expected)


def test_schedules():
    assert [Schedule().factor(p) for p in (0, 0.5, 1)] == [1, 1, 1]
    linear = Schedule(schedule="linear-decay", decay_from=0.5)
    assert [linear.factor(p) for p in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]
    cosine = Schedule(schedule="cosine", warmup=0.2)
    assert cosine.factor(0) > 0
    assert cosine.factor(0.1) == pytest.approx(0.5)
    assert cosine.factor(0.2) == 1
    assert cosine.factor(0.6) == pytest.approx(0.5)
    assert cosine.factor(1) == pytest.approx(0)
    with pytest.raises(UserError):
        Schedule(warmup=1.0)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_optimisers_take_rate_and_schedule(name):
    parameter = nn.Parameter(torch.ones(3))
    entry = {"name": name, "lr": 0.1, "schedule": "linear-decay", "decay_from": 0}
    optimisers, schedules = build_optimisers({"generator": entry}, {"generator": [parameter]})
    for progress, rate in ((0, 0.1), (0.5, 0.05), (0, 0.1)):
        schedules.apply(progress)
        assert optimisers["generator"].param_groups[0]["lr"] == pytest.approx(rate)
    parameter.square().sum().backward()
    optimisers["generator"].step()
    assert (parameter < 1).all()


def test_momentum_of_nadam_is_beta1():
    entry = {"name": "nadam", "lr": 2e-5, "beta1": 0.9}
    optimisers, _ = build_optimisers({"g": entry}, {"g": [nn.Parameter(torch.ones(1))]})
    assert optimisers["g"].param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, ["lacks `g`"]),
        ({"g": {"name": "adm", "lr": 1}}, ["optimisers.g", "Did you mean adam"]),
        ({"g": {"name": "adam"}}, ["lacks `lr`"]),
        ({"g": {"name": "adam", "lr": 1, "momentum": 0.9}}, ["momentum"]),
        ({"g": {"name": "adam", "lr": 1, "schedule": "cosin"}}, ["schedule", "Did you mean cosine?"]),
        ({"g": {"name": "adam", "lr": 1}, "h": {"name": "adam", "lr": 1}}, ["`h`", "does not use"]),
    ],
)
def test_wrong_optimisers_are_refused(entries, words):
    with pytest.raises(UserError) as caught:
        build_optimisers(entries, {"g": [nn.Parameter(torch.ones(1))]})
    for word in words:
        assert word in str(caught.value)


def test_frozen_network_passes_gradients_and_keeps_everything():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.randn(4, 1, 8, 8, requires_grad=True)
    with frozen(network):
        assert network.training
        output = network(image)
        output.square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert (output == 0).any()  # dropout draws
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    network(image)
    assert not torch.equal(network.state_dict()["1.running_mean"], before["1.running_mean"])


def test_preview_uses_eval_mode_and_restores():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Dropout(0.9))
    batch = {"input": torch.randn(2, 1, 4, 4)}
    output = preview(network, batch)
    assert torch.equal(output, preview(network, batch))
    assert not output.requires_grad
    assert network.training
