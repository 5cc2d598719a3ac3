"""The noise-fed U-Nets of rows C4 and C5 with their discriminators: sizes, blocks, gradients."""

import pytest
import torch
from torch import nn

from synthct.errors import UserError
from synthct.networks.halving import halvings, strides
from synthct.networks.registry import build_network

GAN_1, GAN_2 = "4-4-8-8-8-8-8", "4-4-8-8"


def parts(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


def test_sides_are_halved_while_they_can_be():
    assert halvings([54, 154, 154], 4) == [(54, 154, 154), (27, 77, 77), (14, 39, 39), (7, 20, 20), (4, 10, 10)]
    assert [sides[0] for sides in halvings([16, 16, 16], 7)] == [16, 8, 4, 2, 2, 2, 2, 2]
    assert strides((16, 5, 2), (8, 3, 2)) == (2, 2, 1)
    assert halvings([1024, 3680], 4)[-1] == (64, 230)


@pytest.mark.parametrize(
    ("size", "filters", "channels"),
    [
        ([16, 16, 16], GAN_1, 1),  # row C4, vanilla GAN 1
        ([54, 154, 154], "2-2-2-2", 1),  # row C4, vanilla GAN 2: 27 slices of image and 27 of mask
        ([38, 38, 38], GAN_2, 1),  # row C10
        ([5, 9, 14], GAN_1, 2),
        ([33, 50], GAN_2, 2),  # row C5 in 2D, smaller
    ],
)
def test_what_comes_out_has_the_size_of_what_goes_in(size, filters, channels):
    network = build_network({"name": "noise-unet", "filters": filters}, 1, channels, size, seed=0).eval()
    judge = build_network({"name": "strided-discriminator", "filters": GAN_2}, channels, 1, size, seed=0)
    assert network.latent_shape == (1, *size)
    assert network.dimensions == judge.dimensions == len(size)
    assert network.classes == 0
    with torch.no_grad():
        image = network(torch.randn(2, *network.latent_shape))
        assert image.shape == (2, channels, *size)
        assert image.abs().max() <= 1
        assert judge(image).shape == (2, 1)


@pytest.mark.parametrize(("size", "filters", "blocks"), [([16] * 3, GAN_1, 7), ([54, 154, 154], GAN_2, 4)])
def test_blocks_are_those_of_the_text(size, filters, blocks):
    network = build_network({"name": "noise-unet", "filters": filters}, 1, 1, size, seed=0)
    assert len(network.encoder) == len(network.decoder) == blocks
    assert len(parts(network.decoder, nn.ConvTranspose3d)) == blocks
    assert len(parts(network.decoder, nn.Dropout)) == blocks
    norms = [len(parts(block, nn.BatchNorm3d)) for block in network.encoder]
    assert norms == [0, *[1] * (blocks - 1)]  # "identical, except a batch normalization layer added"


def test_the_published_sizes_can_be_built():
    """On the meta device nothing is allocated: 154×154×54, and the montage of 1024×3680."""
    filters = "32-64-128-256"
    with torch.device("meta"):
        for size in ([54, 154, 154], [1024, 3680]):
            network = build_network({"name": "noise-unet", "filters": filters}, 1, 1, size)
            judge = build_network({"name": "strided-discriminator", "filters": filters}, 1, 1, size)
            assert network(torch.empty(1, 1, *size)).shape == (1, 1, *size)
            assert judge(torch.empty(1, 1, *size)).shape == (1, 1)


@pytest.mark.parametrize("size", [[16, 16, 16], [9, 6, 13], [20, 18]])
def test_gradient_reaches_every_parameter_of_a_single_image(size):
    """Batch 1, as published, on a bottleneck that is as small as can be."""
    network = build_network({"name": "noise-unet", "filters": GAN_1}, 1, 2, size, seed=0)
    judge = build_network({"name": "strided-discriminator", "filters": GAN_2}, 2, 1, size, seed=0)
    torch.manual_seed(0)
    for _ in range(4):  # a ReLU may be off for one draw
        judge(network(torch.randn(1, *network.latent_shape))).mean().backward()
    for name, parameter in [*network.named_parameters(), *judge.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_dropout_draws_in_training_alone():
    network = build_network({"name": "noise-unet", "filters": GAN_2}, 1, 1, [16, 16, 16], seed=0)
    latent = torch.randn(2, *network.latent_shape)
    assert not torch.equal(network(latent), network(latent))
    network.eval()
    assert torch.equal(network(latent), network(latent))
    assert not torch.equal(network(latent)[0], network(latent)[1])


@pytest.mark.parametrize("name", ["noise-unet", "strided-discriminator"])
@pytest.mark.parametrize(
    ("options", "size", "words"),
    [
        ({"filters": "8-x"}, [8, 8, 8], "8-x"),
        ({"filters": []}, [8, 8, 8], "positive numbers"),
        ({"filters": "8-0"}, [8, 8, 8], "positive numbers"),
        ({}, [8], "two or three sides"),
        ({}, [8, 1, 8], "8×1×8"),
    ],
)
def test_nonsense_is_refused(name, options, size, words):
    with pytest.raises(UserError, match=words):
        build_network({"name": name, **options}, 1, 1, size)
