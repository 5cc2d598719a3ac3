"""A small file that appears whole or not at all: written aside, then renamed. Only the standard library is used."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from synthct.errors import UserError


def require_writable(*paths: Path | None, overwrite: bool = False) -> None:
    """Refuse places that cannot be written to, worth asking before hours of work; None stands for no output.

    Raises
    ------
    UserError
        A folder, a file that exists and is not to be replaced, one path twice, or a folder that cannot be written to.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if given.count(path) > 1:
            raise UserError(f"{path} is named for two outputs.", todo="Give each a file of its own.")
        if path.is_dir():
            raise UserError(f"{path} is a folder.", "A file is to be written.", "Give the name of a file.")
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists already.", "Nothing is replaced unasked.", "Add --overwrite or rename it.")
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise UserError(
                f"{path} cannot be written.", f"The folder {parent} is not writable.", "Choose another folder."
            )


def require_apart(outputs: Iterable[Path | None], inputs: Iterable[Path | None] = ()) -> None:
    """Refuse an output that is an input, even where outputs may be replaced, or another output; None stands for none.

    Raises
    ------
    UserError
        Naming the file.
    """
    taken = [path.expanduser() for path in inputs if path is not None]
    for path in outputs:
        if path is None:
            continue
        path = path.expanduser()
        if any(_same_file(path, other) for other in taken):
            raise UserError(
                f"Two of input and outputs are the same file, {path}.", "It would be lost.", "Choose another output."
            )
        taken.append(path)


def _same_file(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def write_whole(path: Path, content: str | bytes) -> None:
    """Write ``content`` (text as UTF-8) to ``path``, replacing what is there; its folder is made if needed.

    Raises
    ------
    OSError
        The folder is not writable or the disk is full; what was there before stays, and nothing is left aside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
