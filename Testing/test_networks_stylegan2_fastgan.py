"""StyleGAN2: the published size, modulation, what a latent decides; FastGAN: excitation, reconstruction."""

import pytest
import torch
from torch.nn import functional

from synthct.errors import UserError
from synthct.methods.registry import build_method
from synthct.networks.batch_spread import batch_spread
from synthct.networks.doubling import start_and_doublings
from synthct.networks.equalised import EqualisedConv, EqualisedLinear
from synthct.networks.fastgan import Excitation
from synthct.networks.fir import Upsample
from synthct.networks.registry import build_network
from synthct.networks.stylegan2 import ModulatedConv, StyleGAN2Discriminator, StyleGAN2Generator
from synthct.recipe import load_recipe

STYLE = {"name": "stylegan2", "capacity": 256, "widest": 16, "style": 12, "mapping": 2}
JUDGE = {"name": "stylegan2-discriminator", "capacity": 256, "widest": 16}
FAST = {"name": "fastgan", "capacity": 256, "widest": 16}
FAST_JUDGE = {"name": "fastgan-discriminator", "capacity": 256, "widest": 16}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_stylegan2_has_the_published_size():
    """Published training logs print, for RGB at 1024², D 29 012 513 and G 28 794 124 with a mapping of two layers."""
    with torch.device("meta"):
        assert count(StyleGAN2Generator(512, 3, size=[1024, 1024], mapping=2)) == 28_794_124
        assert count(StyleGAN2Generator(512, 3, size=[1024, 1024])) == 28_794_124 + 6 * (512 * 512 + 512)
        assert count(StyleGAN2Discriminator(3, size=[1024, 1024])) == 29_012_513


def test_fastgan_has_the_size_that_is_counted_by_hand():
    """Of 32×32 from latents of 5: 4² and 8² of 8 features, 16² of 4, 32² of 2, and one excitation from 4² to 32²."""
    network = build_network({**FAST, "capacity": 64, "widest": 8}, 5, 1, (32, 32), seed=0)
    begin = 5 * 16 * 16 + 2 * 16
    first = 8 * 16 * 9 + 2 * 16 + 8 * 16 * 9 + 2 * 16 + 2
    second = 8 * 8 * 9 + 2 * 8 + 4 * 8 * 9 + 2 * 8 + 2
    third = 4 * 4 * 9 + 2 * 4
    excitation = (8 * 2 * 16 + 2) + (2 * 2 + 2)
    assert count(network) == begin + first + second + third + excitation + (2 * 9 + 1)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (48, 80), (33, 130)])
@pytest.mark.parametrize(("generator", "judge"), [(STYLE, JUDGE), (FAST, FAST_JUDGE)], ids=["stylegan2", "fastgan"])
def test_shapes_and_a_gradient_for_every_parameter(generator, judge, size):
    made = build_network(generator, 10, 2, size, seed=0)
    judging = build_network(judge, 2, 1, size, seed=1)
    assert (made.latent_shape, made.dimensions, made.classes) == ((10,), 2, 0)
    for name, strength in made.named_parameters():
        if "strength" in name:  # begins as 0, and what it multiplies would have no gradient in the discriminator
            torch.nn.init.constant_(strength, 0.1)
    images = made(torch.randn(4, 10))
    assert images.shape == (4, 2, *size)
    if judge is JUDGE:
        logits = judging(images)
        assert logits.shape == (4, 1)
        loss = logits.square().mean()
    else:
        logits, found = judging.with_reconstructions(images)
        assert logits.shape[:2] == (4, 1) and min(logits.shape[2:]) >= 5
        assert all(pair.decoded.shape == pair.original.shape for pair in found)
        loss = logits.square().mean() + sum((pair.decoded - pair.original).abs().mean() for pair in found)
    loss.backward()
    for name, parameter in [*made.named_parameters(), *judging.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if parameter.dim() > 1:  # a bias before batch norm has a gradient of 0
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("preset", "latent", "channels", "size"),
    [
        ("oslo-stylegan2", 128, 1, (1024, 3680)),  # rows C7 and C8
        ("oslo-fastgan", 256, 1, (1024, 3680)),  # rows C6 and C8
        ("synthct-stylegan2", 512, 2, (256, 256)),
        ("synthct-fastgan", 256, 2, (256, 256)),
    ],
)
def test_presets_make_and_judge_images_of_the_tabled_size(preset, latent, channels, size):
    """On the meta device nothing is allocated."""
    with torch.device("meta"):
        networks = build_method(load_recipe(preset)).networks
        image = networks["generator"](torch.empty(2, latent))
        assert image.shape == (2, channels, *size)
        assert networks["discriminator"](image).shape[:2] == (2, 1)


@pytest.mark.parametrize("entry", [STYLE, FAST], ids=["stylegan2", "fastgan"])
def test_a_latent_decides_the_image_in_eval_mode(entry):
    network = build_network(entry, 10, 1, (32, 32), seed=0)
    for name, strength in network.named_parameters():
        if "strength" in name:
            torch.nn.init.constant_(strength, 0.5)
    latents = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.equal(network(latents), network(latents))
        network.eval()
        first = network(latents)
        assert torch.equal(first, network(latents))
        assert first.abs().max() <= 1
        assert not torch.allclose(first[0], first[1])
        torch.testing.assert_close(network(latents[:1]), first[:1])


def test_truncation_draws_the_style_to_its_running_mean():
    network = build_network({**STYLE, "truncation": 0.0}, 10, 1, (32, 32), seed=0).eval()
    mean = torch.randn(12)
    for _ in range(2000):
        network.track(mean)
    torch.testing.assert_close(network.mean_style, mean, atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        images = network(torch.randn(3, 10))
        torch.testing.assert_close(images[0], images[1])
        expected = network.image(network.repeated(network.mean_style[None])).clamp(-1, 1)
        torch.testing.assert_close(images[:1], expected)
        network.truncation = 1.0
        assert not torch.allclose(*network(torch.randn(2, 10)))


def test_every_style_reaches_its_own_layer_alone():
    network = build_network(STYLE, 10, 1, (32, 32), seed=0).eval()
    styles = network.repeated(network.styles(torch.randn(1, 10))).detach()
    seen = []
    for layer in [network.first, *(one for pair in zip(network.up, network.same, strict=True) for one in pair)]:
        layer.register_forward_hook(lambda _, given, __: seen.append(given[1]))
    for number in range(network.layers):
        changed = styles.clone()
        changed[:, number] += 1
        seen.clear()
        with torch.no_grad():
            assert not torch.equal(network.image(changed), network.image(styles))
        differ = [not torch.equal(a, b) for a, b in zip(seen[:7], seen[7:], strict=True)]
        assert differ == [number == layer for layer in range(7)]
    assert network.layers == 8


@pytest.mark.parametrize("doubles", [False, True])
def test_modulation_is_that_of_the_weights_and_demodulation_gives_unit_variance(doubles):
    torch.manual_seed(0)
    layer = ModulatedConv(6, 5, 4, 3, doubles=doubles).double()
    style, image = torch.randn(2, 4).double(), torch.randn(2, 6, 8, 8).double()
    scales = layer.affine(style)
    for number in range(2):  # equations 1 and 3, weights of each sample
        weight = layer.weight * layer.scale * scales[number][:, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        one = image[number : number + 1]
        if doubles:
            expected = layer.blur(functional.conv_transpose2d(one, weight.transpose(0, 1), stride=2))
        else:
            expected = functional.conv2d(one, weight, padding=1)
        torch.testing.assert_close(layer(image, style)[number : number + 1], expected)
    if not doubles:
        noise = torch.randn(2, 6, 200, 200).double()
        inside = layer(noise, 30 * style)[..., 1:-1, 1:-1].detach()
        assert inside.std(dim=(2, 3)).sub(1).abs().max() < 0.05


def test_equalised_layers_keep_the_variance_and_the_rate():
    torch.manual_seed(0)
    assert EqualisedConv(64, 256, 3)(torch.randn(4, 64, 16, 16))[..., 1:-1, 1:-1].std().item() == pytest.approx(
        1, abs=0.05
    )
    slow = EqualisedLinear(400, 300, rate=0.01)
    assert slow(torch.randn(50, 400)).std().item() == pytest.approx(1, abs=0.05)
    assert slow.weight.std().item() == pytest.approx(100, rel=0.05)
    assert EqualisedLinear(3, 4, bias=1.0, rate=0.01)(torch.zeros(1, 3)).tolist() == [[1.0] * 4]


def test_doubling_keeps_a_constant_and_its_middle():
    image = torch.zeros(1, 2, 6, 6)
    image[0, 0] = 3.0
    image[0, 1, 2:4, 2:4] = 1.0
    doubled = Upsample()(image)
    assert doubled.shape == (1, 2, 12, 12)
    assert (doubled[0, 0, 2:-2, 2:-2] == 3).all()
    torch.testing.assert_close(doubled[0, 1], doubled[0, 1].flip(0).flip(1))
    assert doubled[0, 1].sum().item() == pytest.approx(16)


def test_the_spread_of_a_batch_is_that_of_its_groups():
    features = torch.zeros(6, 2, 3, 3)
    features[:, 0] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])[:, None, None]
    found = batch_spread(features, 4)  # 6 has no groups of 4: groups of 3, images 0, 2, 4 and 1, 3, 5
    assert found.shape == (6, 1, 3, 3)
    expected = (torch.tensor([1.0, 3.0, 5.0]).std(unbiased=False) + 1e-4) / 2
    assert found.flatten().tolist() == pytest.approx([expected.item()] * 54, rel=1e-4)
    assert batch_spread(features[:1], 4).max() < 1e-3


def test_a_skip_excites_features_by_shares_of_one():
    torch.manual_seed(0)
    layer = Excitation(3, 5)
    small, large = torch.randn(2, 3, 8, 12), torch.randn(2, 5, 64, 96)
    with torch.no_grad():
        share = layer(small, large) / large
        assert share.shape == (2, 5, 64, 96)
        assert (share > 0).all() and (share < 1).all()
        torch.testing.assert_close(share, share[..., :1, :1].expand_as(share))
        other = layer(small + 1, large)
    assert not torch.allclose(other, share * large)


def test_a_reconstruction_is_compared_with_what_was_seen():
    """The quarter's original is the part of the image that its features stand for."""
    network = build_network(FAST_JUDGE, 1, 1, (64, 64), seed=0)
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = (row + 100 * column)[None, None]
    _, (whole, part) = network.with_reconstructions(image.expand(2, -1, -1, -1))
    torch.testing.assert_close(whole.original[0, 0], image[0, 0])
    offset = part.original - part.original[..., :1, :1]
    torch.testing.assert_close(offset[0, 0], image[0, 0, :32, :32])
    places = set()
    for _ in range(20):
        _, (_, part) = network.with_reconstructions(image.expand(2, -1, -1, -1))
        places.add(part.original[0, 0, 0, 0].item())
    assert len(places) > 5


def test_sizes_come_from_small_grids():
    assert start_and_doublings([256, 256]) == ((4, 4), 6)
    assert start_and_doublings([1024, 3680]) == ((4, 15), 8)
    assert start_and_doublings([96, 96]) == ((6, 6), 4)
    for size in ([31, 64], [32, 32, 32]):
        with pytest.raises(UserError, match=r"32 or more"):
            start_and_doublings(size)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({**STYLE, "truncation": 2.0}, "truncation"),
        ({**STYLE, "mapping": 0}, "mapping 0"),
        ({**JUDGE, "group": 0}, "group 0"),
        ({**FAST, "capacity": 0}, "capacity 0"),
        ({**FAST_JUDGE, "widest": 0}, "widest 0"),
    ],
)
def test_wrong_numbers_are_refused(entry, words):
    with pytest.raises(UserError, match=words):
        build_network(entry, 4, 1, (32, 32))
