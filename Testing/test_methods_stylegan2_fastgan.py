"""StyleGAN2's and FastGAN's training: one step by hand, regularisation, augmentation in HU, resuming."""

import io

import pytest
import torch
from test_methods_steps import NoUpdate, PlainUpdate, blobs
from torch import nn
from torch.nn import functional

from synthct.errors import UserError
from synthct.methods import diff_augment
from synthct.methods.adaptive_augment import OPERATIONS, DiscriminatorAugmentation
from synthct.methods.noise import draw_latents
from synthct.methods.r1 import r1_penalty
from synthct.methods.registry import build_method
from synthct.methods.stylegan2 import lazily, path_lengths
from synthct.recipe import recipe_from_dict
from synthct.training.ema import Ema

ADAM = {"name": "adam", "lr": 2e-3, "beta1": 0.0, "beta2": 0.99}


def made(name, optimiser=ADAM, networks=None, masks="none", classes=(), **options):
    wide = {"capacity": 512, "widest": 16}
    style = {"style": 24, "mapping": 2} if name == "stylegan2" else {}
    found = {"generator": {"name": name, **wide, **style}, "discriminator": {"name": f"{name}-discriminator", **wide}}
    return build_method(
        recipe_from_dict(
            {
                "name": "test",
                "source": "test",
                "task": "noise-to-ct",
                "method": {"name": name, "latent": 16, **options},
                "networks": {**found, **(networks or {})},
                "optimisers": {role: dict(optimiser) for role in found},
                "data": {"size": [32, 32], "masks": masks, "classes": classes, "target_scaling": {"name": "hagan-ct"}},
            }
        )
    )


def real(count=8, seed=0):
    return {"target": blobs(count, seed)["target"]}


def train(method, steps, first=0, total=None):
    update = PlainUpdate(method)
    for step in range(first, first + steps):
        torch.manual_seed(1000 + step)
        losses = method.training_step(real(seed=step), update, step / (total or steps))
        assert all(not value.requires_grad and value.isfinite() for value in losses.values())
    return update


# --- one step ---


def test_stylegan2_step_by_hand():
    method = made("stylegan2", mixing=0.0)
    generator, discriminator = method.networks["generator"], method.networks["discriminator"]
    batch, update = real(4), NoUpdate()
    torch.manual_seed(3)
    losses = method.training_step(batch, update, 0.0)
    torch.manual_seed(3)
    styles = generator.styles(draw_latents((16,), 8))[:4]  # without mixing the other four are not looked at
    images = generator.image(generator.repeated(styles))  # noise has the strength 0 yet
    with torch.no_grad():
        expected = {
            "d_real": functional.softplus(-discriminator(batch["target"])).mean(),
            "d_synthetic": functional.softplus(discriminator(images)).mean(),
            "g_adversarial": functional.softplus(-discriminator(images)).mean(),
        }
    target = batch["target"].clone().requires_grad_()
    discriminator(target).sum().backward()
    expected["r1"] = target.grad.square().sum() / 4
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name
    assert method.state_dict()["path_mean"] > 0
    values = {name: value.item() for name, value in losses.items()}
    assert update.calls == [
        ("discriminator", pytest.approx(values["d_real"] + values["d_synthetic"])),
        ("discriminator", pytest.approx(10 / 2 * 16 * values["r1"])),
        ("generator", pytest.approx(values["g_adversarial"])),
        ("generator", pytest.approx(2 * 8 * values["path_length"])),
    ]


def test_fastgan_step_by_hand():
    method = made("fastgan", augment="none", reconstruction_weight=3.0)
    generator, discriminator = method.networks["generator"], method.networks["discriminator"]
    batch, update = real(4), NoUpdate()
    state = {key: value.clone() for key, value in method.networks.state_dict().items()}
    torch.manual_seed(3)
    losses = method.training_step(batch, update, 0.0)
    method.networks.load_state_dict(state)  # running statistics, and the vectors of spectral norm
    torch.manual_seed(3)
    with torch.no_grad():
        images = generator(draw_latents((16,), 4))
        logits, pairs = discriminator.with_reconstructions(batch["target"])
        judged = discriminator(images)
        again = discriminator(images)  # spectral norm has looked once more
    values = {name: value.item() for name, value in losses.items()}
    assert values["d_real"] == pytest.approx((1 - logits).clamp(min=0).mean().item(), rel=1e-4)
    assert values["d_synthetic"] == pytest.approx((1 + judged).clamp(min=0).mean().item(), rel=1e-4)
    absolute = [(pair.decoded - pair.original).abs().mean().item() for pair in pairs]
    assert values["d_reconstruction"] == pytest.approx(sum(absolute), rel=1e-4)
    assert values["g_adversarial"] == pytest.approx(-again.mean().item(), rel=1e-3, abs=1e-4)
    total = values["d_real"] + values["d_synthetic"] + 3 * values["d_reconstruction"]
    assert update.calls == [
        ("discriminator", pytest.approx(total)),
        ("generator", pytest.approx(-again.mean().item(), rel=1e-3, abs=1e-4)),
    ]


def test_regularisation_has_its_turns_and_can_be_left_out():
    method, update = made("stylegan2", r1_every=3, path_every=2), NoUpdate()
    assert method.cycle == 6
    turns = [method.training_step(real(2), update, 0.0) for _ in range(7)]
    assert ["r1" in losses for losses in turns] == [True, False, False] * 2 + [True]
    assert ["path_length" in losses for losses in turns] == [True, False] * 3 + [True]
    method = made("stylegan2", r1_weight=0.0, path_weight=0.0)
    assert set(method.training_step(real(2), NoUpdate(), 0.0)) == {"d_real", "d_synthetic", "g_adversarial"}
    assert method.cycle == 1


def test_lazy_optimisers_are_corrected():
    """c = 16/17 and 8/9: lr·c, β^c (appendix B)."""
    method = made("stylegan2")
    for role, share in (("discriminator", 16 / 17), ("generator", 8 / 9)):
        group = method.optimisers[role].param_groups[0]
        assert group["lr"] == pytest.approx(2e-3 * share)
        assert group["betas"] == pytest.approx((0.0, 0.99**share))
    assert lazily({"name": "adam", "lr": 1.0}, 1) == {"name": "adam", "lr": 0.5, "beta1": 0.9**0.5, "beta2": 0.999**0.5}
    assert lazily(ADAM, 0) == ADAM
    with pytest.raises(UserError, match="lr"):
        made("stylegan2", optimiser={**ADAM, "lr": "fast"})


# --- regularisation ---


def test_r1_of_a_quadratic():
    """D(x) = Σ a·x²/2 has the gradient a·x: R1 is the mean of Σ a²x², its derivative 2·a·Σ x² / N."""

    class Quadratic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.rand(1, 2, 4, 4, dtype=torch.float64))

        def forward(self, image):
            return (self.a * image.square() / 2).sum(dim=(1, 2, 3))[:, None]

    network, images = Quadratic(), torch.randn(3, 2, 4, 4, dtype=torch.float64)
    penalty = r1_penalty(network, images)
    a = network.a.detach()
    assert penalty.item() == pytest.approx((a * images).square().sum().item() / 3, rel=1e-12)
    penalty.backward()
    torch.testing.assert_close(network.a.grad, 2 * a * images.square().sum(dim=0, keepdim=True) / 3)


def test_path_lengths_of_a_linear_map():
    """Image = Σ over layers of M w: the length of Mᵀy, the same for every layer."""
    matrix = torch.randn(2 * 6 * 5, 7, dtype=torch.float64)
    styles = torch.randn(3, 4, 7, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(5)
    found = path_lengths((styles.sum(dim=1) @ matrix.T).view(3, 2, 6, 5), styles)
    torch.manual_seed(5)
    y = torch.randn(3, 2, 6, 5, dtype=torch.float64) / 30**0.5
    torch.testing.assert_close(found, (y.flatten(1) @ matrix).norm(dim=1))


def test_running_mean_of_path_lengths_is_followed():
    method = made("stylegan2", path_every=1, r1_weight=0.0)
    method.load_state_dict({**method.state_dict(), "path_mean": 100.0})
    penalty = method.training_step(real(8), NoUpdate(), 0.0)["path_length"].item()
    mean = method.state_dict()["path_mean"]
    lengths = (mean - 99) * 100  # 100 + 0.01·(length − 100)
    assert 0 < lengths < 10
    assert penalty == pytest.approx((mean - lengths) ** 2, rel=0.05)


@pytest.mark.parametrize("kind", ["r1", "path"])
def test_regularisation_is_in_32_bit_and_reaches_every_weight(kind):
    method = made("stylegan2", mixing=0.0)
    role = "discriminator" if kind == "r1" else "generator"
    network, seen = method.networks[role], []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        images = torch.randn(4, 1, 32, 32)
        penalty = r1_penalty(network, images) if kind == "r1" else method._path_penalty(4, images)
    assert penalty.dtype == torch.float32 and set(seen) == {torch.float32}
    penalty.backward()
    for name, parameter in network.named_parameters():
        if "noise" not in name and parameter.dim() > 1:
            assert parameter.grad.abs().max() > 0, name


def test_styles_are_mixed_from_a_random_layer_on():
    layers = made("stylegan2").networks["generator"].layers
    method = made("stylegan2", mixing=0.5)
    styles = method._styles(400, torch.empty(1)).detach()
    assert styles.shape == (400, layers, 24)
    same = (styles == styles[:, :1]).all(dim=2)
    mixed = ~same.all(dim=1)
    assert 0.4 < mixed.float().mean() < 0.6
    first = (~same[mixed]).float().argmax(dim=1)
    assert first.unique().tolist() == list(range(1, layers))
    for row, change in zip(styles[mixed], first, strict=True):
        assert (row[:change] == row[0]).all() and (row[change:] == row[-1]).all()


def test_running_mean_of_styles_moves_with_training():
    method = made("stylegan2")
    train(method, 3)
    assert method.networks["generator"].mean_style.abs().max() > 0


# --- augmentation ---


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_operations_pass_gradients_and_leave_air_and_the_others(operation):
    image = (2 * torch.rand(6, 2, 8, 12, dtype=torch.float64) - 1).requires_grad_()
    chosen = torch.tensor([True, False] * 3)

    def seeded(values):
        torch.manual_seed(7)
        return operation(values, chosen)

    changed = seeded(image)
    assert torch.autograd.gradcheck(seeded, (image,), fast_mode=True)
    assert torch.equal(changed[1::2], image[1::2])
    assert not torch.equal(changed[::2], image[::2])
    assert changed.abs().max() <= 1
    air = torch.full((6, 2, 8, 12), -1.0, dtype=torch.float64)
    assert torch.equal(seeded(air), air)


def test_tone_keeps_both_ends_the_order_and_the_mask():
    values = torch.linspace(-1, 1, 201)
    image = torch.stack([values, values]).view(1, 2, 1, 201).expand(500, -1, -1, -1)
    changed = diff_augment.tone(image, torch.ones(500, dtype=torch.bool))
    assert torch.equal(changed[:, 1], image[:, 1])
    ct = changed[:, 0, 0]
    assert (ct[:, 0] == -1).all() and (ct[:, -1] == 1).all()
    assert (ct.diff(dim=1) > 0).all()
    assert 0.15 < ct[:, 100].abs().max() <= 0.2 * 1.25
    far = torch.tensor([-3.0, -1.5, 1.2, 9.0]).view(1, 1, 1, 4)
    assert torch.equal(diff_augment.tone(far, torch.ones(1, dtype=torch.bool)), far)


def test_shift_moves_whole_pixels_and_lets_air_in():
    image = torch.rand(200, 1, 16, 24)
    shifted = diff_augment.shift(image, torch.ones(200, dtype=torch.bool))
    padded = functional.pad(image, (3, 3, 2, 2), value=-1)
    found = set()
    for one, window in zip(shifted, padded, strict=True):
        places = [(r, c) for r in range(5) for c in range(7) if torch.equal(window[:, r : r + 16, c : c + 24], one)]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) == 35


def test_cutout_takes_a_quarter_at_most():
    cut = diff_augment.cutout(torch.zeros(300, 2, 16, 24), torch.ones(300, dtype=torch.bool)) == -1
    assert torch.equal(cut[:, 0], cut[:, 1])
    counts = cut[:, 0].sum(dim=(1, 2))
    assert counts.max() == 8 * 12 and counts.min() < 30
    assert cut.any(dim=0).all()


def test_turn_is_a_rotation_whatever_the_sides(monkeypatch):
    monkeypatch.setattr(diff_augment, "_even", lambda image, _: torch.full((len(image),), torch.pi / 2))
    chosen = torch.ones(1, dtype=torch.bool)
    square = torch.rand(1, 1, 12, 12)
    turned = diff_augment.turn(square, chosen)
    torch.testing.assert_close(turned, square.rot90(1, (2, 3)), atol=1e-4, rtol=1e-4)
    wide = torch.full((1, 1, 12, 30), -1.0)
    wide[..., 6:18] = 0.5  # columns 6 to 17 of 30, so that 3 pixels lie beyond the middle square
    turned = diff_augment.turn(wide, chosen)
    assert (turned[..., :9] == -1).all() and (turned[..., 21:] == -1).all()
    assert (turned[..., :3, 9:21] > 0.4).sum() + (turned[..., -3:, 9:21] > 0.4).sum() == 3 * 12


@pytest.mark.parametrize(("sign", "direction"), [(1.0, 1), (-1.0, -1)])
def test_ada_follows_how_sure_the_discriminator_is(sign, direction):
    ada = DiscriminatorAugmentation("ada", ramp=0.4)  # 400 images from 0 to 1
    ada.probability = 0.5
    for number in range(3):
        ada.look(sign * torch.ones(10, 1))
        assert ada.probability == 0.5, number
    ada.look(sign * torch.ones(10, 1))
    assert ada.probability == pytest.approx(0.5 + direction * 0.1)
    for _ in range(100):
        ada.look(sign * torch.ones(10, 1))
    assert ada.probability == (1.0 if direction > 0 else 0.0)


def test_ada_holds_its_target():
    ada = DiscriminatorAugmentation("ada", target=0.6, ramp=1.0)
    for wrong, moves in ((3, -0.04), (1, 0.04)):  # mean signs 0.4 and 0.8
        ada.probability = 0.5
        logits = torch.ones(10)
        logits[:wrong] = -1
        for _ in range(4):
            ada.look(logits)
        assert ada.probability == pytest.approx(0.5 + moves)


def test_ada_changes_the_share_of_its_probability():
    image = torch.rand(600, 1, 8, 8)
    ada = DiscriminatorAugmentation("ada")
    assert torch.equal(ada(image), image)
    ada.probability = 0.2
    changed = (ada(image) != image).flatten(1).any(dim=1).float().mean().item()
    assert changed == pytest.approx(1 - 0.8**5, abs=0.08)
    assert torch.equal(DiscriminatorAugmentation("none")(image), image)


# --- resuming ---


@pytest.mark.parametrize("name", ["stylegan2", "fastgan"])
def test_resumed_training_is_the_same_bit_for_bit(name):
    def begun():
        method = made(name, augment="ada", **({"r1_every": 3, "path_every": 2} if name == "stylegan2" else {}))
        state = method.state_dict()
        method.load_state_dict({**state, "augment": {**state["augment"], "probability": 0.5}})
        return method

    straight = begun()
    train(straight, 8, total=8)
    halted = begun()
    train(halted, 5, total=8)
    file = io.BytesIO()
    optimisers = {role: optimiser.state_dict() for role, optimiser in halted.optimisers.items()}
    torch.save([halted.networks.state_dict(), optimisers, halted.state_dict()], file)
    file.seek(0)
    networks, optimisers, state = torch.load(file, weights_only=True)
    resumed = begun()
    resumed.networks.load_state_dict(networks)
    for role, optimiser in resumed.optimisers.items():
        optimiser.load_state_dict(optimisers[role])
    resumed.load_state_dict(state)
    train(resumed, 3, first=5, total=8)
    for key, value in straight.networks.state_dict().items():
        assert torch.equal(value, resumed.networks.state_dict()[key]), key
    assert straight.state_dict() == resumed.state_dict()
    assert straight.state_dict()["augment"]["probability"] not in (0.0, 0.5, 1.0)
    if name == "stylegan2":
        assert straight.state_dict()["path_mean"] > 0
        ema = Ema(straight.networks["generator"], 0.5)
        assert torch.equal(ema.network.mean_style, straight.networks["generator"].mean_style)


@pytest.mark.parametrize("name", ["stylegan2", "fastgan"])
def test_a_step_in_mixed_precision_gives_losses_and_images_in_32_bit(name):
    method = made(name, augment="ada")
    method.load_state_dict({**method.state_dict(), "augment": {"probability": 0.6, "signs": [], "seen": 0}})
    with torch.autocast("cpu", torch.bfloat16):
        losses = method.training_step(real(4), PlainUpdate(method), 0.0)
        image = method.preview({"latent": draw_latents((16,), 2)})
    assert {value.dtype for value in (*losses.values(), image)} == {torch.float32}
    assert all(value.isfinite() for value in losses.values())
    within = image[image.abs() < 1]
    assert (within != within.bfloat16().float()).float().mean() > 0.9  # HU are not rounded to 8 bits


def test_pairs_of_image_and_mask_are_made():
    for name in ("stylegan2", "fastgan"):
        method = made(name, masks="channel")
        batch = {"target": torch.cat([real(4)["target"]] * 2, dim=1)}
        assert method.training_step(batch, PlainUpdate(method), 0.0)["d_real"].isfinite()
        assert method.preview({"latent": draw_latents((16,), 3)}).shape == (3, 2, 32, 32)


@pytest.mark.parametrize(
    ("name", "options", "networks", "words"),
    [
        ("stylegan2", {"mixing": 1.5}, {}, "mixing"),
        ("stylegan2", {"r1_every": 0}, {}, "r1_every"),
        ("stylegan2", {"augment": "adda"}, {}, "Did you mean ada"),
        ("stylegan2", {"ada_target": 1.0}, {}, "ada_target"),
        ("stylegan2", {"ada_ramp": 0.0}, {}, "ada_ramp"),
        ("stylegan2", {}, {"generator": {"name": "fastgan"}}, "generator `fastgan`"),
        ("stylegan2", {"classes": ("a", "b")}, {}, "cannot be told classes"),
        ("fastgan", {"classes": ("a", "b")}, {}, "cannot be told classes"),
        ("fastgan", {"latent": 0}, {}, "latent 0"),
        ("fastgan", {}, {"discriminator": {"name": "stylegan2-discriminator"}}, "reconstruct"),
    ],
)
def test_wrong_choices_are_refused(name, options, networks, words):
    with pytest.raises(UserError, match=words):
        made(name, networks=networks, **options)
