"""The training methods that a recipe may name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from synthct.errors import UserError
from synthct.methods.classification import Classification
from synthct.methods.conditional_gan import ConditionalGAN
from synthct.methods.cyclegan import CycleGAN
from synthct.methods.dcgan import DCGAN
from synthct.methods.fastgan import FastGAN
from synthct.methods.gan import GAN
from synthct.methods.ha_gan import HAGAN
from synthct.methods.label_input import require_label_recipe
from synthct.methods.method import Method
from synthct.methods.noise import require_noise_recipe
from synthct.methods.noise_wgan import NoiseWGAN
from synthct.methods.regression import Regression
from synthct.methods.segmentation import Segmentation
from synthct.methods.self_regularised_gan import SelfRegularisedGAN
from synthct.methods.stylegan2 import StyleGAN2
from synthct.methods.wgan import WGAN
from synthct.options import build
from synthct.recipe import CLASS_TASK, NOISE_TASK, Recipe

METHODS: dict[str, Callable[..., Method]] = {
    "regression": Regression,
    "gan": GAN,
    "conditional-gan": ConditionalGAN,
    "cyclegan": CycleGAN,
    "wgan": WGAN,
    "self-regularised-gan": SelfRegularisedGAN,
    "segmentation": Segmentation,
    "classification": Classification,
    "dcgan": DCGAN,
    "vanilla-gan": DCGAN,  # row C4: the same step, other networks
    "noise-wgan": NoiseWGAN,
    "stylegan2": StyleGAN2,
    "fastgan": FastGAN,
    "ha-gan": HAGAN,
}


def build_method(recipe: Recipe) -> Method:
    """Build networks, optimisers and losses of ``recipe``; the first weights come from its seed.

    Torch's global generator is left as it was. Under ``with torch.device("meta"):`` nothing is allocated, which
    makes this a check of a recipe.

    Raises
    ------
    UserError
        An unknown name or option, a role that is missing, or choices that do not go together.
    """
    require_label_recipe(recipe)
    require_noise_recipe(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        method = build(METHODS, recipe.method, "`method` of the recipe", recipe)
    _require_dimensions(recipe, method)
    if hasattr(method.networks[method.generator_role], "latent_shape") != (recipe.task == NOISE_TASK):
        raise UserError(
            f"The method {recipe.method.get('name')} does not go with `task: {recipe.task}`.",
            f"`{NOISE_TASK}` is for generators that are fed noise, and they for it alone.",
            "Change one of the two.",
        )
    if recipe.task == CLASS_TASK and not isinstance(method, Classification):
        raise UserError(
            f"The method {recipe.method.get('name')} does not go with `task: {recipe.task}`.",
            todo="Take the method classification, or another task.",
        )
    divisor = getattr(method.networks[method.generator_role], "divisor", 1)
    for length in recipe.data.size:
        if length % divisor or length < divisor:
            fitting = max(1, round(length / divisor)) * divisor
            raise UserError(
                f"`data.size` {list(recipe.data.size)} does not fit the generator.",
                f"{'Rows and columns' if len(recipe.data.size) == 2 else 'All sides'} must be multiples of {divisor}.",
                f"Take {fitting} in place of {length}, or a generator of less depth.",
            )
    return method


def _require_dimensions(recipe: Recipe, method: Method) -> None:
    """Refuse slices for a 3D network and patches for a 2D one."""
    wanted = len(recipe.data.size)
    for role, network in method.networks.items():
        found = getattr(network, "dimensions", 2)
        if found != wanted and role in recipe.networks:
            raise UserError(
                f"The network `{recipe.networks[role].get('name')}` of `networks.{role}` is a {found}D one.",
                f"`data.size` has {wanted} entries, {'rows and columns' if wanted == 2 else 'those of a 3D patch'}.",
                f"Give `data.size` {found} entries, or take a {wanted}D network.",
            )
