"""The fingerprint of a model's weights, taken without loading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from synthct.errors import UserError


def checked_hash(path: Path) -> str:
    """Return the SHA-256 of a file that starts as a safetensors file does; anything else is refused unread.

    Raises
    ------
    UserError
        A pickle, a truncated file, or one that cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            start = file.read(9)
            whole = start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8
            if not whole and start.startswith((b"PK", b"\x80")):
                raise UserError(
                    f"{path} is a pickle in place of safetensors and is not loaded.",
                    "A pickle can run any program when it is loaded.",
                    "Fetch the model from its author again.",
                )
            if not whole:
                raise UserError(
                    f"{path} is not a whole safetensors file.",
                    "It is truncated or of another kind.",
                    "Copy or fetch the whole model folder again.",
                )
            digest.update(start)
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"The weights {path} cannot be read.", f"{error.strerror}.") from error
    return digest.hexdigest()
