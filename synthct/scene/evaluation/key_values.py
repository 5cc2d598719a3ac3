"""Conditions and keys that a user writes into one line: ``KEY=VALUE; KEY=VALUE``."""

from __future__ import annotations

from synthct.errors import UserError


def key_values(text: str, where: str) -> dict[str, str]:
    """Return keys and values in order.

    Parameters
    ----------
    where
        What the line is called.

    Raises
    ------
    UserError
        A part without ``=``, or without a key.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and key):
            raise UserError(f"“{where}” has “{part}”.", todo="Write KEY=VALUE, with ; between several.")
        found[key] = value
    return found
