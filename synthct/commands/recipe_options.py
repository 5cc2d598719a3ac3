"""Recipe keys on the command line: ``--KEY VALUE`` or ``--KEY=VALUE`` for any key of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

from synthct.errors import UserError


def overrides_from(words: Sequence[str]) -> dict[str, str]:
    """Return recipe key → YAML text from the words that no option of the verb took.

    Raises
    ------
    UserError
        A word that is no option, or an option without a value.
    """
    overrides: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise UserError(f"`{word}` is not understood.", todo="Recipe keys are given as --KEY VALUE.")
        key, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise UserError(f"The option --{key} has no value.", todo="Recipe keys are given as --KEY VALUE.")
            value = rest.pop(0)
        overrides[key.replace("-", "_")] = value
    return overrides
