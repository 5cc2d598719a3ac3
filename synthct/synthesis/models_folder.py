"""Where a user's installed models lie, and which of them has a name. Only the standard library is used."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

VARIABLE = "SYNTHCT_MODELS"
_NAME = re.compile(r"\w[\w .+-]*")


def models_folder() -> Path:
    """Return the folder of the installed models; it need not exist.

    That of the environment variable ``SYNTHCT_MODELS``, else the platform's place for a user's data:
    ``%LOCALAPPDATA%`` on Windows, ``~/Library/Application Support`` on a Mac, ``$XDG_DATA_HOME`` or ``~/.local/share``
    elsewhere.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        above = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        above = Path.home() / "Library/Application Support"
    else:
        above = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    return above / "SyntheticCT" / "models"


def is_model_name(name: str) -> bool:
    """Whether ``name`` can be an installed model's: letters, digits, space and ``_ . + -``; no path."""
    return bool(_NAME.fullmatch(name)) and not name.endswith((".", " "))


def installed_folder(name: str) -> Path | None:
    """Return the folder of the installed model ``name``, or None."""
    folder = models_folder() / name
    return folder if is_model_name(name) and folder.is_dir() else None


def installed_folders() -> list[Path]:
    """Return the folders of all installed models, by name."""
    try:
        return sorted(path for path in models_folder().iterdir() if path.is_dir() and is_model_name(path.name))
    except OSError:
        return []
