"""One training step of each method, computed here by hand; learning; and resuming.

Networks are tiny, data are 32×32 blobs whose MR is a nonlinear function of the CT.
"""

import copy
import io
import math

import pytest
import torch

from synthct.errors import UserError
from synthct.methods.registry import METHODS, build_method
from synthct.recipe import recipe_from_dict

SIZE = 32


def recipe(method, networks=None, optimiser=None, **data):
    if networks is None:
        networks = {"generator": {"name": "unet", "width": "8-16-32", "output": "linear", "norm": "batch"}}
        if method["name"] != "regression":
            networks["discriminator"] = {"name": "patchgan", "width": 8, "layers": 2}
    kinds = [role for role in networks if role in ("generator", "discriminator", "critic", "segmenter")]
    optimiser = optimiser or {"name": "adam", "lr": 2e-3, "beta1": 0.5}
    return recipe_from_dict(
        {
            "name": "test",
            "source": "test",
            "method": method,
            "networks": networks,
            "optimisers": {kind: dict(optimiser) for kind in kinds},
            "data": {"size": [SIZE, SIZE], **data},
        }
    )


def blobs(count, seed):
    """CT in [−1, 1] with a dark ground, a body and brighter blobs; MR = a fold of it, as bone is dark in MR."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    body = ((x**2 + y**2) < 0.8).float().expand(count, SIZE, SIZE)
    ct = torch.where(body > 0, 0.0, -1.0)
    for value in (-0.5, 0.4, 0.8):
        centre = 1.1 * torch.rand((2, count, 1, 1), generator=generator) - 0.55
        radius = 0.15 + 0.2 * torch.rand((count, 1, 1), generator=generator)
        ct = torch.where((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2, value, ct)
    mr = torch.where(ct > -0.9, 0.9 - 2.2 * (ct + 0.2).abs(), -1.0)
    mr = mr + 0.05 * torch.randn(mr.shape, generator=generator)
    return {"input": mr[:, None], "target": ct[:, None], "mask": body[:, None].clone()}


class PlainUpdate:
    """What the training loop supplies, on one process, with a record of what was asked."""

    def __init__(self, method):
        self.method = method
        self.calls = []

    def __call__(self, name, loss):
        optimiser = self.method.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        changed = [p for group in optimiser.param_groups for p in group["params"]]
        others = [p for p in self.method.networks.parameters() if not any(p is q for q in changed)]
        self.calls.append((name, loss.item()))
        before = [p.detach().clone() for p in others]
        optimiser.step()
        assert all(torch.equal(a, b) for a, b in zip(before, others, strict=True))


class NoUpdate:
    """Records the losses and changes nothing."""

    def __init__(self):
        self.calls = []

    def __call__(self, name, loss):
        self.calls.append((name, loss.item()))


def train(method, steps, paired=True, seed=0, first=0, total=None):
    update = PlainUpdate(method)
    for step in range(first, first + steps):
        torch.manual_seed(1000 + step)
        batch = blobs(8, 10 * step + seed)
        if not paired:
            other = blobs(8, 10 * step + seed + 5)
            batch |= {"target": other["target"], "target_mask": other["mask"]}
        losses = method.training_step(batch, update, step / (total or steps))
        assert all(not value.requires_grad and value.isfinite() for value in losses.values())
    return update


def error(method, seed=99_999):
    batch = blobs(16, seed)
    difference = (method.preview(batch) - batch["target"]).abs() * batch["mask"]
    return (difference.sum() / batch["mask"].sum()).item()


# --- regression ---


def test_regression_loss_by_hand():
    method = build_method(recipe({"name": "regression", "bone_weight": 3.0}, target_scaling={"name": "umea-ct"}))
    batch = blobs(4, 0)
    target, mask = batch["target"], batch["mask"]
    with torch.no_grad():
        prediction = method.networks["generator"](batch["input"])
    weight = mask * torch.where(target >= 0.0, 3.0, 1.0)  # 250 HU is 0 in row A3's scaling
    expected = ((prediction - target).abs() * weight).sum() / weight.sum()
    update = NoUpdate()
    losses = method.training_step(batch, update, 0.0)
    assert losses["l1"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert update.calls == [("generator", pytest.approx(expected.item(), rel=1e-5))]


def test_regression_ignores_what_lies_outside_the_body():
    method = build_method(recipe({"name": "regression"}))
    batch = blobs(4, 0)
    expected = method.training_step(batch, NoUpdate(), 0.0)["l1"]
    batch["target"] = torch.where(batch["mask"] > 0, batch["target"], 7.0)
    assert method.training_step(batch, NoUpdate(), 0.0)["l1"] == expected


def test_regression_learns():
    method = build_method(recipe({"name": "regression"}, optimiser={"name": "adamw", "lr": 5e-3, "schedule": "cosine"}))
    before = error(method)
    train(method, 80)
    assert error(method) < 0.3 * before


# --- GAN ---


def gan(mae="none", **options):
    networks = {
        "generator": {"name": "unet", "width": "8-16", "output": "linear"},
        "discriminator": {"name": "d-disc", "width": 4, "dropout": 0.0, "last_dropout": 0.0},
    }
    return build_method(recipe({"name": "gan", "mae": mae, **options}, networks, paired=mae == "paired"))


@pytest.mark.parametrize("generator_loss", ["non-saturating", "saturating"])
@pytest.mark.parametrize("mae", ["label", "paired", "none"])
def test_gan_step_by_hand(mae, generator_loss):
    """D real (label 0 + noise), D synthetic (label 1 − noise), G (label 0 without noise), the networks held still."""
    method, batch = gan(mae, generator_loss=generator_loss), blobs(4, 0)
    generator, discriminator = method.networks["generator"], copy.deepcopy(method.networks["discriminator"])
    torch.manual_seed(5)
    update = NoUpdate()
    losses = method.training_step(batch, update, 0.0)

    torch.manual_seed(5)
    noise = [0.01 * torch.rand(4, 1), 0.01 * torch.rand(4, 1)]
    with torch.no_grad():
        synthetic = generator(batch["input"])
        real, fake = (torch.sigmoid(discriminator(image)) for image in (batch["target"], synthetic))

    def adversarial(probability, label):
        if mae == "label":
            return (probability - label).abs().mean().item()
        return (-(label * probability.log() + (1 - label) * (1 - probability).log())).mean().item()

    expected = {
        "d_real": adversarial(real, noise[0]),
        "d_synthetic": adversarial(fake, 1 - noise[1]),
        "g_adversarial": adversarial(fake, torch.zeros(4, 1)),
    }
    if generator_loss == "saturating":  # the minimax: log(1 − p) for the probability 1 − p of being real
        expected["g_adversarial"] = -adversarial(fake, torch.ones(4, 1))
    g_loss = expected["g_adversarial"]
    if mae == "paired":
        expected["g_l1"] = (synthetic - batch["target"]).abs().mean().item()
        g_loss += 100 * expected["g_l1"]
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, rel=1e-4)
    assert list(losses) == list(expected)
    assert [name for name, _ in update.calls] == ["discriminator", "discriminator", "generator"]
    assert update.calls[2][1] == pytest.approx(g_loss, rel=1e-4)


def test_gan_labels_stay_in_the_bounds_of_the_text(monkeypatch):
    """Real: 0 to 0.01; synthetic: 0.99 to 1; each of the draws differs."""
    labels = []
    method = gan()
    monkeypatch.setattr(method, "_adversarial", lambda logits, label: labels.append(label) or logits.mean())
    for seed in range(50):
        torch.manual_seed(seed)
        method.training_step(blobs(4, seed), NoUpdate(), 0.0)
    real, synthetic = torch.cat(labels[0::3]), torch.cat(labels[1::3])
    assert 0 <= real.min() < 0.001 < 0.009 < real.max() <= 0.01
    assert 0.99 <= synthetic.min() < 0.991 < 0.999 < synthetic.max() <= 1
    assert set(labels[2::3]) == {0.0}
    assert real.unique().numel() == real.numel()


def test_gan_updates_are_separate_and_discriminator_is_frozen_for_the_generator():
    method = gan("paired")
    discriminator = method.networks["discriminator"]
    states = []

    class Watching(PlainUpdate):
        def __call__(self, name, loss):
            if name == "generator":
                assert not any(p.requires_grad for p in discriminator.parameters())
            super().__call__(name, loss)
            states.append({key: value.clone() for key, value in discriminator.state_dict().items()})

    method.training_step(blobs(4, 0), Watching(method), 0.0)
    assert any(not torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert all(torch.equal(states[1][key], states[2][key]) for key in states[0])
    assert all(p.requires_grad for p in discriminator.parameters())


def test_gan_never_shows_the_mr_to_the_discriminator():
    method, batch = gan(), blobs(4, 0)
    seen = []
    method.networks["discriminator"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    method.training_step(batch, NoUpdate(), 0.0)
    assert [image.shape[1] for image in seen] == [1, 1, 1]
    assert torch.equal(seen[0], batch["target"])


def test_masked_gan_sees_air_outside_the_body():
    method, batch = gan("paired", masked=True), blobs(4, 0)
    batch["target"] = torch.where(batch["mask"] > 0, batch["target"], 0.5)
    seen = []
    method.networks["discriminator"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    method.training_step(batch, NoUpdate(), 0.0)
    for image in seen:
        assert (image[batch["mask"] == 0] == -1).all()


def test_paired_gan_learns():
    networks = {
        "generator": {"name": "unet", "width": "8-16-32", "norm": "batch"},
        "discriminator": {"name": "d-disc", "width": 8},
    }
    method = build_method(recipe({"name": "gan", "mae": "paired"}, networks, {"name": "nadam", "lr": 3e-3}))
    before = error(method)
    train(method, 80)
    assert error(method) < 0.35 * before


def spread(method, seed=99_999):
    """Distance between the intensities of sCT and CT inside the body, each sorted: what unpaired training can learn."""
    batch = blobs(32, seed)
    inside = batch["mask"] > 0
    made, true = (image[inside].sort().values for image in (method.preview(batch), batch["target"]))
    return (made - true).abs().mean().item()


@pytest.mark.parametrize(("mae", "optimiser"), [("label", "nadam"), ("none", "adam")])
def test_unpaired_gan_brings_the_distributions_together(mae, optimiser):
    networks = {
        "generator": {"name": "unet", "width": "8-16", "norm": "batch"},
        "discriminator": {"name": "d-disc", "width": 8},
    }
    entry = {"name": optimiser, "lr": 1e-3, "beta1": 0.5}
    method = build_method(recipe({"name": "gan", "mae": mae}, networks, entry, paired=False))
    before = spread(method)
    train(method, 120, paired=False)
    assert spread(method) < 0.7 * before


# --- CycleGAN ---


def cyclegan(networks=None, **options):
    networks = networks or {
        "generator": {"name": "resnet", "width": 8, "blocks": 2},
        "discriminator": {"name": "patchgan", "width": 8, "layers": 2},
    }
    return build_method(recipe({"name": "cyclegan", **options}, networks, paired=False))


def test_cyclegan_step_by_hand():
    method = cyclegan(cycle_weight=10.0, cycle_weight_end=2.0, identity_weight=0.5, pool=0)
    batch = {**blobs(2, 0), "target": blobs(2, 5)["target"]}
    mr, ct = batch["input"], batch["target"]
    to_ct, to_mr = method.networks["generator"], method.networks["generator_to_mr"]
    judge_ct, judge_mr = method.networks["discriminator"], method.networks["discriminator_mr"]
    with torch.no_grad():
        fake_ct, fake_mr = to_ct(mr), to_mr(ct)
        expected = {
            "g_ct": (judge_ct(fake_ct) - 1).square().mean(),
            "g_input": (judge_mr(fake_mr) - 1).square().mean(),
            "cycle_input": (to_mr(fake_ct) - mr).abs().mean(),
            "cycle_ct": (to_ct(fake_mr) - ct).abs().mean(),
            "identity_ct": (to_ct(ct) - ct).abs().mean(),
            "identity_input": (to_mr(mr) - mr).abs().mean(),
            "d_ct": 0.5 * ((judge_ct(ct) - 1).square().mean() + judge_ct(fake_ct).square().mean()),
            "d_input": 0.5 * ((judge_mr(mr) - 1).square().mean() + judge_mr(fake_mr).square().mean()),
        }
    expected = {name: value.item() for name, value in expected.items()}
    update = NoUpdate()
    losses = method.training_step(batch, update, 0.25)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, rel=1e-4)
    weight = 8.0  # 10 → 2, a quarter of the way
    total = expected["g_ct"] + expected["g_input"] + weight * (expected["cycle_input"] + expected["cycle_ct"])
    total += 0.5 * (expected["identity_ct"] + expected["identity_input"])
    assert update.calls == [
        ("generator", pytest.approx(total, rel=1e-4)),
        ("discriminator", pytest.approx(expected["d_ct"] + expected["d_input"], rel=1e-4)),
    ]


def test_cycle_weight_stays_or_decays():
    assert [cyclegan().cycle_weight(p) for p in (0, 0.5, 1)] == [10, 10, 10]
    assert [cyclegan(cycle_weight_end=1.0).cycle_weight(p) for p in (0, 0.5, 1)] == [10, 5.5, 1]


def test_cyclegan_without_identity_and_with_its_own_way_back():
    networks = {
        "generator": {"name": "resnet", "width": 8, "blocks": 2},
        "generator_to_mr": {"name": "unet", "width": "4-8"},
        "discriminator": {"name": "patchgan", "width": 8, "layers": 2},
    }
    method = cyclegan(networks)
    assert type(method.networks["generator_to_mr"]).__name__ == "UNet"
    assert "identity_ct" not in method.training_step(blobs(2, 0), PlainUpdate(method), 0.0)


def test_cyclegan_learns():
    """The round trip and the distribution; which tissue is which no unpaired loss can tell for sure."""
    networks = {
        "generator": {"name": "unet", "width": "8-16", "norm": "instance"},
        "discriminator": {"name": "patchgan", "width": 8, "layers": 2},
    }
    method = cyclegan(networks, identity_weight=1.0, cycle_weight_end=5.0)
    batch = {**blobs(8, 77), "target": blobs(8, 78)["target"]}
    before = spread(method), method.training_step(batch, NoUpdate(), 0.0)["cycle_input"].item()
    train(method, 80, paired=False)
    after = spread(method), method.training_step(batch, NoUpdate(), 0.0)["cycle_input"].item()
    assert after[0] < 0.8 * before[0]
    assert after[1] < 0.5 * before[1]


# --- all ---

PIX2PIX = {
    "generator": {"name": "pix2pix-unet", "width": 4, "depth": 3},
    "discriminator": {"name": "multiscale-patchgan", "width": 4, "layers": 1, "scales": 2},
}
CRITIC = {"generator": {"name": "unet", "width": "8-16"}, "critic": {"name": "d-disc", "width": 4}}
SEGMENTER = {"segmenter": {"name": "unet", "width": "4-8", "output": "linear"}}
ALL = {
    "regression": lambda: build_method(recipe({"name": "regression"})),
    "gan": lambda: gan("paired"),
    "conditional-gan": lambda: build_method(recipe({"name": "conditional-gan"}, PIX2PIX)),
    "cyclegan": lambda: cyclegan(pool=3),
    "wgan": lambda: build_method(recipe({"name": "wgan", "critic_updates": 2}, CRITIC)),
    "self-regularised-gan": lambda: build_method(recipe({"name": "self-regularised-gan", "pool": 3})),
    "segmentation": lambda: build_method(recipe({"name": "segmentation"}, SEGMENTER)),
}


FROM_NOISE = {"dcgan", "vanilla-gan", "noise-wgan", "stylegan2", "fastgan", "ha-gan"}
"""They take latents in place of an image: tested in files of their own."""
OF_CLASSES = {"classification"}
"""In `test_distribution_classifier.py`."""


def test_every_method_is_tested():
    assert set(METHODS) == set(ALL) | FROM_NOISE | OF_CLASSES


@pytest.mark.parametrize("name", sorted(ALL))
def test_resumed_training_is_the_same_bit_for_bit(name):
    straight = ALL[name]()
    train(straight, 6)
    halted = ALL[name]()
    train(halted, 3, total=6)
    file = io.BytesIO()
    optimisers = {role: optimiser.state_dict() for role, optimiser in halted.optimisers.items()}
    torch.save([halted.networks.state_dict(), optimisers, halted.state_dict()], file)
    file.seek(0)
    networks, optimisers, state = torch.load(file, weights_only=True)
    resumed = ALL[name]()
    resumed.networks.load_state_dict(networks)
    for role, optimiser in resumed.optimisers.items():
        optimiser.load_state_dict(optimisers[role])
    resumed.load_state_dict(state)
    train(resumed, 3, first=3, total=6)
    for key, value in straight.networks.state_dict().items():
        assert torch.equal(value, resumed.networks.state_dict()[key]), key


@pytest.mark.parametrize("name", sorted(ALL))
def test_methods_keep_what_the_loop_relies_on(name):
    method = ALL[name]()
    batch = blobs(2, 0)
    output = method.preview(batch)
    assert output.shape == batch["target"].shape
    assert all(network.training for network in method.networks.values())
    assert method.generator_role in method.networks
    owned = [p for o in method.optimisers.values() for group in o.param_groups for p in group["params"]]
    assert {id(p) for p in owned} == {id(p) for p in method.networks.parameters()}
    assert len(owned) == len({id(p) for p in owned})
    assert all(math.isfinite(value) for value in method.training_step(batch, PlainUpdate(method), 0.0).values())


@pytest.mark.parametrize(
    ("method", "data", "words"),
    [
        ({"name": "regresion"}, {}, ["Did you mean regression?"]),
        ({"name": "regression", "maske": True}, {}, ["maske", "Did you mean masked?"]),
        ({"name": "regression"}, {"paired": False}, ["needs pairs"]),
        ({"name": "gan", "mae": "paired"}, {"paired": False}, ["mae: paired", "needs pairs"]),
        ({"name": "gan", "label_noise": 0.7}, {}, ["label_noise"]),
        ({"name": "cyclegan"}, {"neighbours": 1}, ["single slices"]),
        ({"name": "regression"}, {"size": [32, 30]}, ["data.size", "multiples of 4", "Take 32 in place of 30"]),
    ],
)
def test_choices_that_do_not_go_together_are_refused(method, data, words):
    with pytest.raises(UserError) as caught:
        build_method(recipe(method, **data))
    for word in words:
        assert word in str(caught.value)


def test_unknown_and_missing_roles_are_refused():
    extra = {"generator": {"name": "unet", "width": "4-8"}, "critic": {"name": "patchgan"}}
    with pytest.raises(UserError, match="critic"):
        build_method(recipe({"name": "regression"}, extra))
    with pytest.raises(UserError, match="lacks `discriminator`"):
        build_method(recipe({"name": "gan"}, {"generator": {"name": "unet", "width": "4-8"}}))
