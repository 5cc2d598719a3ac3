"""What a file holds, as a short key: the same bytes and settings give the same key anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthct.errors import UserError


def fingerprint(paths: Sequence[Path | None], settings: Any = None) -> str:
    """Return 32 hex digits over the contents of ``paths`` (a folder: all its files) and plain JSON ``settings``.

    Names and dates of the files do not count, but for the order of the files in a folder.

    Raises
    ------
    UserError
        A file is missing or cannot be read.
    """
    total = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for path in paths:
        total.update(b"-" if path is None else _content(path))
    return total.hexdigest()


def _content(path: Path) -> bytes:
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    total = hashlib.blake2b(digest_size=32)
    for file in files:
        try:
            with open(file, "rb") as stream:
                total.update(hashlib.file_digest(stream, "blake2b").digest())
        except OSError as error:
            raise UserError(
                f"{file} cannot be read.", f"{error.strerror}.", "Correct the manifest or restore the file."
            ) from error
    return total.digest()
