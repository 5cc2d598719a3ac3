"""Recipes of segmentation experiments: those that come along, and which sets of cases one has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / "experiments"


def packaged() -> list[str]:
    """Return the names of the recipes that come along."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@dataclass(frozen=True)
class RecipeSets:
    """Names of a recipe's first set of real cases and of its first set that a model made; None: it has none."""

    real: str | None = None
    synthetic: str | None = None


def sets_of(recipe: str) -> RecipeSets:
    """Look into a packaged recipe or a file; nothing is known of one that cannot be read, which its job will say."""
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else _FOLDER / f"{recipe}.yaml"
    try:
        import yaml  # not in every Slicer, which loads this file
    except ImportError:
        return RecipeSets()
    try:
        sets = yaml.safe_load(path.read_text(encoding="utf-8"))["sets"].items()
        made = [name for name, content in sets if content.get("gan")]
        real = [name for name, content in sets if not content.get("gan")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return RecipeSets()
    return RecipeSets(next(iter(real), None), next(iter(made), None))
