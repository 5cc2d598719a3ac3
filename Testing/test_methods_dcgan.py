"""The DCGAN's step by hand, its losses, its classes; it learns eight phantoms by heart."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from synthct.errors import UserError
from synthct.evaluation.distribution.image_statistics import image_statistics, statistics_distance
from synthct.methods.noise import draw_latents, latent_shape_of
from synthct.methods.registry import build_method
from synthct.recipe import load_recipe

torch.set_num_threads(1)
PLAIN = {"preparation.registration": "none", "preparation.bias_correction": "false", "data.size": "[32, 32]"}


def small(preset="lecture-dcgan-nodules", **overrides):
    options = {"data.size": "[32, 32]", "generator.width": "4", "discriminator.width": "4"}
    return build_method(load_recipe(preset, {**options, **overrides}))


def updates(method, taken=None):
    def update(name, loss):
        method.optimisers[name].zero_grad()
        loss.backward()
        if taken is not None:
            taken.append((name, loss.item()))
        method.optimisers[name].step()

    return update


@pytest.mark.parametrize("kind", ["non-saturating", "saturating"])
def test_step_is_that_of_the_equations(kind):
    method = small(**{"method.generator_loss": kind, "method.label_smoothing": "0.1"})
    real, taken = torch.randn(4, 1, 32, 32).clamp(-1, 1), []
    judge, generator = method.networks["discriminator"], method.networks["generator"]
    torch.manual_seed(3)
    with torch.no_grad():
        synthetic = generator(torch.randn(4, 100))
        on_real, on_synthetic = judge(real), judge(synthetic)
        d_real = (0.9 * softplus(-on_real) + 0.1 * softplus(on_real)).mean()
        d_synthetic = softplus(on_synthetic).mean()
    torch.manual_seed(3)
    losses = method.training_step({"target": real}, updates(method, taken), 0.0)
    assert [name for name, _ in taken] == ["discriminator", "generator"]
    assert losses["d_real"].item() == pytest.approx(d_real.item(), rel=1e-4)
    assert losses["d_synthetic"].item() == pytest.approx(d_synthetic.item(), rel=1e-4)
    with torch.no_grad():  # through the discriminator as its update left it
        logits = judge(synthetic)
    wanted = softplus(-logits).mean() if kind == "non-saturating" else -softplus(logits).mean()
    assert losses["g_adversarial"].item() == pytest.approx(wanted.item(), rel=1e-3)


def test_classes_take_part():
    method = small("lecture-cgan-nodules")
    batch = {"target": torch.randn(4, 1, 32, 32).clamp(-1, 1), "class": torch.tensor([0, 1, 0, 1])}
    before = [network.embed.weight.clone() for network in method.networks.values()]
    method.training_step(batch, updates(method), 0.0)
    assert all(
        (network.embed.weight != old).any() for network, old in zip(method.networks.values(), before, strict=True)
    )


def test_it_learns_eight_phantoms_by_heart():
    """The Fréchet distance of the images' statistics falls to a quarter and less in 250 steps."""
    method = small(**{"data.masks": "channel", "generator.width": "16", "discriminator.width": "16",
                      "optimisers.generator.lr": "1e-3"})  # fmt: skip
    real = phantoms()
    reference = np.stack([image_statistics(image.numpy()) for image in real])
    generator = method.networks["generator"]

    def distance():
        generator.eval()
        with torch.no_grad():
            made = generator(draw_latents(latent_shape_of(generator), 16, 0))
        generator.train()
        return statistics_distance(np.stack([image_statistics(image.numpy()) for image in made]), reference)

    first = distance()
    torch.manual_seed(0)
    for step in range(250):
        method.training_step({"target": real}, updates(method), step / 250)
    assert distance() < first / 4


def phantoms():
    """Eight discs with their masks, (8, 2, 32, 32)."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    made = []
    for _ in range(8):
        (a, b), radius = random.uniform(-0.2, 0.2, 2), random.uniform(0.3, 0.6)
        inside = (y - a) ** 2 + (x - b) ** 2 < radius**2
        made.append(np.stack([np.where(inside, 0.3, -0.7) + random.normal(0, 0.02, y.shape), 2.0 * inside - 1]))
    return torch.tensor(np.stack(made), dtype=torch.float32)


def test_latents_follow_from_seed_and_number_alone():
    five = draw_latents((3, 2), 5, 7)
    assert five.shape == (5, 3, 2)
    assert torch.equal(draw_latents((3, 2), 2, 7, first=3), five[3:])
    assert not torch.equal(draw_latents((3, 2), 5, 8), five)
    many = draw_latents((64,), 200, 0)
    assert abs(many.mean().item()) < 0.03 and many.std().item() == pytest.approx(1, abs=0.03)
    torch.manual_seed(1)
    drawn = draw_latents((4,), 2)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.randn(2, 4))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"data.classes": "[benign]"}, "data.classes"),
        ({"data.masks": "joined"}, "three entries"),
        ({"data.masks": "channel", "data.mask_scaling": "{name: hagan-ct}"}, "mask_scaling"),
        ({"data.target_scaling": "{name: mr-percentile}"}, "target_scaling"),
        ({"data.augmentation.rotation_degrees": "5"}, "flip"),
        ({"preparation.registration": "rigid"}, "neither registered"),
        ({"data.neighbours": "1"}, "neighbours"),
        ({"task": "mr-to-ct", "data.fit": "crop"}, "does not go with"),
        ({"task": "mr-to-ct"}, r"data.fit. does not go with"),
        ({"method.latent": "0"}, "latent"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, words):
    with pytest.raises(UserError, match=words):
        small(**overrides)


def test_a_method_that_translates_is_refused_for_noise():
    with pytest.raises(UserError, match="gan does not go with"):
        build_method(load_recipe("umea-gan", {"task": "noise-to-ct", **PLAIN}))
