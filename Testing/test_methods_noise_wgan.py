"""The noise-fed GANs of rows C4 and C5: a step by hand, clipping, penalty, whose turn it is, growing.

What they learn is in `test_methods_overfit.py`.
"""

import numpy as np
import pytest
import torch
from test_methods_steps import NoUpdate, PlainUpdate
from torch import nn

from synthct.errors import UserError
from synthct.methods.lipschitz import gradient_penalty
from synthct.methods.noise import draw_latents, latent_shape_of
from synthct.methods.registry import build_method
from synthct.recipe import NOISE_TASK, recipe_from_dict

UNET = {"name": "noise-unet", "filters": "8-16-16"}
JUDGE = {"name": "strided-discriminator", "filters": "8-16-16"}
GROWN = [{"name": name, "filters": "16-16-8"} for name in ("progressive", "progressive-critic")]
RMSPROP = {"name": "rmsprop", "lr": 2e-4}


def gan(method, size=(16, 16, 16), generator=UNET, judge=JUDGE, optimiser=RMSPROP):
    role = "discriminator" if method["name"] == "vanilla-gan" else "critic"
    return build_method(
        recipe_from_dict(
            {
                "name": "test",
                "source": "test",
                "task": NOISE_TASK,
                "method": method,
                "networks": {"generator": generator, role: judge},
                "optimisers": {"generator": optimiser, role: optimiser},
                "data": {
                    "size": list(size),
                    "masks": "channel",
                    "paired": False,
                    "body_only": False,
                    "target_scaling": {"name": "hagan-ct"},
                },
            }
        )
    )


def wgan(size=(16, 16, 16), generator=UNET, judge=JUDGE, optimiser=RMSPROP, **options):
    return gan({"name": "noise-wgan", "latent": 1, **options}, size, generator, judge, optimiser)


def pictures(count, size=(16, 16, 16), seed=0):
    return {"target": torch.rand((count, 2, *size), generator=torch.Generator().manual_seed(seed)) * 2 - 1}


@pytest.mark.parametrize("size", [(16, 16, 16), (20, 13)])
@pytest.mark.parametrize("constraint", ["clip", "penalty"])
def test_step_by_hand(constraint, size):
    method = wgan(size, generator={**UNET, "dropout": 0.0}, constraint=constraint)
    generator, critic, batch = method.networks["generator"], method.networks["critic"], pictures(3, size)
    critic_before = {name: value.clone() for name, value in critic.state_dict().items()}
    torch.manual_seed(5)
    latents = draw_latents(latent_shape_of(generator), 3)
    with torch.no_grad():
        synthetic = generator(latents)
        expected = {"critic": (critic(synthetic).mean() - critic(batch["target"]).mean()).item()}
    if constraint == "penalty":
        share = torch.rand(3, *[1] * (len(size) + 1))
        slopes = []
        for at, real, fake in zip(share, batch["target"], synthetic, strict=True):
            image = (at * real + (1 - at) * fake)[None].requires_grad_()
            critic(image).backward()
            slopes.append(image.grad.square().sum().sqrt().item())
        expected["penalty"] = sum((slope - 1) ** 2 for slope in slopes) / 3
    update = NoUpdate()
    torch.manual_seed(5)
    losses = method.training_step(batch, update, 0.0)
    with torch.no_grad():  # NoUpdate leaves the weights, clipping does not
        adversarial = -critic(synthetic).mean().item()
    assert losses["critic"].item() == pytest.approx(expected["critic"], rel=1e-4)
    # The sum, not the product of the thesis.
    total = expected["critic"] + 10 * expected.get("penalty", 0.0)
    assert update.calls == [
        ("critic", pytest.approx(total, rel=1e-4)),
        ("generator", pytest.approx(adversarial, rel=1e-4)),
    ]
    if constraint == "penalty":
        assert losses["penalty"].item() == pytest.approx(expected["penalty"], rel=1e-4)
        assert all(torch.equal(value, critic_before[name]) for name, value in critic.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 4, 4, 4)])
def test_gradient_penalty_of_a_linear_critic_in_2d_and_3d(shape):
    """f(x) = w·x has the gradient w everywhere."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 1)).double()
    real, synthetic = torch.randn(2, 3, *shape, dtype=torch.float64)
    length = critic[1].weight.detach().norm().item()
    assert gradient_penalty(critic, real, synthetic).item() == pytest.approx((length - 1) ** 2, rel=1e-12)


def test_weights_are_clipped_after_every_update():
    method = wgan(judge={**JUDGE, "norm": "group"}, clip=0.01)
    for step in range(3):
        method.training_step(pictures(2, seed=step), PlainUpdate(method), 0.0)
        for layer in method.networks["critic"].modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                assert max(parameter.abs().max().item() for parameter in layer.parameters()) <= 0.01 + 1e-9
    limit = max(parameter.abs().max().item() for parameter in method.networks["critic"].layers[0].parameters())
    assert limit == pytest.approx(0.01)


def test_vanilla_gan_step_by_hand():
    method = gan({"name": "vanilla-gan", "latent": 1}, generator={**UNET, "dropout": 0.0})
    generator, discriminator, batch = method.networks["generator"], method.networks["discriminator"], pictures(3)
    torch.manual_seed(5)
    latents = draw_latents(latent_shape_of(generator), 3)
    with torch.no_grad():
        real, fake = discriminator(batch["target"]).sigmoid(), discriminator(generator(latents)).sigmoid()
    update = NoUpdate()
    torch.manual_seed(5)
    losses = method.training_step(batch, update, 0.0)
    expected = {
        "d_real": -real.log().mean(),
        "d_synthetic": -(1 - fake).log().mean(),
        "g_adversarial": -fake.log().mean(),
    }
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name
    both = (expected["d_real"] + expected["d_synthetic"]).item()
    assert [name for name, _ in update.calls] == ["discriminator", "generator"]
    assert update.calls[0][1] == pytest.approx(both, rel=1e-4)


def test_generator_has_its_turn_after_every_third_batch_and_a_resumed_run_knows_when():
    method = wgan(critic_updates=3, constraint="penalty")
    turns = ["g_adversarial" in method.training_step(pictures(2), PlainUpdate(method), 0.0) for _ in range(5)]
    assert turns == [False, False, True, False, False]
    assert method.cycle == 3
    resumed = wgan(critic_updates=3, constraint="penalty")
    resumed.load_state_dict(method.state_dict())
    assert "g_adversarial" in resumed.training_step(pictures(2), PlainUpdate(resumed), 0.0)


def test_latents_are_fresh_at_every_step():
    method, seen = wgan(), []
    method.networks["generator"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    for _ in range(2):
        method.training_step(pictures(2), PlainUpdate(method), 0.0)
    assert seen[0].shape == (2, 1, 16, 16, 16)
    assert not torch.equal(seen[0], seen[1])


def test_networks_grow_with_the_training_and_the_critic_sees_real_images_as_coarse():
    method = wgan(latent=6, constraint="penalty", generator=GROWN[0], judge=GROWN[1])
    generator, critic, seen = method.networks["generator"], method.networks["critic"], []
    critic.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    for progress, grown in ((0.0, 0.0), (0.3, 0.5), (0.5, 1.0), (0.7, 1.5), (0.9, 2.0)):
        seen.clear()
        method.training_step(pictures(2), PlainUpdate(method), progress)
        assert float(generator.grown) == pytest.approx(grown) == float(critic.grown)
        real = seen[1]
        torch.testing.assert_close(real, generator.as_grown(pictures(2)["target"]))
        coarse = (
            nn.functional.avg_pool3d(real, 4).repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
        )
        assert torch.allclose(coarse, real) == (grown == 0)
        assert torch.equal(real, pictures(2)["target"]) == (grown == 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: wgan(critic_updates=0), "critic_updates"),
        (lambda: wgan(clip=0.0), "clip"),
        (lambda: wgan(constraint="penalty", judge={**JUDGE, "norm": "batch"}), "batch norm"),
        (lambda: wgan(latent=6, generator=GROWN[0]), "do not grow alike"),
        (lambda: wgan(latent=6, generator=GROWN[0], judge={**GROWN[1], "filters": "8-8"}), "do not grow alike"),
        (lambda: wgan(optimiser={"name": "rmsprop", "lr": 1e-4, "rho": 0.9}), "no option `rho`"),
    ],
)
def test_wrong_choices_are_refused(make, words):
    with pytest.raises(UserError, match=words):
        make()
