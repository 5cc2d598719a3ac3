"""GAN with self-regularisation: edges and one step by hand, and that the term keeps the anatomy in its place."""

import pytest
import torch
from test_methods_steps import NoUpdate, PlainUpdate, blobs, recipe, train
from torch.nn.functional import softplus

from synthct.errors import UserError
from synthct.methods.registry import build_method
from synthct.methods.self_regularised_gan import edges

NETWORKS = {
    "generator": {"name": "unet", "width": "8-16", "norm": "batch"},
    "discriminator": {"name": "patchgan", "width": 8, "layers": 2},
}


def gan(neighbours=0, optimiser=None, **options):
    method = {"name": "self-regularised-gan", **options}
    return build_method(recipe(method, NETWORKS, optimiser, paired=False, neighbours=neighbours))


def unpaired(count, seed):
    other = blobs(count, seed + 5)
    return {**blobs(count, seed), "target": other["target"], "target_mask": other["mask"]}


def test_edges_by_hand():
    image = torch.tensor([[0.0, 3.0, 3.0], [0.0, 7.0, 3.0]])[None, None]
    slopes = torch.tensor([[3.0, 4.0, 0.0], [7.0, 4.0, 0.0]])  # |∇x| with steps to the right and down
    inside = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])[None, None]
    mean = 7 / 4  # of 3, 4, 0 and 0
    torch.testing.assert_close(edges(image, inside)[0, 0], slopes / (slopes + mean), rtol=0, atol=2e-3)


def test_edges_know_neither_unit_nor_sign():
    ct = blobs(2, 0)["target"]
    whole = torch.ones_like(ct)
    torch.testing.assert_close(edges(0.2 - 0.5 * ct, whole), edges(ct, whole), rtol=0, atol=0.02)
    volume = torch.stack([ct, ct], dim=2)  # no slope from slice to slice
    torch.testing.assert_close(edges(volume, torch.ones_like(volume))[:, :, 0], edges(ct, whole))
    flat = torch.zeros(1, 1, 4, 4, requires_grad=True)
    found = edges(flat, torch.ones(1, 1, 4, 4))
    assert (found == 0).all()
    found.sum().backward()
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("compared", ["edges", "image"])
@pytest.mark.parametrize("generator_loss", ["non-saturating", "saturating"])
def test_step_by_hand(generator_loss, compared, masked):
    method = gan(neighbours=1, compared=compared, generator_loss=generator_loss, masked=masked, weight=3.0, pool=0)
    batch = unpaired(4, 0)
    batch["input"] = torch.cat([blobs(4, seed)["input"] for seed in (8, 0, 9)], dim=1)
    judge, mask = method.networks["discriminator"], batch["mask"]
    with torch.no_grad():
        synthetic, real = method.networks["generator"](batch["input"]), batch["target"]
        mr, found, weight = batch["input"][:, 1:2], synthetic, torch.ones_like(mask)
        if masked:
            synthetic = torch.where(mask > 0, synthetic, -1.0)
            real, weight = torch.where(batch["target_mask"] > 0, real, -1.0), mask
        if compared == "edges":
            mr, found = edges(mr, weight), edges(found, weight)
        own = (((found - mr).abs() * weight).sum() / weight.sum()).item()
        judged = [judge(image) for image in (real, synthetic)]
        expected = {
            "g_adversarial": softplus(-judged[1]).mean().item(),
            "g_self": own,
            "d_real": softplus(-judged[0]).mean().item(),
            "d_synthetic": softplus(judged[1]).mean().item(),
        }
    if generator_loss == "saturating":
        expected["g_adversarial"] = -expected["d_synthetic"]
    update = NoUpdate()
    losses = method.training_step(batch, update, 0.0)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, rel=1e-4)
    assert update.calls == [
        ("generator", pytest.approx(expected["g_adversarial"] + 3 * own, rel=1e-4)),
        ("discriminator", pytest.approx((expected["d_real"] + expected["d_synthetic"]) / 2, rel=1e-4)),
    ]


def test_networks_learn_in_turn_and_the_pool_shows_past_images():
    method = gan(pool=2)
    judge, seen, touched = method.networks["discriminator"], [], []
    judge.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))

    class Watching(PlainUpdate):
        def __call__(self, name, loss):
            assert all(p.requires_grad == (name == "discriminator") for p in judge.parameters())
            super().__call__(name, loss)
            assert all(p.grad is not None for p in method.networks[name].parameters())
            touched.append(name)

    torch.manual_seed(0)
    for step in range(6):
        method.training_step(unpaired(2, 10 * step), Watching(method), 0.0)
    assert touched == ["generator", "discriminator"] * 6
    assert torch.equal(seen[0], seen[2])  # the pool was empty
    assert not all(torch.equal(seen[3 * step], seen[3 * step + 2]) for step in range(6))


def edge_correlation(method):
    """Mean over images of the correlation of the edges of sCT and MR."""
    batch = blobs(16, 99_999)
    maps = [edges(image, torch.ones_like(image)).flatten(1) for image in (batch["input"], method.preview(batch))]
    first, second = (found - found.mean(dim=1, keepdim=True) for found in maps)
    return ((first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))).mean().item()


def test_the_term_keeps_the_anatomy_in_its_place():
    adam = {"name": "adam", "lr": 2e-3, "beta1": 0.5}
    free, held = gan(weight=0.0, optimiser=adam), gan(weight=10.0, optimiser=adam)
    before = edge_correlation(free)
    for method in (free, held):
        train(method, 50, paired=False)
    assert edge_correlation(held) > edge_correlation(free) + 0.15
    assert edge_correlation(held) > before + 0.3


def test_wrong_choices_are_refused():
    with pytest.raises(UserError, match="generator_loss"):
        gan(adversarial="least-squares", generator_loss="saturating")
    with pytest.raises(UserError, match="Did you mean edges"):
        gan(compared="edge")
