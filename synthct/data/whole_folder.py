"""A folder that appears whole or not at all: filled aside, then renamed."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from synthct.errors import UserError

_SUFFIX = ".part"


class NotWritten(UserError):
    """A folder could not be written: the fault of its place, not of what was to lie in it."""


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a new folder beside ``target`` to fill; on leaving without an error it takes the name ``target``.

    An older ``target`` is replaced. A process that is killed leaves ``target`` as it was; what it left aside is
    removed by the next call for a folder in the same place.

    Raises
    ------
    NotWritten
        The place is not writable or the disk is full.
    """
    aside = target.parent / f".{target.name}.{socket.gethostname()}.{os.getpid()}{_SUFFIX}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(target.parent)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        yield aside
        for path in aside.rglob("*"):
            if path.is_file():
                _sync(path)
        _take_name(aside, target)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise NotWritten(
            f"{target} could not be written.",
            f"{error.strerror or error}.",
            "Check the free space and the rights of that folder, or choose another one.",
        ) from error
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _take_name(aside: Path, target: Path) -> None:
    old = aside.with_name(f"{aside.name}.old{_SUFFIX}")
    if target.exists():
        target.replace(old)
    aside.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _remove_orphans(parent: Path) -> None:
    """Remove what killed processes of this machine left; those of other machines cannot be judged from here."""
    for path in parent.glob(f".*{_SUFFIX}"):
        parts = path.name.removesuffix(_SUFFIX).removesuffix(f"{_SUFFIX}.old").rsplit(".", 1)
        if len(parts) != 2 or not parts[0].endswith(f".{socket.gethostname()}") or not parts[1].isdigit():
            continue
        if int(parts[1]) != os.getpid() and not psutil.pid_exists(int(parts[1])):
            shutil.rmtree(path, ignore_errors=True)
