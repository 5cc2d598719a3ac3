"""Networks that grow: the same interface at every resolution, a smooth way from one to the next (row D7)."""

import pytest
import torch

from synthct.errors import UserError
from synthct.networks.progressive import grown_levels
from synthct.networks.registry import build_network

FILTERS = "8-4-4"


def networks(size=(8, 16, 8), channels=2):
    built = []
    for name, given, wanted in (("progressive", 5, channels), ("progressive-critic", channels, 1)):
        built.append(build_network({"name": name, "filters": FILTERS}, given, wanted, size, seed=1))
    return built


def test_standing_still_and_fading_take_turns():
    """Two doublings: five turns."""
    seen = [grown_levels(turn / 5, 2) for turn in (0, 0.99, 1.25, 1.75, 2.0, 2.9, 3.5, 4.0, 4.9, 5.0)]
    assert seen == pytest.approx([0, 0, 0.25, 0.75, 1, 1, 1.5, 2, 2, 2])
    fine = [grown_levels(step / 1000, 3) for step in range(1001)]
    assert fine == sorted(fine)
    assert fine[-1] == 3


@pytest.mark.parametrize("size", [(8, 16, 8), (16, 8)])
@pytest.mark.parametrize("grown", [0.0, 0.5, 1.0, 1.75, 2.0])
def test_images_have_the_full_size_and_the_grain_of_their_stage(size, grown):
    generator, critic = networks(size)
    generator.grow(grown)
    critic.grow(grown)
    image = generator(torch.randn(3, *generator.latent_shape))
    assert image.shape == (3, 2, *size)
    assert critic(image).shape == (3, 1)
    grain = 2 ** (2 - int(-(-grown // 1)))  # voxels of one value side by side
    for axis in range(2, image.dim()):
        blocks = image.unflatten(axis, (-1, grain))
        assert torch.equal(blocks, blocks.narrow(axis + 1, 0, 1).expand_as(blocks))
    if grown == int(grown):
        torch.testing.assert_close(generator.as_grown(image), image)


def test_fading_in_is_continuous_for_both():
    generator, critic = networks()
    latent, image = torch.randn(2, 5), torch.randn(2, 2, 8, 16, 8)
    with torch.no_grad():
        for level in (1.0, 2.0):
            for network, given in ((generator, latent), (critic, image)):
                network.grow(level)
                whole = network(given)
                network.grow(level - 1e-5)
                torch.testing.assert_close(network(given), whole, rtol=1e-3, atol=1e-3)
            generator.grow(level)
            whole = generator.as_grown(image)
            generator.grow(level - 1e-5)
            torch.testing.assert_close(generator.as_grown(image), whole, rtol=1e-3, atol=1e-3)
            for network, given in ((generator, latent), (critic, image)):
                network.grow(level - 1)
                whole = network(given)
                network.grow(level - 1 + 1e-5)
                torch.testing.assert_close(network(given), whole, rtol=1e-3, atol=1e-3)


def test_real_images_are_blurred_to_the_generators_resolution():
    generator, _ = networks()
    image = torch.arange(4.0).repeat_interleave(2)[None, None, None, None].expand(1, 2, 8, 16, 8)
    generator.grow(0)
    assert generator.as_grown(image)[0, 0, 0, 0].tolist() == [0.5] * 4 + [2.5] * 4
    generator.grow(0.5)  # half-way to pairs of voxels, which the image consists of
    assert generator.as_grown(image)[0, 0, 0, 0].tolist() == [0.25, 0.25, 0.75, 0.75, 2.25, 2.25, 2.75, 2.75]
    generator.grow(2)
    assert torch.equal(generator.as_grown(image), image)


def test_gradient_reaches_what_has_grown_and_nothing_else():
    for grown, asleep in ((0.0, ("blocks.1", "blocks.2")), (0.5, ("blocks.2",)), (1.5, ()), (2.0, ())):
        for network, given in zip(networks(), (torch.randn(2, 5), torch.randn(2, 2, 8, 16, 8)), strict=True):
            network.grow(grown)
            network(given).square().mean().backward()
            for name, parameter in network.named_parameters():
                if name.startswith("blocks"):
                    assert (parameter.grad is None) == name.startswith(asleep if asleep else "none"), (grown, name)
                    if parameter.grad is not None and parameter.dim() > 1:
                        assert parameter.grad.abs().max() > 0, name


def test_a_stored_network_knows_how_far_it_had_grown():
    generator, _ = networks()
    generator.grow(0.75)
    other = networks()[0]
    other.load_state_dict(generator.state_dict())
    latent = torch.randn(1, 5)
    assert torch.equal(other(latent), generator(latent))


def test_sizes_that_cannot_be_grown_are_refused():
    for size in ((8, 10, 8), (8,)):
        with pytest.raises(UserError, match="cannot be grown"):
            networks(size)
    with pytest.raises(UserError, match="cannot be grown"):
        build_network({"name": "progressive", "filters": "8"}, 5, 1, (8, 8))
