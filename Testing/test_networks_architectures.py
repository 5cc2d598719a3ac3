"""Sizes of the published networks, counted here by hand, on the meta device; shapes and gradients of narrow ones."""

import itertools

import pytest
import torch
from torch import nn

from synthct.errors import UserError
from synthct.networks.d_disc import DDisc
from synthct.networks.initialisation import initialise
from synthct.networks.multiscale_patchgan import MultiscalePatchGAN
from synthct.networks.patchgan import PatchGAN
from synthct.networks.pix2pix_unet import Pix2PixUNet
from synthct.networks.registry import NETWORKS, build_network
from synthct.networks.residual_encoder_unet import ResidualEncoderUNet
from synthct.networks.resnet_generator import ResNetGenerator
from synthct.networks.unet import UNet

GENERATORS = [
    {"name": "unet", "width": "4-6-8"},
    {"name": "unet", "width": 4, "depth": 2, "norm": "batch", "upsampling": "bilinear", "output": "linear"},
    {"name": "unet", "width": [4, 8], "norm": "group", "upsampling": "resize", "dropout": 0.1},
    {"name": "unet", "width": "4-8", "norm": "instance", "initialisation": "normal"},
    {"name": "resnet", "width": 4, "blocks": 2},
    {"name": "resnet", "width": 4, "blocks": 1, "norm": "batch", "upsampling": "resize", "dropout": 0.1},
    {"name": "resnet", "width": 4, "blocks": 1, "norm": "group", "upsampling": "bilinear", "output": "linear"},
    {"name": "pix2pix-unet", "width": 4, "depth": 3},
    {"name": "pix2pix-unet", "width": 4, "depth": 4, "upsampling": "resize", "norm": "instance", "output": "linear"},
    {"name": "pix2pix-unet", "width": 4, "depth": 2, "upsampling": "bilinear", "norm": "none", "dropout": 0.0},
]
DISCRIMINATORS = [
    {"name": "patchgan", "width": 4},
    {"name": "patchgan", "width": 4, "layers": 2, "norm": "batch"},
    {"name": "d-disc", "width": 4},
    {"name": "d-disc", "width": 4, "norm": "none", "dropout": 0.0, "last_dropout": 0.0},
]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def convolution(before, after, kernel, bias=True):
    return before * after * kernel**2 + (after if bias else 0)


def meta(name, channels=1, **options):
    with torch.device("meta"):
        return build_network({"name": name, **options}, channels, 1, (256, 256))


@pytest.mark.parametrize("channels", [1, 3])
def test_unet_has_the_parameters_of_ronneberger(channels):
    widths = [64, 128, 256, 512, 1024]
    expected = sum(
        convolution(a, b, 3) + convolution(b, b, 3) for a, b in zip([channels, *widths[:-1]], widths, strict=True)
    )
    for shallow, deep in itertools.pairwise(widths):
        expected += convolution(deep, shallow, 2)  # transposed
        expected += convolution(deep, shallow, 3) + convolution(shallow, shallow, 3)  # after concatenation
    expected += convolution(64, 1, 1)
    assert count(meta("unet", channels)) == expected
    if channels == 1:
        assert expected == 31_030_593


def test_resnet_9_has_the_parameters_of_cyclegan():
    """11.378 million, published for 3 → 3 channels."""
    with torch.device("meta"):
        generator = ResNetGenerator(3, 3)
    expected = convolution(3, 64, 7) + convolution(64, 128, 3) + convolution(128, 256, 3)
    expected += 9 * 2 * convolution(256, 256, 3)
    expected += convolution(256, 128, 3) + convolution(128, 64, 3) + convolution(64, 3, 7)
    assert count(generator) == expected == 11_378_179


def test_patchgan_has_the_parameters_of_cyclegan():
    with torch.device("meta"):
        discriminator = PatchGAN(3)
    widths = [3, 64, 128, 256, 512, 1]
    expected = sum(convolution(a, b, 4) for a, b in itertools.pairwise(widths))
    assert count(discriminator) == expected == 2_764_737
    assert discriminator(torch.empty(2, 3, 256, 256, device="meta")).shape == (2, 1, 30, 30)


def test_patchgan_judges_patches_of_70_voxels():
    """By arithmetic, and by looking which input voxels one output depends on."""
    field = 1
    for kernel, stride in reversed([(4, 2), (4, 2), (4, 2), (4, 1), (4, 1)]):
        field = (field - 1) * stride + kernel
    assert field == 70
    network = PatchGAN(1, width=2, norm="none").double()
    image = torch.randn(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    output = network(image)
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 70


def test_pix2pix_unet_has_the_parameters_of_isola():
    """54.414 million, published for 3 → 3 channels and eight halvings."""
    with torch.device("meta"):
        generator = Pix2PixUNet(3, 3)
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    expected = sum(convolution(a, b, 4, bias=False) for a, b in itertools.pairwise(down)) + 64  # the first has a bias
    up = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64)]
    expected += sum(convolution(a, b, 4, bias=False) for a, b in up) + convolution(128, 3, 4)
    expected += sum(2 * channels for channels in [*down[2:8], *(b for _, b in up)])  # batch norm
    assert count(generator) == expected == 54_414_019
    kinds = [[type(layer).__name__ for layer in block] for block in generator.decoder]
    plain = ["ReLU", "ConvTranspose2d", "BatchNorm2d"]
    assert kinds == [[*plain, "Dropout"]] * 3 + [plain] * 4
    assert generator(torch.empty(2, 3, 256, 256, device="meta")).shape == (2, 3, 256, 256)


def test_pix2pix_unet_for_128_voxels_is_row_b6():
    network = meta("pix2pix-unet", depth=7)
    filters = [next(m for m in block.modules() if isinstance(m, nn.Conv2d)).out_channels for block in network.encoder]
    assert filters == [64, 128, 256, 512, 512, 512, 512]
    doublings = [block[1].out_channels for block in [*network.decoder, network.head]]
    assert doublings == [512, 512, 512, 256, 128, 64, 1]


def test_pix2pix_unet_uses_every_resolution():
    network = build_network({"name": "pix2pix-unet", "width": 4, "depth": 4}, 1, 1, seed=0).eval()
    image = torch.randn(1, 1, 32, 32)
    before = network(image)
    for block in network.encoder:
        weight = next(m for m in block.modules() if isinstance(m, nn.Conv2d)).weight
        kept = weight.detach().clone()
        nn.init.zeros_(weight)
        assert not torch.equal(network(image), before)
        weight.data = kept


def test_multiscale_patchgan_halves_the_image():
    network = MultiscalePatchGAN(1, scales=3, width=2, layers=2)
    assert count(network) == 3 * count(PatchGAN(1, width=2, layers=2))
    image = torch.randn(2, 1, 64, 64)
    logits = network(image)
    assert [tuple(scale.shape) for scale in logits] == [(2, 1, 14, 14), (2, 1, 6, 6), (2, 1, 2, 2)]
    assert torch.equal(logits[0], network.scales[0](image))
    interior = image[:, :, 1:4, 1:4].mean(dim=(2, 3))  # 3×3 around row 2, column 2
    torch.testing.assert_close(network.halve(image)[:, :, 1, 1], interior)
    torch.testing.assert_close(network.halve(torch.ones(1, 1, 8, 8)), torch.ones(1, 1, 4, 4))  # the border too
    sum(scale.square().mean() for scale in logits).backward()
    assert_gradients(network)


def checkerboard(image):
    """Return the share of the energy (mean left out) at half a cycle per voxel along rows, columns or both."""
    spectrum = torch.fft.fft2(image - image.mean(dim=(-2, -1), keepdim=True)).abs().square()
    rows, columns = image.shape[-2] // 2, image.shape[-1] // 2
    nyquist = spectrum[..., rows, :].sum() + spectrum[..., columns].sum() - spectrum[..., rows, columns].sum()
    return (nyquist / spectrum.sum()).item()


@pytest.mark.parametrize(
    "entry", [{"name": "pix2pix-unet", "depth": 4, "width": 8}, {"name": "resnet", "blocks": 1, "width": 8}], ids=str
)
def test_resize_convolution_leaves_no_checkerboard(entry):
    """At random weights and for a smooth image; the transposed convolutions of the published decoders do leave one."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij")
    image = torch.exp(-4 * (x**2 + y**2))[None, None]
    energy = {"transposed": [], "resize": []}
    for upsampling, found in energy.items():
        for seed in range(3):
            options = {"upsampling": upsampling, "output": "linear"}
            network = build_network({**entry, **options}, 1, 1, seed=seed).eval()
            with torch.no_grad():
                found.append(checkerboard(network(image)[..., 32:-32, 32:-32]))
    assert min(energy["transposed"]) > 0.1
    assert max(energy["resize"]) < 0.05 * min(energy["transposed"])


def test_d_disc_has_four_convolutions_and_a_dense_layer():
    network = meta("d-disc")
    widths = [1, 64, 128, 256, 512]
    expected = sum(convolution(a, b, 3) + 2 * b for a, b in itertools.pairwise(widths))
    assert count(network) == expected + 512 * 16 * 16 + 1
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Conv2d", "BatchNorm2d", "LeakyReLU", "Dropout"] * 4 + ["Flatten", "Linear"]
    assert [layer.p for layer in network.layers if isinstance(layer, nn.Dropout)] == [0.15, 0.15, 0.15, 0.4]
    norms = [layer for layer in network.layers if isinstance(layer, nn.BatchNorm2d)]
    assert all(layer.momentum == 0.1 for layer in norms)  # Keras' 0.9
    assert all(layer.stride == (2, 2) for layer in network.layers if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("entry", GENERATORS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_generators_keep_the_size_and_learn_everywhere(entry, channels):
    network = build_network(entry, channels, 1, seed=0)
    size = (network.divisor * 4, network.divisor * 6)
    output = network(torch.randn(2, channels, *size))
    assert output.shape == (2, 1, *size)
    output.square().mean().backward()
    assert_gradients(network)
    tanh = entry.get("output", "tanh") == "tanh"
    assert isinstance(list(network.modules())[-1], nn.Tanh) == tanh


@pytest.mark.parametrize("entry", DISCRIMINATORS, ids=str)
def test_discriminators_give_logits_and_learn_everywhere(entry):
    network = build_network(entry, 1, 1, (32, 48), seed=0)
    output = network(torch.randn(3, 1, 32, 48))
    assert output.shape[:2] == (3, 1)
    assert not any(isinstance(module, nn.Sigmoid) for module in network.modules())
    output.square().mean().backward()
    assert_gradients(network)


def assert_gradients(network):
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if parameter.dim() > 1:  # a bias before instance norm has a gradient of 0
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("upsampling", ["transposed", "resize", "bilinear"])
def test_unet_uses_every_resolution(upsampling):
    """The output depends on skips and bottom alike: zeroing either changes it."""
    network = build_network({"name": "unet", "width": "8-8-8", "upsampling": upsampling}, 1, 1, seed=0).eval()
    image = torch.randn(1, 1, 16, 16)
    before = network(image)
    for block in network.encoder:
        kept = block[-2].weight.detach().clone(), block[-2].bias.detach().clone()
        nn.init.zeros_(block[-2].weight)
        nn.init.zeros_(block[-2].bias)
        assert not torch.equal(network(image), before)
        block[-2].weight.data, block[-2].bias.data = kept
    assert torch.equal(network(image), before)


def test_seed_fixes_the_weights_and_leaves_the_global_generator():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = build_network({"name": "unet", "width": "4-8"}, 1, 1, seed=1)
    assert torch.equal(torch.rand(3), expected)
    second = build_network({"name": "unet", "width": "4-8"}, 1, 1, seed=1)
    third = build_network({"name": "unet", "width": "4-8"}, 1, 1, seed=2)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(first.parameters()), next(third.parameters()))


def test_initialisations():
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3)
    initialise(layer, "normal")
    assert layer.weight.detach().std() == pytest.approx(0.02, rel=0.02)
    assert layer.bias.abs().max() == 0
    initialise(layer, "glorot")
    limit = (6 / ((64 + 128) * 9)) ** 0.5
    assert layer.weight.abs().max() <= limit
    assert layer.weight.detach().std() == pytest.approx(limit / 3**0.5, rel=0.02)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "unett"}, ["unett", "Did you mean unet?", "the network"]),
        ({"width": 4}, ["has no name"]),
        ({"name": "unet", "widht": 4}, ["widht", "Did you mean width?"]),
        ({"name": "unet", "norm": "bach"}, ["norm", "bach", "Did you mean batch?"]),
        ({"name": "unet", "dropout": "much"}, ["dropout", "float"]),
        ({"name": "unet", "width": 1.5}, ["width"]),
        ({"name": "unet", "width": "4-x"}, ["4-x", "24-48-96-192"]),
        ({"name": "unet", "width": "4-8", "depth": 4}, ["depth 4", "Set depth to 1"]),
        ({"name": "unet", "width": [4]}, ["[4]"]),
        ({"name": "unet", "width": 4, "depth": 0}, ["depth"]),
        ({"name": "unet", "depth": True}, ["depth"]),
        ({"name": "resnet", "blocks": 0}, ["0 blocks"]),
        ({"name": "patchgan", "layers": 0}, ["0 layers"]),
        ({"name": "pix2pix-unet", "depth": 1}, ["depth 1"]),
        ({"name": "multiscale-patchgan", "scales": 0}, ["0 scales"]),
        ({"name": "d-disc"}, ["size"]),
        ({"name": "d-disc", "size": [8, 8]}, ["8×8"]),
    ],
)
def test_wrong_entries_are_refused_by_name(entry, words):
    with pytest.raises(UserError) as caught:
        build_network(entry, 1, 1)
    for word in words:
        assert word in str(caught.value)


def test_every_network_is_registered():
    """What recipes and models of earlier versions may name, and nothing that is not known here."""
    translate = {
        "unet": UNet,
        "resnet": ResNetGenerator,
        "pix2pix-unet": Pix2PixUNet,
        "resenc-unet": ResidualEncoderUNet,
    }
    judge = {"patchgan": PatchGAN, "multiscale-patchgan": MultiscalePatchGAN, "d-disc": DDisc}
    assert {name: NETWORKS[name] for name in translate | judge} == translate | judge
    segment = {"unet-3d", "segresnet", "resnet-classifier"}
    from_noise = {"dcgan-generator", "noise-unet", "progressive", "stylegan2", "fastgan", "ha-gan-generator"}
    judge_noise = {"dcgan-discriminator", "strided-discriminator", "progressive-critic", "stylegan2-discriminator"}
    judge_noise |= {"fastgan-discriminator", "ha-gan-discriminator", "ha-gan-encoder", "ha-gan-global-encoder"}
    assert set(NETWORKS) == {*translate, *judge, *segment, *from_noise, *judge_noise}
