"""The training methods that a recipe may name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from synthct.errors import UserError
from synthct.methods.conditional_gan import ConditionalGAN
from synthct.methods.cyclegan import CycleGAN
from synthct.methods.gan import GAN
from synthct.methods.method import Method
from synthct.methods.regression import Regression
from synthct.methods.wgan import WGAN
from synthct.options import build
from synthct.recipe import Recipe

METHODS: dict[str, Callable[..., Method]] = {
    "regression": Regression,
    "gan": GAN,
    "conditional-gan": ConditionalGAN,
    "cyclegan": CycleGAN,
    "wgan": WGAN,
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        method = build(METHODS, recipe.method, "`method` of the recipe", recipe)
    divisor = getattr(method.networks[method.generator_role], "divisor", 1)
    for length in recipe.data.size:
        if length % divisor or length < divisor:
            fitting = max(1, round(length / divisor)) * divisor
            raise UserError(
                f"`data.size` {list(recipe.data.size)} does not fit the generator.",
                f"Rows and columns must be multiples of {divisor}.",
                f"Take {fitting} in place of {length}, or a generator of less depth.",
            )
    return method
