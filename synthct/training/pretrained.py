"""Networks of a method that come trained from model folders and learn no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from synthct.errors import UserError
from synthct.methods.method import Method
from synthct.recipe import Recipe
from synthct.synthesis.model_file import load_model
from synthct.volumes.scaling import make_scaling


def put_pretrained(method: Method, recipe: Recipe, models: Mapping[str, Path | str]) -> None:
    """Put the network of each model (role → folder) in its place in ``method.networks``, frozen and in eval mode.

    Raises
    ------
    UserError
        A model cannot be read, is not the network that the recipe names for its role, or was trained on a CT that
        is scaled otherwise.
    """
    for role, path in models.items():
        model = load_model(path)
        if model.card["network"] != recipe.networks[role]:
            raise UserError(
                f"The model {path} cannot be `networks.{role}` of the recipe.",
                f"Its network is {model.card['network']} and the recipe's {recipe.networks[role]}.",
                f"Write the model's network into the recipe, or choose another model for `{role}`.",
            )
        wanted = make_scaling(recipe.data.target_scaling).to_dict()
        if model.card["in_channels"] != 1 or model.card["input"] != "CT" or model.card["input_scaling"] != wanted:
            raise UserError(
                f"The model {path} cannot be `networks.{role}` of the recipe.",
                f"It takes {model.card['in_channels']} slices of {model.card['input']} scaled by "
                f"{model.card['input_scaling']}; the recipe's CT is one, scaled by {wanted}.",
                "Set `data.target_scaling` to the model's, or choose another model.",
            )
        method.networks[role] = model.network
