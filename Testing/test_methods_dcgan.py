"""The DCGAN's step by hand, its losses, its classes, refusals; what it learns is in `test_methods_overfit.py`."""

import pytest
import torch
from torch.nn.functional import softplus

from synthct.errors import UserError
from synthct.methods.noise import draw_latents
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
