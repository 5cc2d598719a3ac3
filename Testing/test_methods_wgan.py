"""WGAN: one step by hand, clipping and gradient penalty, whose turn it is, learning."""

import pytest
import torch
from test_methods_steps import NoUpdate, PlainUpdate, blobs, error, recipe, spread, train
from torch import nn

from synthct.errors import UserError
from synthct.methods.lipschitz import gradient_penalty
from synthct.methods.registry import build_method

CRITIC = {"name": "d-disc", "width": 4, "norm": "none", "dropout": 0.0, "last_dropout": 0.0}


def wgan(critic=CRITIC, optimiser=None, **options):
    networks = {"generator": {"name": "unet", "width": "8-16", "output": "linear"}, "critic": critic}
    paired = bool(options.get("l1_weight"))
    return build_method(recipe({"name": "wgan", **options}, networks, optimiser, paired=paired))


@pytest.mark.parametrize("constraint", ["clip", "penalty"])
def test_step_by_hand(constraint):
    method = wgan(constraint=constraint, critic_updates=1, l1_weight=5.0)
    generator, critic, batch = method.networks["generator"], method.networks["critic"], blobs(4, 0)
    update = NoUpdate()
    with torch.no_grad():
        synthetic = generator(batch["input"])
        expected = {"critic": (critic(synthetic).mean() - critic(batch["target"]).mean()).item()}
    if constraint == "penalty":
        torch.manual_seed(3)
        share = torch.rand(4, 1, 1, 1)
        slopes = []
        for at, real, fake in zip(share, batch["target"], synthetic, strict=True):
            image = (at * real + (1 - at) * fake)[None].requires_grad_()
            critic(image).backward()
            slopes.append(image.grad.square().sum().sqrt().item())
        expected["penalty"] = sum((slope - 1) ** 2 for slope in slopes) / 4
    torch.manual_seed(3)
    losses = method.training_step(batch, update, 0.0)
    assert losses["critic"].item() == pytest.approx(expected["critic"], rel=1e-4)
    if constraint == "penalty":
        assert losses["penalty"].item() == pytest.approx(expected["penalty"], rel=1e-4)
    with torch.no_grad():  # NoUpdate leaves the weights, clipping does not
        adversarial = -critic(synthetic).mean().item()
        l1 = (synthetic - batch["target"]).abs().mean().item()
    assert losses["g_adversarial"].item() == pytest.approx(adversarial, rel=1e-4)
    assert losses["g_l1"].item() == pytest.approx(l1, rel=1e-4)
    assert update.calls == [
        ("critic", pytest.approx(expected["critic"] + 10 * expected.get("penalty", 0.0), rel=1e-4)),
        ("generator", pytest.approx(adversarial + 5 * l1, rel=1e-4)),
    ]


def test_gradient_penalty_of_a_linear_critic():
    """f(x) = w·x has the gradient w everywhere: (‖w‖ − 1)², and its derivative 2(‖w‖ − 1)·w/‖w‖."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).double()
    weight = critic[1].weight
    real, synthetic = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    penalty = gradient_penalty(critic, real, synthetic)
    length = weight.detach().norm()
    assert penalty.item() == pytest.approx((length.item() - 1) ** 2, rel=1e-12)
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * (length - 1) * weight.detach() / length)


def test_gradient_penalty_draws_one_point_for_each_image():
    seen = []
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    critic.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    gradient_penalty(critic, torch.ones(50, 1, 4, 4), torch.zeros(50, 1, 4, 4))
    shares = seen[0][:, 0, 0, 0]
    assert (seen[0] == shares[:, None, None, None]).all()
    assert shares.unique().numel() == 50
    assert 0 <= shares.min() < 0.2
    assert 0.8 < shares.max() < 1


def test_penalty_is_taken_in_32_bit_and_reaches_every_weight():
    method = wgan(constraint="penalty")
    critic = method.networks["critic"]
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(critic, *torch.randn(2, 3, 1, 32, 32, dtype=torch.bfloat16))
    assert penalty.dtype == torch.float32
    penalty.backward()
    for name, parameter in critic.named_parameters():
        if parameter.dim() > 1:
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("clip_norms", [False, True])
def test_critic_stays_within_its_clip(clip_norms):
    method = wgan({**CRITIC, "norm": "batch"}, clip_norms=clip_norms)
    layers = list(method.networks["critic"].layers)
    for step in range(4):
        method.training_step(blobs(2, step), PlainUpdate(method), 0.0)
        for layer in layers:
            for parameter in layer.parameters():
                limit = parameter.abs().max().item()
                assert (limit <= 0.001 + 1e-9) == (clip_norms or not isinstance(layer, nn.BatchNorm2d) or limit == 0)
    assert layers[0].weight.abs().max().item() == pytest.approx(0.001)


def test_clipped_critic_gives_the_generator_a_slope():
    """With its batch norm's scales clipped as well, the slope would be 1e-12, far below Nadam's ε."""
    method = wgan({**CRITIC, "norm": "batch"}, {"name": "nadam", "lr": 2e-4})
    train(method, 8, paired=False)
    image = blobs(4, 0)["target"].requires_grad_()
    (slope,) = torch.autograd.grad(method.networks["critic"](image).sum(), image)
    assert slope.flatten(1).norm(dim=1).min() > 1e-4


def test_generator_has_its_turn_after_every_fourth_batch():
    method = wgan()
    update = PlainUpdate(method)
    for step in range(9):
        losses = method.training_step(blobs(2, step), update, 0.0)
        assert ("g_adversarial" in losses) == (step in (3, 7))
    names = [name for name, _ in update.calls]
    assert names == [*["critic"] * 4, "generator"] * 2 + ["critic"]
    resumed = wgan()
    resumed.load_state_dict(method.state_dict())
    turns = ["g_adversarial" in resumed.training_step(blobs(2, 0), PlainUpdate(resumed), 0.0) for _ in range(3)]
    assert turns == [False, False, True]


def test_critic_is_frozen_for_the_generator():
    method = wgan({**CRITIC, "norm": "batch"}, critic_updates=1)
    critic = method.networks["critic"]
    kept = []

    class Watching(NoUpdate):
        def __call__(self, name, loss):
            if name == "generator":
                assert not any(p.requires_grad for p in critic.parameters())
                kept.append({key: value.clone() for key, value in critic.state_dict().items()})
                loss.backward()

    method.training_step(blobs(4, 0), Watching(), 0.0)
    assert all(torch.equal(value, kept[0][key]) for key, value in critic.state_dict().items())
    for name, parameter in method.networks["generator"].named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_masked_wgan_hides_what_lies_outside():
    method, batch = wgan(masked=True, critic_updates=1), blobs(4, 0)
    seen = []
    method.networks["critic"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    method.training_step(batch, NoUpdate(), 0.0)
    assert len(seen) == 3
    for image in seen:
        assert (image[batch["mask"] == 0] == -1).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"l1_weight": 1.0}, ["needs pairs"]),
        ({"critic_updates": 0}, ["critic_updates"]),
        ({"clip": 0.0}, ["clip"]),
        ({"constraint": "penalty"}, ["batch norm", "networks.critic.norm"]),
        ({"constraint": "clipp"}, ["Did you mean clip?"]),
    ],
)
def test_wrong_choices_are_refused(options, words):
    networks = {"generator": {"name": "unet", "width": "4-8"}, "critic": {"name": "d-disc", "width": 4}}
    with pytest.raises(UserError) as caught:
        build_method(recipe({"name": "wgan", **options}, networks, paired=False))
    for word in words:
        assert word in str(caught.value)


def test_gradient_penalty_holds_the_slope_near_one_and_the_distributions_come_together():
    networks = {"generator": {"name": "unet", "width": "8-16", "norm": "batch"}, "critic": {**CRITIC, "width": 8}}
    optimiser = {"name": "adam", "lr": 2e-3, "beta1": 0.0}
    method = build_method(recipe({"name": "wgan", "constraint": "penalty"}, networks, optimiser, paired=False))
    before = spread(method)
    train(method, 100, paired=False)
    assert spread(method) < 0.7 * before
    batch = blobs(8, 3)
    assert gradient_penalty(method.networks["critic"], batch["target"], method.preview(batch)).item() < 0.2


def test_paired_wgan_learns():
    networks = {"generator": {"name": "unet", "width": "8-16-32", "norm": "batch"}, "critic": CRITIC}
    options = {"name": "wgan", "constraint": "penalty", "critic_updates": 2, "l1_weight": 100.0}
    method = build_method(recipe(options, networks, {"name": "adam", "lr": 3e-3, "beta1": 0.5}))
    before = error(method)
    train(method, 80)
    assert error(method) < 0.4 * before
