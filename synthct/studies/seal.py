"""What a result was made with, as hashes and versions, and whether it is still so."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from synthct import __version__
from synthct.errors import UserError

_PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK")
_SOURCES = ("*.py", "*.yaml", "*.csv")
SEAL = "seal_sha256"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file.

    Raises
    ------
    UserError
        It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read.", f"{error.strerror}.", "Restore the file.") from error


def software() -> dict[str, str]:
    """Versions of what computes, and a hash over the source of synthct, since a version says little in a clone."""
    found = {"synthct": __version__, "synthct_source_sha256": _source_sha256(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``content`` with a hash over all of it, so that a later change of it shows.

    It is no signature: whoever changes the content on purpose can compute the hash anew.
    """
    return {**content, SEAL: _hash(content)}


def is_whole(content: Mapping[str, Any]) -> bool:
    """Whether what was `sealed` is unchanged."""
    return content.get(SEAL) == _hash({key: value for key, value in content.items() if key != SEAL})


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _source_sha256() -> str:
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in root.rglob(pattern)):
        total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()
