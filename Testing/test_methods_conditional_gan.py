"""Conditional GAN: one step by hand, what the discriminator sees, both generator losses, learning."""

import math

import pytest
import torch
from test_methods_steps import NoUpdate, PlainUpdate, blobs, error, recipe, train
from torch.nn.functional import softplus

from synthct.errors import UserError
from synthct.methods.registry import build_method

GENERATOR = {"name": "unet", "width": "8-16", "norm": "batch"}
DISCRIMINATORS = {
    "patches": {"name": "patchgan", "width": 4, "layers": 2},
    "scales": {"name": "multiscale-patchgan", "width": 4, "layers": 2, "scales": 2},
    "images": {"name": "d-disc", "width": 4, "dropout": 0.0, "last_dropout": 0.0},
}


def pix2pix(discriminator="patches", optimiser=None, neighbours=0, **options):
    networks = {"generator": GENERATOR, "discriminator": DISCRIMINATORS[discriminator]}
    return build_method(recipe({"name": "conditional-gan", **options}, networks, optimiser, neighbours=neighbours))


@pytest.mark.parametrize("discriminator", sorted(DISCRIMINATORS))
@pytest.mark.parametrize("kind", ["non-saturating", "saturating", "least-squares"])
def test_step_by_hand(kind, discriminator):
    options = {"adversarial": kind} if kind == "least-squares" else {"generator_loss": kind}
    method, batch = pix2pix(discriminator, **options), blobs(4, 0)
    judge = method.networks["discriminator"]
    with torch.no_grad():
        synthetic = method.networks["generator"](batch["input"])
        real, fake = (judge(torch.cat([batch["input"], image], 1)) for image in (batch["target"], synthetic))

    def mean(logits, function):
        scales = logits if isinstance(logits, list) else [logits]
        return sum(function(scale).mean().item() for scale in scales) / len(scales)

    if kind == "least-squares":
        expected = [mean(real, lambda x: (x - 1) ** 2), mean(fake, lambda x: x**2), mean(fake, lambda x: (x - 1) ** 2)]
    else:  # softplus(−x) = −log D, softplus(x) = −log(1 − D)
        expected = [mean(real, lambda x: softplus(-x)), mean(fake, softplus)]
        expected.append(-mean(fake, softplus) if kind == "saturating" else mean(fake, lambda x: softplus(-x)))
    expected.append((synthetic - batch["target"]).abs().mean().item())
    update = NoUpdate()
    losses = method.training_step(batch, update, 0.0)
    assert list(losses) == ["d_real", "d_synthetic", "g_adversarial", "g_l1"]
    assert [value.item() for value in losses.values()] == pytest.approx(expected, rel=1e-4)
    assert update.calls == [
        ("discriminator", pytest.approx((expected[0] + expected[1]) / 2, rel=1e-4)),
        ("generator", pytest.approx(expected[2] + 100 * expected[3], rel=1e-4)),
    ]


def test_discriminator_sees_all_slices_of_the_mr_beside_the_ct():
    method, batch = pix2pix(neighbours=1, masked=True), blobs(2, 0)
    batch["input"] = torch.randn(2, 3, 32, 32)
    seen = []
    method.networks["discriminator"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    method.training_step(batch, NoUpdate(), 0.0)
    assert [tuple(image.shape) for image in seen] == [(2, 4, 32, 32)] * 3
    for image in seen:
        assert torch.equal(image[:, :3], batch["input"])
        assert (image[:, 3:][batch["mask"] == 0] == -1).all()
    inside = batch["mask"] > 0
    assert torch.equal(seen[0][:, 3:][inside], batch["target"][inside])
    assert torch.equal(seen[1], seen[2])


@pytest.mark.parametrize(("kind", "slope"), [("saturating", "D"), ("non-saturating", "1 - D")])
def test_saturating_loss_vanishes_where_the_discriminator_is_sure(kind, slope):
    """Its derivative by the logit is −D, the other's −(1 − D): by the chain rule of equation 1."""
    method = pix2pix(generator_loss=kind, l1_weight=0.0)
    logits = torch.full((4, 1), -3.0, requires_grad=True)
    method.networks["discriminator"].forward = lambda _: logits
    losses = []
    method.training_step(blobs(4, 0), lambda name, loss: losses.append(loss), 0.0)
    losses[1].backward()
    probability = 1 / (1 + math.exp(3))
    expected = -probability if slope == "D" else -(1 - probability)
    assert logits.grad.sum().item() == pytest.approx(expected, rel=1e-5)


def test_discriminator_is_frozen_for_the_generator_and_everything_learns():
    method = pix2pix("scales")
    touched = []

    class Watching(PlainUpdate):
        def __call__(self, name, loss):
            assert all(p.requires_grad == (name == "discriminator") for p in judge.parameters())
            super().__call__(name, loss)
            for key, parameter in method.networks[name].named_parameters():
                assert parameter.grad is not None, key
                assert parameter.dim() == 1 or parameter.grad.abs().max() > 0, key
            touched.append(name)

    judge = method.networks["discriminator"]
    method.training_step(blobs(4, 0), Watching(method), 0.0)
    assert touched == ["discriminator", "generator"]


def test_conditional_gan_learns():
    method = pix2pix("scales", {"name": "adam", "lr": 3e-3, "beta1": 0.5})
    before = error(method)
    train(method, 40)
    assert error(method) < 0.4 * before


@pytest.mark.parametrize(
    ("options", "data", "words"),
    [
        ({}, {"paired": False}, ["needs pairs"]),
        ({"adversarial": "least-squares", "generator_loss": "saturating"}, {}, ["generator_loss", "least-squares"]),
        ({"generator_loss": "saturated"}, {}, ["Did you mean saturating?"]),
    ],
)
def test_wrong_choices_are_refused(options, data, words):
    with pytest.raises(UserError) as caught:
        build_method(recipe({"name": "conditional-gan", **options}, **data))
    for word in words:
        assert word in str(caught.value)
