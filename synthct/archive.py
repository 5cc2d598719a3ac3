"""Archives from elsewhere: opened so that a damaged one is said to be, and none writes outside its folder."""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from synthct.errors import UserError


@contextmanager
def opened_zip(source: Path, todo: str = "Check the path.") -> Iterator[zipfile.ZipFile]:
    """Open a zip file for reading; what its content raises when it is damaged becomes a UserError.

    Parameters
    ----------
    todo
        What to do where there is no such file.

    Raises
    ------
    UserError
        No such file, a damaged one, or one that holds a path that leads out of it.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                path = PurePosixPath(name.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
                    raise UserError(
                        f"{source} is not unpacked.", f"It holds {name}, a path that leads out of its folder."
                    )
            yield archive
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{source} cannot be unpacked.", f"{error}.", "Fetch it again.") from error
    except FileNotFoundError as error:
        raise UserError(f"{source} does not exist.", todo=todo) from error
