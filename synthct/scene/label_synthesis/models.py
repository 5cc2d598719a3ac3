"""Which models make a CT of a label map, and what of their card a section wants to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synthct.errors import UserError
from synthct.volumes.scaling import make_scaling

TASK = "label-to-ct"


def classes_of(card: Mapping[str, Any]) -> int | None:
    """Return how many classes a model's label map may have, numbered from 0; None: it takes intensities."""
    return make_scaling(card["input_scaling"]).classes


def label_card(read_card: Callable[[str], dict[str, Any]], path: str) -> dict[str, Any]:
    """Return the card of the model at ``path``.

    Raises
    ------
    UserError
        The model makes no CT of a label map, or as ``read_card``.
    """
    card = read_card(path)
    if card.get("task") != TASK or classes_of(card) is None:
        raise UserError(
            f"The model {card['name']} makes no CT of a label map.",
            f"It is a model for {card.get('task')}, which takes {card['input']}.",
            "Choose a model that was trained on label maps (section Training).",
        )
    return card


def label_models(read_card: Callable[[str], dict[str, Any]], folders: list[Path]) -> list[Path]:
    """Return those of the models' folders that make a CT of a label map; a damaged one is left out."""

    def takes_labels(folder: Path) -> bool:
        try:
            label_card(read_card, str(folder))
        except UserError:
            return False
        return True

    return [folder for folder in folders if takes_labels(folder)]
