"""The residual-encoder U-Net: its size is the published one's, it keeps the shape, and every weight learns."""

import pytest
import torch
from torch import nn

from synthct.errors import UserError
from synthct.networks.registry import build_network
from synthct.networks.residual_encoder_unet import ResidualBlock, ResidualEncoderUNet

SMALL = {"name": "resenc-unet", "features": "4-6-8", "blocks": "1-2-1"}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_published_encoder_and_decoder_have_the_published_size():
    """dynamic-network-architectures 0.4.4 counts 102 348 965 for ResEnc L, 772 of them heads of deep supervision."""
    with torch.device("meta"):
        network = build_network({"name": "resenc-unet", "upsampling": "transposed"}, 1, 1)
    assert count(network) == 102_348_193
    assert (network.divisor, network.dimensions) == (32, 3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"upsampling": "transposed", "norm": "batch", "output": "tanh"},
        {"upsampling": "bilinear", "norm": "group", "dropout": 0.1, "initialisation": "glorot"},
        {"norm": "none", "features": [4, 8], "blocks": [1, 1]},
        {"dimensions": 2, "dropout": 0.1},
        {"dimensions": 2, "upsampling": "bilinear", "norm": "batch"},
    ],
    ids=str,
)
def test_it_keeps_the_size_and_learns_everywhere(options):
    network = build_network({**SMALL, **options}, 2, 1, seed=0)
    sides = [network.divisor * factor for factor in (2, 3, 4)][: network.dimensions]
    output = network(torch.randn(2, 2, *sides))
    assert output.shape == (2, 1, *sides)
    output.square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if parameter.dim() > 1:  # a bias before instance norm has a gradient of 0
            assert parameter.grad.abs().max() > 0, name


def test_a_block_adds_its_input_and_averages_where_it_halves():
    block = ResidualBlock(3, 3, 2, "none", 0.0, 3)
    for convolution in (block.layers[0], block.layers[3]):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    image = torch.rand(1, 3, 4, 6, 8)
    torch.testing.assert_close(block(image), nn.functional.avg_pool3d(image, 2))
    plain = ResidualBlock(3, 3, 1, "none", 0.0, 3)
    nn.init.zeros_(plain.layers[3].weight)
    nn.init.zeros_(plain.layers[3].bias)
    torch.testing.assert_close(plain(image), image)


def test_every_stage_counts():
    network = build_network(SMALL, 1, 1, seed=0).eval()
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        before = network(image)
        for stage in network.encoder:
            block = stage[-1]
            kept = block.layers[-1].weight.clone()
            nn.init.zeros_(block.layers[-1].weight)
            assert not torch.equal(network(image), before)
            block.layers[-1].weight.copy_(kept)
        assert torch.equal(network(image), before)


@pytest.mark.parametrize("upsampling", ["resize", "bilinear"])
def test_a_constant_bottom_comes_up_without_a_checkerboard(upsampling):
    """A transposed convolution makes a pattern out of a constant image; the two others cannot."""
    torch.manual_seed(0)
    spread = {}
    for kind in (upsampling, "transposed"):
        network = ResidualEncoderUNet(1, 1, features=[4, 8], blocks=[1, 1], upsampling=kind)
        raised = network.up[0](torch.ones(1, 8, 6, 6, 6))[..., 2:-2, 2:-2, 2:-2]
        spread[kind] = float(raised.detach().flatten(2).std(dim=-1).max())
    assert spread[upsampling] < 1e-5 < spread["transposed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": "4-8", "blocks": "1-1-1"}, ["2 features", "3 blocks"]),
        ({"features": "4-x"}, ["features", "4-x"]),
        ({"blocks": "1-0-1"}, ["blocks", "1-0-1"]),
        ({"features": [4], "blocks": [1]}, ["two or more"]),
        ({"dimensions": 4}, ["dimensions", "4"]),
    ],
)
def test_wrong_numbers_are_refused(options, words):
    with pytest.raises(UserError) as caught:
        build_network({**SMALL, **options}, 1, 1)
    for word in words:
        assert word in str(caught.value)
