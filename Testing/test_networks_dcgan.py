"""DCGAN's networks: shapes, every parameter reached by a gradient, numbers of parameters, sizes that do not go."""

import pytest
import torch

from synthct.errors import UserError
from synthct.networks.registry import build_network

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("size", "channels", "classes"),
    [((56, 56), 1, 0), ((56, 56), 1, 2), ((64, 48), 2, 0), ((32, 32, 32), 2, 3), ((24, 32, 40), 1, 0)],
)
def test_shapes_and_gradients(size, channels, classes):
    told = {"norm": "none", **({"classes": classes} if classes else {})}  # a norm swallows the bias before it
    generator = build_network({"name": "dcgan-generator", "width": 4, **told}, 12, channels, size, seed=0)
    judge = build_network({"name": "dcgan-discriminator", "width": 4, **told}, channels, 1, size, seed=1)
    assert (generator.latent_shape, generator.dimensions, generator.classes) == ((12,), len(size), classes)
    numbers = torch.arange(4) % classes if classes else None
    image = generator(torch.randn(4, 12), numbers)
    assert image.shape == (4, channels, *size) and image.abs().max() <= 1
    logits = judge(image, numbers)
    assert logits.shape == (4, 1)
    logits.square().sum().backward()
    for network in (generator, judge):
        for name, weight in network.named_parameters():
            assert weight.grad is not None and weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 0, name


def test_published_patch_grows_7_14_28_56():
    generator = build_network({"name": "dcgan-generator", "levels": 3}, 100, 1, (56, 56), seed=0)
    sides = []
    for layer in generator.layers:
        if isinstance(layer, torch.nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _m, given, made: sides.append((given[0].shape[-1], made.shape[-1])))
    generator(torch.randn(2, 100))
    assert sides == [(7, 14), (14, 28), (28, 56)]
    dense = 100 * 256 * 49 + 256 * 49
    ups = (256 * 128 + 128 * 64 + 64 * 1) * 16 + 128 + 64 + 1
    assert sum(weight.numel() for weight in generator.parameters()) == dense + ups + 2 * (256 + 128 + 64)


def test_every_class_makes_another_image_and_is_judged_otherwise():
    told = {"width": 4, "classes": 2, "initialisation": "he"}
    generator = build_network({"name": "dcgan-generator", **told}, 8, 1, (16, 16), seed=0).eval()
    judge = build_network({"name": "dcgan-discriminator", **told}, 1, 1, (16, 16), seed=0).eval()
    latent = torch.randn(1, 8)
    images = [generator(latent, torch.tensor([number])) for number in (0, 1)]
    assert (images[0] - images[1]).abs().max() > 1e-4
    assert judge(images[0], torch.tensor([0])) != judge(images[0], torch.tensor([1]))
    with pytest.raises(ValueError, match="classes"):
        generator(latent)


def test_weights_begin_as_published():
    generator = build_network({"name": "dcgan-generator"}, 100, 1, (56, 56), seed=0)
    for module in generator.modules():
        if isinstance(module, torch.nn.ConvTranspose2d | torch.nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
        elif isinstance(module, torch.nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)


def test_classes_begin_small_beside_the_latents():
    """As large as these, they outweigh them in training, and each class becomes a single image."""
    generator = build_network({"name": "dcgan-generator", "classes": 8}, 100, 1, (56, 56), seed=0)
    assert generator.embed.weight.std().item() == pytest.approx(0.02, rel=0.1)
    between = (generator.dense.weight[:, 100:] @ generator.embed.weight.T).var(dim=1).mean().item()
    assert between < 0.001 * generator.dense.weight[:, :100].square().sum(dim=1).mean().item()


@pytest.mark.parametrize("size", [(50, 56), (8, 8), (32, 32, 20)])
def test_sizes_that_cannot_be_halved_are_refused(size):
    for name in ("dcgan-generator", "dcgan-discriminator"):
        with pytest.raises(UserError, match="cannot halve"):
            build_network({"name": name, "levels": 3}, 10, 1, size)
