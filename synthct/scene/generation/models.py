"""Which models make pairs from noise, and what of their card a section wants to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synthct.errors import UserError

TASK = "noise-to-ct"
_WITH_TRUNCATION = ("stylegan2",)
"""Networks that can draw an image towards the mean one."""


def noise_card(read_card: Callable[[str], dict[str, Any]], path: str) -> dict[str, Any]:
    """Return the card of the model at ``path``.

    Raises
    ------
    UserError
        The model translates an image, or as ``read_card``.
    """
    card = read_card(path)
    if card.get("task") != TASK:
        raise UserError(
            f"The model {card['name']} makes no pairs from noise.",
            f"It is a model for {card.get('task') or 'another task'}, which takes {card['input']}.",
            "Choose a model that was trained for noise-to-ct.",
        )
    return card


def noise_models(read_card: Callable[[str], dict[str, Any]], folders: list[Path]) -> list[Path]:
    """Return those of the models' folders that make pairs from noise; a damaged one is left out."""

    def from_noise(folder: Path) -> bool:
        try:
            noise_card(read_card, str(folder))
        except UserError:
            return False
        return True

    return [folder for folder in folders if from_noise(folder)]


def has_truncation(card: Mapping[str, Any]) -> bool:
    """Whether the model's images can be drawn towards the mean one."""
    return card["network"].get("name") in _WITH_TRUNCATION
