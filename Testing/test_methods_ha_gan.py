"""HA-GAN: its tables, one step by hand, alignment of sub-volumes, shared passes, pieces, learning, refusals.

The faults of the public implementation, and where each is shown to be absent: sub-volumes beside the low-resolution
volume (`test_what_the_discriminator_sees_is_aligned`), a batch of one (`test_any_batch`), a fixed device
(`test_nothing_is_put_on_a_device_of_its_own`); no running mean, no resume, unshuffled data (`test_training_hagan.py`).
"""

import copy
import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from test_methods_steps import NoUpdate, PlainUpdate

from synthct.data.phantom_pairs import phantom_pair
from synthct.errors import UserError
from synthct.evaluation.distribution.distances import frechet_distance
from synthct.methods.noise import draw_latents
from synthct.methods.registry import build_method
from synthct.networks.ha_gan import HAGANGenerator, Measures
from synthct.networks.ha_gan_discriminator import HAGANDiscriminator
from synthct.networks.ha_gan_encoders import HAGANEncoder, HAGANGlobalEncoder
from synthct.networks.spectral_norm import SpectralNorm, spectral_norm
from synthct.recipe import load_recipe, recipe_from_dict

ROLES = ("generator", "discriminator", "encoder", "global_encoder")
LATENT = 16


@pytest.fixture(autouse=True)
def one_thread():
    """Networks so small lose more by threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ha_gan(side=32, networks=None, data=None, **options):
    small = {
        "generator": {"name": "ha-gan-generator", "width": 32},
        "discriminator": {"name": "ha-gan-discriminator", "width": 64},
        "encoder": {"name": "ha-gan-encoder"},
        "global_encoder": {"name": "ha-gan-global-encoder", "width": 16},
    }
    content = {
        "name": "test",
        "source": "test",
        "task": "noise-to-ct",
        "method": {"name": "ha-gan", "latent": LATENT, **options},
        "networks": small if networks is None else networks,
        "optimisers": {role: {"name": "adam", "lr": 1e-3, "beta1": 0, "beta2": 0.99} for role in ROLES},
        "data": {
            "size": [side] * 3,
            "paired": False,
            "masks": "channel",
            "target_scaling": {"name": "hagan-ct"},
            **(data or {}),
        },
    }
    return build_method(recipe_from_dict(content))


def batch(count=2, side=32, channels=2, seed=0):
    return {"target": torch.randn(count, channels, side, side, side, generator=torch.manual_seed(seed)).tanh()}


class Calls:
    """How often the parts of a method are called, and with what."""

    def __init__(self, method):
        self.seen = {}
        generator = method.networks["generator"]
        parts = {"trunk": generator.trunk, "high": generator.high, "low": generator.low}
        parts |= {role: network for role, network in method.networks.items() if role != "generator"}
        for name, part in parts.items():
            part.register_forward_hook(lambda _, given, __, name=name: self.seen.setdefault(name, []).append(given))

    def counts(self):
        return {name: len(given) for name, given in self.seen.items()}


# --- the tables ---


@pytest.mark.parametrize(("side", "channels"), [(32, 1), (64, 2), (128, 1), (256, 2)])
def test_shapes_of_the_tables(side, channels):
    low, slices = side // 4, side // 8
    with torch.device("meta"):
        generator = HAGANGenerator(1024, channels, size=[side] * 3)
        a = generator.trunk(torch.empty(3, 1024))
        assert a.shape == (3, 64, low, low, low)
        part = generator.high(generator.measures.crop_latent(a, 3))
        assert part.shape == (3, channels, slices, side, side)
        whole = generator.low(a)
        assert whole.shape == (3, channels, low, low, low)
        assert generator(torch.empty(3, 1024)).shape == (3, channels, side, side, side)
        judge = HAGANDiscriminator(channels, size=[side] * 3)
        assert judge(part, whole, torch.empty(3)).shape == (3, 1)
        assert HAGANEncoder(channels, 64)(part).shape == (3, 64, low // 8, low, low)
        assert HAGANGlobalEncoder(64, 1024, size=[side] * 3)(a).shape == (3, 1024)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def conv(before, after, *kernel):
    return before * after * math.prod(kernel) + after


@pytest.mark.parametrize("side", [128, 256])
def test_parameters_of_the_tables(side):
    """Each layer written out: weights and biases, and two for each channel of a GroupNorm."""
    with torch.device("meta"):
        found = [
            HAGANGenerator(1024, 1, size=[side] * 3),
            HAGANDiscriminator(1, size=[side] * 3),
            HAGANEncoder(1, 64),
            HAGANGlobalEncoder(64, 1024, size=[side] * 3),
        ]
    trunk = 1024 * 512 * 64 + 512 * 64
    trunk += 2 * conv(512, 512, 27) + conv(512, 256, 27) + conv(256, 128, 27) + conv(128, 64, 27)
    trunk += 2 * (512 + 512 + 256 + 128 + 64)
    high = conv(64, 32, 27) + 2 * 32 + conv(32, 1, 27)
    low = conv(64, 32, 27) + 2 * 32 + conv(32, 16, 27) + 2 * 16 + conv(16, 1, 27)
    assert parameters(found[0]) == trunk + high + low == 52_518_210

    if side == 256:  # 32×256×256 → 1×4×4
        judge_high = conv(1, 16, 4, 4, 4) + conv(16, 32, 4, 4, 4) + conv(32, 64, 4, 4, 4) + conv(64, 128, 4, 4, 4)
        judge_high += conv(128, 256, 2, 4, 4) + conv(256, 512, 1, 4, 4)
        judge_low = conv(1, 32, 64)
    else:  # 16×128×128 → 1×4×4
        judge_high = conv(1, 32, 4, 4, 4) + conv(32, 64, 4, 4, 4) + conv(64, 128, 4, 4, 4)
        judge_high += conv(128, 256, 2, 4, 4) + conv(256, 512, 1, 4, 4)
        judge_low = 0
    judge_high += conv(512, 128, 1, 4, 4) + (129 * 64 + 64) + (64 + 1)
    judge_low += conv(32 if side == 256 else 1, 64, 64) + conv(64, 128, 64) + conv(128, 256, 64) + conv(256, 1, 64)
    assert parameters(found[1]) == judge_high + judge_low

    assert parameters(found[2]) == conv(1, 32, 64) + conv(32, 32, 27) + conv(32, 64, 64) + 2 * (32 + 32 + 64)

    encoder = conv(64, 64, 64) if side == 128 else conv(64, 32, 64) + conv(32, 64, 64) + 2 * 32
    encoder += conv(64, 128, 64) + conv(128, 256, 64) + conv(256, 1024, 64) + 2 * (64 + 128 + 256)
    assert parameters(found[3]) == encoder


# --- one step ---


def test_step_by_hand():
    method, given = ha_gan(), batch(3)
    networks = copy.deepcopy(method.networks)
    generator, judge = networks["generator"], networks["discriminator"]
    real = given["target"]
    torch.manual_seed(7)
    r = int(torch.randint(8, ()))  # 32³: A has 8 slices, and one of them lies under a sub-volume of 4
    a = generator.trunk(torch.randn(3, LATENT))
    part, low = generator.high(a[:, :, r : r + 1]), generator.low(a)
    real_part, place = real[:, :, 4 * r : 4 * r + 4], torch.full((3,), r / 7)
    real_low = real.reshape(3, 2, 8, 4, 8, 4, 8, 4).mean(dim=(3, 5, 7))
    softplus = torch.nn.functional.softplus
    with torch.no_grad():
        on_real, on_made = judge(real_part, real_low, place), judge(part, low, place)
        judge.eval()
        expected = {
            "d_real": softplus(-on_real).mean(),
            "d_synthetic": softplus(on_made).mean(),
            "g_adversarial": softplus(-judge(part, low, place)).mean(),
            "e_l1": (generator.high(networks["encoder"](real_part)) - real_part).abs().mean(),
        }
        pieces = [networks["encoder"](piece) for piece in real.split(4, dim=2)]
        again = generator.trunk(networks["global_encoder"](torch.cat(pieces, dim=2)))
        expected["ge_l1_low"] = (generator.low(again) - real_low).abs().mean()
        expected["ge_l1_high"] = (generator.high(again[:, :, r : r + 1]) - real_part).abs().mean()
    update = NoUpdate()
    torch.manual_seed(7)
    losses = method.training_step(given, update, 0.0)
    wanted = {name: pytest.approx(value.item(), rel=1e-4) for name, value in expected.items()}
    assert {name: value.item() for name, value in losses.items()} == wanted
    assert update.calls == [
        ("discriminator", pytest.approx((expected["d_real"] + expected["d_synthetic"]).item(), rel=1e-4)),
        ("generator", wanted["g_adversarial"]),
        ("encoder", wanted["e_l1"]),
        ("global_encoder", pytest.approx(0.5 * (expected["ge_l1_low"] + expected["ge_l1_high"]).item(), rel=1e-4)),
    ]


@pytest.mark.parametrize("side", [32, 64])
def test_every_parameter_gets_its_gradient_in_its_turn(side):
    method = ha_gan(side)
    seen = {}

    class Watching(PlainUpdate):
        """It also refuses a step that changes another network's weights."""

        def __call__(self, name, loss):
            super().__call__(name, loss)
            for key, parameter in method.networks[name].named_parameters():
                assert parameter.grad is not None, f"{name}.{key}"
                assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, f"{name}.{key}"
            others = [role for role in ROLES if role != name]
            seen[name] = [p.grad for role in others for p in method.networks[role].parameters()]
            for network in method.networks.values():
                network.zero_grad(set_to_none=True)

    method.training_step(batch(2, side), Watching(method), 0.0)
    assert list(seen) == list(ROLES[1::-1]) + list(ROLES[2:])
    assert all(gradient is None for gradients in seen.values() for gradient in gradients)


@pytest.mark.parametrize(("options", "passes"), [
    ({"encoders": False}, {"trunk": 1, "high": 1, "low": 1, "discriminator": 3}),
    ({"encoders": False, "generator_steps": 3}, {"trunk": 3, "high": 3, "low": 3, "discriminator": 5}),
    ({}, {"trunk": 2, "high": 3, "low": 2, "discriminator": 3, "encoder": 9, "global_encoder": 1}),
])  # fmt: skip
def test_no_pass_is_repeated_that_could_be_shared(options, passes):
    """D's and G's first update stand on one pass of the trunk, and both heads on the same; E^G's needs its own."""
    method = ha_gan(**options)
    calls = Calls(method)
    method.training_step(batch(), PlainUpdate(method), 0.0)
    assert calls.counts() == passes


@pytest.mark.parametrize("count", [1, 3])
def test_any_batch(count):
    method = ha_gan()
    update = PlainUpdate(method)
    for step in range(3):
        torch.manual_seed(step)
        losses = method.training_step(batch(count, seed=step), update, 0.0)
        assert all(value.isfinite() and not value.requires_grad for value in losses.values())
    with torch.no_grad():
        assert method.networks["generator"](torch.randn(count, LATENT)).shape == (count, 2, 32, 32, 32)


def test_encoders_leave_the_generator_as_it_is():
    weights = []
    for encoders in (True, False):
        method = ha_gan(encoders=encoders)
        for step in range(3):
            torch.manual_seed(step)
            method.training_step(batch(seed=step), PlainUpdate(method), 0.0)
        weights.append({**method.networks["generator"].state_dict(), **method.networks["discriminator"].state_dict()})
    assert "encoder" not in method.networks
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_mixed_precision_keeps_losses_gradients_and_spectral_norm_whole():
    method = ha_gan()
    kinds = set()

    class Watching(PlainUpdate):
        def __call__(self, name, loss):
            super().__call__(name, loss)
            kinds.update(p.grad.dtype for p in method.networks[name].parameters())
            kinds.add(loss.dtype)
            torch.clear_autocast_cache()

    with torch.autocast("cpu", torch.bfloat16):
        for step in range(2):
            losses = method.training_step(batch(seed=step), Watching(method), 0.0)
            assert all(value.isfinite() for value in losses.values())
    assert kinds == {torch.float32}
    norms = [module for module in method.networks.modules() if isinstance(module, SpectralNorm)]
    assert norms and all(norm.u.dtype == norm.v.dtype == torch.float32 for norm in norms)


def test_nothing_is_put_on_a_device_of_its_own():
    """Where the batch lies, the step lies: tried with a device that refuses to work with another's tensors."""
    with torch.device("meta"):
        method = ha_gan(64)
        given = torch.empty(2, 2, 64, 64, 64)
    devices = set()
    calls = Calls(method)
    method.training_step({"target": given}, lambda _, loss: devices.add(loss.device.type), 0.0)
    devices |= {value.device.type for found in calls.seen.values() for values in found for value in values}
    assert devices == {"meta"}


# --- ours: what keeps a small training from giving one volume ---


def judge_without_norm(**options):
    return {"generator": {"name": "ha-gan-generator", "width": 32, "groups": 1}} | {
        "discriminator": {"name": "ha-gan-discriminator", "width": 64, "norm": "none", "group": 4, **options}
    }


def test_r1_comes_in_its_turn_and_counts_for_those_left_out():
    method = ha_gan(networks=judge_without_norm(), encoders=False, r1_weight=3.0, r1_every=2)
    update, given, found = NoUpdate(), batch(), []
    for _ in range(3):
        torch.manual_seed(1)
        found.append(method.training_step(given, update, 0.0))
    assert [("r1" in losses) for losses in found] == [True, False, True]
    (_, with_r1), _, (_, without), _, _, _ = update.calls
    assert with_r1 - without == pytest.approx(3.0 / 2 * 2 * found[0]["r1"].item(), rel=1e-4)

    real = given["target"]
    torch.manual_seed(1)
    r = int(torch.randint(8, ()))
    part, low = real[:, :, 4 * r : 4 * r + 4].clone(), torch.nn.functional.avg_pool3d(real, 4)
    seen = [part.requires_grad_(), low.requires_grad_()]
    slopes = torch.autograd.grad(method.networks["discriminator"](*seen, torch.full((2,), r / 7)).sum(), seen)
    by_hand = sum(slope.square().sum() for slope in slopes) / 2
    assert found[0]["r1"].item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert method.state_dict() == {"steps": 3}


def test_r1_trains_every_weight_of_the_discriminator():
    method = ha_gan(networks=judge_without_norm(), encoders=False, r1_weight=1.0, r1_every=1, augment="shift")
    update = PlainUpdate(method)
    method.training_step(batch(4), update, 0.0)
    for name, parameter in method.networks["discriminator"].named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert not any(isinstance(module, SpectralNorm) for module in method.networks["discriminator"].modules())


def test_shifted_sub_volumes_stay_in_their_low_resolution():
    method = ha_gan(64, augment="shift", encoders=False)
    sides = method.networks["generator"].measures
    calls, filled = Calls(method), set()
    for step in range(4):
        torch.manual_seed(step)
        given = batch(3, 64, seed=step)
        method.training_step(given, NoUpdate(), 0.0)
        part, low, place = calls.seen["discriminator"][-3]
        r = round(place[0].item() * (sides.positions - 1))
        torch.testing.assert_close(sides.low_resolution(part), low[:, :, r : r + 2])
        for volume, before in zip(part, given["target"], strict=True):
            assert volume.std() > 0.5 and (volume == -1).any() != volume.equal(before[:, 4 * r : 4 * r + 8])
            filled.add(int((volume == -1).sum()))
    assert len(filled) > 4  # many different steps: as much air has come in


def test_a_generator_of_one_volume_stands_out_to_a_discriminator_that_compares():
    torch.manual_seed(0)
    judge = HAGANDiscriminator(1, size=[32] * 3, width=64, norm="none", group=4)
    part, low = (
        torch.randn(1, 1, 4, 32, 32).expand(4, -1, -1, -1, -1),
        torch.randn(1, 1, 8, 8, 8).expand(4, -1, -1, -1, -1),
    )
    place = torch.zeros(4)
    alike = judge(part, low, place)
    alone = torch.cat([judge(part[:1], low[:1], place[:1])] * 4)
    torch.testing.assert_close(alike, alone)
    mixed = torch.cat([low[:1], torch.randn(3, 1, 8, 8, 8)])
    assert not torch.allclose(judge(part, mixed, place)[0], alike[0], atol=1e-4)


# --- alignment ---


@pytest.mark.parametrize("side", [32, 64, 128])
def test_a_sub_volume_shows_what_the_low_resolution_shows_there(side):
    sides = Measures(side)
    volume = torch.randint(0, 99, (1, 1, side, side, side), generator=torch.manual_seed(0)).double()
    low = sides.low_resolution(volume)
    assert low.shape[2:] == 3 * (side // 4,)
    assert sides.crop(volume, sides.positions - 1)[:, :, -1].equal(volume[:, :, -1])  # the last place ends at the end
    for r in range(sides.positions):
        assert sides.low_resolution(sides.crop(volume, r)).equal(sides.crop_latent(low, r))


def test_what_the_discriminator_sees_is_aligned():
    """In real and generated volumes alike: the low-resolution voxels under the sub-volume are its own, at every r."""
    method, seen = ha_gan(64), set()
    sides = method.networks["generator"].measures
    calls = Calls(method)
    for step in range(8):
        torch.manual_seed(step)
        given = batch(2, 64, seed=step)
        method.training_step(given, NoUpdate(), 0.0)
        (part, low, place), (made, made_low, again), _ = calls.seen["discriminator"][-3:]
        r = round(place[0].item() * (sides.positions - 1))
        assert place.unique().numel() == 1 and again.equal(place)
        assert part.equal(given["target"][:, :, 4 * r : 4 * r + 8])
        torch.testing.assert_close(sides.low_resolution(part), low[:, :, r : r + 2])
        assert made.shape == part.shape and made_low.shape == low.shape
        a = method.networks["generator"].trunk.blocks[-1]
        under = calls.seen["high"][-3][0]  # the generated sub-volume's part of A: G's, E^H's, E^G's pass
        whole = calls.seen["low"][-2][0]
        assert under.equal(whole[:, :, r : r + 2]) and a[0].out_channels == under.shape[1]
        seen.add(r)
    assert len(seen) > 3 and max(seen) <= 14


def test_sub_volumes_are_where_the_whole_volume_has_them():
    """Without GroupNorm, whose statistics differ, a sub-volume's inner slices are those of the whole volume."""
    generator = HAGANGenerator(LATENT, 2, size=[64] * 3, width=32)
    generator.high.norm = torch.nn.Identity()
    sides = generator.measures
    with torch.no_grad():
        a = generator.trunk(torch.randn(1, LATENT, generator=torch.manual_seed(0)))
        whole = generator.high(a)
        for r in (0, 5, sides.positions - 1):
            part = generator.high(sides.crop_latent(a, r))[:, :, 3:-3]
            torch.testing.assert_close(part, sides.crop(whole, r)[:, :, 3:-3])
            assert not torch.allclose(part, whole[:, :, 4 * r + 2 : 4 * r + 4], atol=1e-4)


@pytest.mark.parametrize("numbers", [1, 60_000, 400_000])
def test_pieces_make_the_same_volume(numbers, monkeypatch):
    generator = HAGANGenerator(LATENT, 2, size=[64] * 3, width=32).eval()
    z = torch.randn(2, LATENT, generator=torch.manual_seed(1))
    whole = generator(z).detach()
    seen = []
    generator.high.last.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[2]))
    with torch.no_grad():
        pieces = generator.high.in_pieces(generator.trunk(z), numbers)
        assert len(seen) > 1 and max(seen) < 64
        assert (pieces - whole).abs().max() < 1e-5
        assert (generator(z) - whole).abs().max() < 1e-5
    assert whole.std() > 1e-3


# --- spectral norm ---


def test_spectral_norm_is_the_largest_singular_value():
    torch.manual_seed(0)
    layer = spectral_norm(torch.nn.Conv3d(3, 8, 4))
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(7)
        for _ in range(60):
            normed = layer.weight
    assert torch.linalg.matrix_norm(normed.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(
        normed / normed.norm(), layer.parametrizations.weight.original / layer.parametrizations.weight.original.norm()
    )
    layer.eval()
    kept = layer.parametrizations.weight[0].u.clone()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert layer.weight.equal(layer.weight) and layer.weight.dtype == torch.float32
    assert kept.equal(layer.parametrizations.weight[0].u)


def test_discriminator_stands_still_for_the_generator():
    method = ha_gan(encoders=False)
    kept = []

    class Watching(PlainUpdate):
        def __call__(self, name, loss):
            super().__call__(name, loss)
            kept.append({key: value.clone() for key, value in method.networks["discriminator"].state_dict().items()})

    method.training_step(batch(), Watching(method), 0.0)
    now = method.networks["discriminator"].state_dict()
    assert all(value.equal(kept[0][key]) for key, value in now.items())
    assert method.networks["discriminator"].training


# --- learning ---


def features(volumes):
    """The mean of each block of 8³ voxels, of both channels: 128 for a pair of 32³."""
    blocks = torch.nn.functional.avg_pool3d(volumes.double(), 8)
    return blocks.flatten(1).numpy()


def test_eight_phantoms_are_learned():
    """The Fréchet distance of block means falls to a third at least (three seeds: to between a fifth and a seventh)."""
    shown = []
    for number in range(8):
        image, mask = (torch.from_numpy(sitk.GetArrayFromImage(part)).float() for part in phantom_pair(number))
        pair = torch.stack([(image.clamp(-1024, 600) + 1024) / 812 - 1, 2 * mask - 1])
        shown.append(torch.nn.functional.avg_pool3d(pair, 2))
    real = torch.stack(shown)
    method = ha_gan(encoders=False)
    z = draw_latents((LATENT,), 32, seed=1)

    def distance():
        with torch.no_grad():
            return frechet_distance(features(method.networks["generator"](z)), features(real))

    def update(name, loss):
        method.optimisers[name].zero_grad()
        loss.backward()
        method.optimisers[name].step()

    before = distance()
    order = np.random.default_rng(0)
    for step in range(120):
        torch.manual_seed(step)
        method.training_step({"target": real[order.permutation(8)[:4]]}, update, step / 120)
    after = distance()
    assert after < before / 3, (before, after)


# --- what it makes, and what it refuses ---


def test_pairs_joined_along_z_are_volumes_of_one_channel():
    method = ha_gan(data={"masks": "joined"})
    calls = Calls(method)
    method.training_step(batch(1, channels=1), PlainUpdate(method), 0.0)
    assert calls.seen["discriminator"][0][0].shape == (1, 1, 4, 32, 32)


@pytest.mark.parametrize(("changes", "words"), [
    ({"side": 48}, r"volumes of 48×48×48.*32, 64, 128 or 256"),
    ({"data": {"size": [64, 64, 32]}}, r"volumes of 64×64×32"),
    ({"data": {"classes": ["benign", "malignant"]}}, "cannot be told classes"),
    ({"latent": 0}, "`method.latent` of ha-gan cannot be 0"),
    ({"generator_steps": 0}, "`method.generator_steps`"),
    ({"r1_weight": -1.0}, "`method.r1_weight`"),
    ({"r1_every": 0}, "`method.r1_every`"),
])  # fmt: skip
def test_what_it_cannot_do_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        ha_gan(**changes)


@pytest.mark.parametrize(("role", "entry", "words"), [
    ("generator", {"name": "ha-gan-generator", "width": 48}, "multiple of 32"),
    ("generator", {"name": "resenc-unet"}, "cannot be resenc-unet"),
    ("discriminator", {"name": "patchgan"}, "cannot be patchgan.*Take ha-gan-discriminator"),
    ("generator", {"name": "ha-gan-generator", "groups": 0}, "0 `groups`"),
    ("discriminator", {"name": "ha-gan-discriminator", "width": 32}, "multiple of 64"),
    ("discriminator", {"name": "ha-gan-discriminator", "group": -1}, "`group` of -1"),
    ("global_encoder", {"name": "ha-gan-global-encoder", "width": 4}, "multiple of 8"),
    ("encoder", None, "lacks `encoder`"),
    ("critic", {"name": "ha-gan-discriminator"}, "has `critic`"),
])  # fmt: skip
def test_networks_that_do_not_fit_are_refused(role, entry, words):
    networks = {
        "generator": {"name": "ha-gan-generator", "width": 32},
        "discriminator": {"name": "ha-gan-discriminator", "width": 64},
        "encoder": {"name": "ha-gan-encoder"},
        "global_encoder": {"name": "ha-gan-global-encoder", "width": 16},
    }
    networks[role] = entry
    with pytest.raises(UserError, match=words):
        ha_gan(networks={name: value for name, value in networks.items() if value is not None})


def test_presets_are_rows_c2_and_c9():
    names = ("oslo-hagan-128", "oslo-hagan-256", "oslo-hagan-256-hpo17")
    rates = {}
    for name in names:
        recipe = load_recipe(name)
        assert recipe.data.size == 3 * (int(name.split("-")[2]),)
        assert (recipe.data.masks, recipe.data.target_scaling["name"]) == ("joined", "hagan-ct")
        assert (recipe.training.batch, recipe.training.steps, recipe.training.ema) == (4, 80_000, None)
        assert (recipe.method["latent"], recipe.networks["generator"]["width"]) == (1024, 512)
        for entry in recipe.optimisers.values():
            assert (entry["name"], entry["beta1"], entry["beta2"], entry["schedule"]) == ("adam", 0, 0.99, "constant")
        rates[name] = [recipe.optimisers[role]["lr"] for role in ROLES]
    assert rates == dict(zip(names, 2 * [[1e-4, 4e-4, 1e-4, 1e-4]] + [[2e-4, 4e-4, 2e-4, 2e-4]], strict=True))
    for side, settings in ((128, ("hagan-mask", None)), (256, ("hagan-mask-binary", None))):
        recipe = load_recipe(f"oslo-hagan-{side}")
        assert (recipe.data.mask_scaling["name"], recipe.preparation.spacing) == settings
    assert load_recipe("oslo-hagan-256-hpo17").preparation.spacing == (1.5, 1.5, 1.5)
