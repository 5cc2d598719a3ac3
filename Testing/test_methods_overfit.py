"""Methods from noise learn eight phantoms by heart: volumes of 32³ or slices of 64², each with its mask.

The feature distance is the Fréchet distance of the means of blocks of 8 voxels a side (64 of the image, 64 of its
mask), each less the mean of its channel, so that knowing the mean HU is worth nothing. What the running mean of the
generator's weights makes is compared with the phantoms. The distance must fall to a stated share of what it was before
the training, half-way or at the end: a run keeps the best of its models, too. HA-GAN learns its own in
`test_methods_ha_gan.py`.
"""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.nn import functional

from synthct.data.phantom_pairs import phantom_pair
from synthct.evaluation.distribution.distances import frechet_distance
from synthct.methods.noise import draw_latents, latent_shape_of
from synthct.methods.registry import build_method
from synthct.recipe import recipe_from_dict
from synthct.training.ema import Ema

VOLUME, SLICE = (32, 32, 32), (64, 64)
GIVEN = 32
"""Images that are compared."""
LOOKS = 2


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def phantoms():
    """The same eight chests as volumes and as slices, by the number of axes, −1 to 1."""
    found = []
    for number in range(8):
        image, mask = (torch.from_numpy(sitk.GetArrayFromImage(part)).float() for part in phantom_pair(number))
        found.append(torch.stack([(image.clamp(-1024, 600) + 1024) / 812 - 1, 2 * mask - 1]))
    whole = torch.stack(found)
    return {3: functional.avg_pool3d(whole, 2), 2: whole[:, :, 32].contiguous()}


def adam(lr, beta1=0.5, schedule="constant"):
    return {"name": "adam", "lr": lr, "beta1": beta1, "beta2": 0.99, "schedule": schedule}


def rmsprop(lr):
    return {"name": "rmsprop", "lr": lr}


def unet(filters, judge="4-8-16-16", role="critic"):
    return {
        "generator": {"name": "noise-unet", "filters": filters},
        role: {"name": "strided-discriminator", "filters": judge},
    }


def growing(filters):
    return {
        "generator": {"name": "progressive", "filters": filters},
        "critic": {"name": "progressive-critic", "filters": filters},
    }


DCGAN = {
    "generator": {"name": "dcgan-generator", "width": 8},
    "discriminator": {"name": "dcgan-discriminator", "width": 8},
}
STYLEGAN2 = {
    "generator": {"name": "stylegan2", "capacity": 512, "widest": 16, "style": 24, "mapping": 2},
    "discriminator": {"name": "stylegan2-discriminator", "capacity": 512, "widest": 16},
}
FASTGAN = {
    "generator": {"name": "fastgan", "capacity": 256, "widest": 16},
    "discriminator": {"name": "fastgan-discriminator", "capacity": 256, "widest": 16},
}
VANILLA = {"name": "vanilla-gan", "latent": 1}
CLIP = {"name": "noise-wgan", "constraint": "clip", "clip": 0.1}
PENALTY = {"name": "noise-wgan", "constraint": "penalty"}
# name: (method, networks, optimiser of the generator, of its judge, size, steps, share of the distance that is left)
LEARNERS = {
    "dcgan": ({"name": "dcgan", "latent": 16}, DCGAN, adam(4e-3), adam(1e-3), SLICE, 120, 0.5),
    "dcgan with classes": ({"name": "dcgan", "latent": 16}, DCGAN, adam(2e-3), adam(2e-4), SLICE, 80, 0.4),
    "vanilla gan 1": (VANILLA, unet("4-8-16-16-16-16-16", role="discriminator"),
                      adam(4e-3), adam(2e-3), VOLUME, 140, 0.7),
    "vanilla gan 2": (VANILLA, unet("4-8-16-16", role="discriminator"), adam(4e-3), adam(2e-3), VOLUME, 90, 0.7),
    "wgan clip 3d": (CLIP, unet("4-8-16-16", "4-8"), rmsprop(2e-3), rmsprop(1e-2), VOLUME, 140, 0.5),
    "wgan clip 2d": (CLIP, unet("8-16-16-16", "8-16"), rmsprop(1e-3), rmsprop(5e-3), SLICE, 360, 0.6),
    "wgan penalty 3d": (PENALTY, unet("4-8-16-16"), adam(2e-3, 0.0), adam(2e-3, 0.0), VOLUME, 40, 0.75),
    "wgan penalty 2d": (PENALTY, unet("8-16-16-16"), adam(2e-3, 0.0), adam(2e-3, 0.0), SLICE, 60, 0.75),
    "wgan penalty growing": ({**PENALTY, "latent": 8}, growing("16-16-8-4"),
                             adam(3e-3, 0.0), adam(3e-3, 0.0), VOLUME, 60, 0.7),
    "stylegan2": ({"name": "stylegan2", "latent": 16, "r1_weight": 1.0},
                  STYLEGAN2, adam(6e-3, 0.0), adam(6e-3, 0.0), SLICE, 40, 0.6),
    "fastgan": ({"name": "fastgan", "latent": 4}, FASTGAN,
                adam(4e-3, schedule="cosine"), adam(2e-3, schedule="cosine"), SLICE, 360, 0.85),
}  # fmt: skip


def features(images):
    pool = functional.avg_pool3d if images.dim() == 5 else functional.avg_pool2d
    blocks = pool(images.double(), 8).flatten(2)
    return (blocks - blocks.mean(dim=2, keepdim=True)).flatten(1).numpy()


def learned(name, phantoms, judged=True, seed=0):
    """Return the share of the feature distance that a training leaves; with ``judged`` false its judge never learns."""
    method, networks, *optimisers, size, steps, _ = LEARNERS[name]
    classes = ["odd", "even"] if "classes" in name else []
    method = build_method(
        recipe_from_dict(
            {
                "name": name,
                "source": "a test",
                "task": "noise-to-ct",
                "method": method,
                "networks": networks,
                "optimisers": dict(zip(networks, optimisers, strict=True)),
                "data": {
                    "size": list(size),
                    "masks": "channel",
                    "classes": classes,
                    "target_scaling": {"name": "hagan-ct"},
                },
                "training": {"seed": seed},
            }
        )
    )
    real = phantoms[len(size)]
    ema = Ema(method.networks["generator"], 0.98)
    latents = draw_latents(latent_shape_of(ema.network), GIVEN, 1)
    of_class = torch.arange(GIVEN) % 2 if classes else None

    def distance():
        with torch.no_grad():
            return frechet_distance(features(ema.network(latents, of_class)), features(real))

    def update(role, loss):
        if judged or role == "generator":
            method.optimisers[role].zero_grad()
            loss.backward()
            method.optimisers[role].step()

    before, order = distance(), np.random.default_rng(seed)
    left = []
    for step in range(steps):
        torch.manual_seed(1000 * seed + step)
        chosen = order.permutation(8)[:4]
        batch = {"target": real[chosen], **({"class": torch.from_numpy(chosen % 2)} if classes else {})}
        method.training_step(batch, update, step / steps)
        ema.update()
        if (step + 1) % (steps // LOOKS) == 0:
            left.append(distance() / before)
    return min(left)


@pytest.mark.parametrize("name", LEARNERS)
def test_eight_phantoms_are_learned(name, phantoms):
    """The feature distance falls to less than the share that stands last in `LEARNERS`."""
    assert learned(name, phantoms) < LEARNERS[name][-1]


@pytest.mark.parametrize("name", ["dcgan with classes", "wgan clip 2d", "wgan penalty 2d"])
def test_without_a_judge_that_learns_nothing_is_learned(name, phantoms):
    assert learned(name, phantoms, judged=False) > 1.2 * LEARNERS[name][-1]


def test_images_of_the_right_values_in_the_wrong_places_are_as_far_as_grey_ones(phantoms):
    """So that more than a histogram must be learned: voxels are mixed within each image."""
    for real in phantoms.values():
        order = torch.randperm(real[0, 0].numel(), generator=torch.Generator().manual_seed(0))
        mixed = real.flatten(2)[:, :, order].view_as(real)
        grey = frechet_distance(features(torch.zeros_like(real)), features(real))
        assert frechet_distance(features(mixed), features(real)) > 0.9 * grey
