"""The user's library of models: install from a folder or file, list, check, remove, pack. Imports no torch.

An installed model is a folder of `models_folder`, named as the user calls it, with the card and the weights. What comes
from elsewhere is copied file by file under these two names, never unpacked as it is, and enters only if its weights
have the hash that its card tells.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from synthct.archive import opened_zip
from synthct.errors import UserError
from synthct.synthesis.card import CARD, PICKLES, WEIGHTS, model_folder, parse_card
from synthct.synthesis.models_folder import installed_folder, installed_folders, is_model_name, models_folder
from synthct.synthesis.weights_hash import checked_hash

LARGEST = {CARD: 16 << 20, WEIGHTS: 16 << 30}
"""Bytes that a file may unpack to: beyond, an archive is a trap and no model."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Installed:
    """One model of the library; ``card`` is None, and ``problem`` says why, where it cannot be used."""

    name: str
    folder: Path
    card: Mapping[str, Any] | None
    size_bytes: int
    problem: str = ""


def list_models(hashes: bool = True) -> list[Installed]:
    """Return every installed model, by name; ``hashes``: read the weights too, to see whether they are whole."""
    return [_look(folder, hashes) for folder in installed_folders()]


def install(source: Path | str, name: str | None = None) -> Installed:
    """Copy a model into the library.

    Parameters
    ----------
    source
        Model folder, run folder, or a ``.zip`` that holds a model folder.
    name
        What it will be called; None: as its card says.

    Raises
    ------
    UserError
        No model in it, a pickle or a path that leads out of the archive, more bytes than a model has, weights that are
        not the card's, a name that cannot be one or is taken, or a folder that cannot be written.
    """
    source = Path(source).expanduser()
    if name is not None and not is_model_name(name):
        raise UserError(f"A model cannot be called {name!r}.", "Letters, digits, space and _ . + - are possible.")
    root = models_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".incoming-", dir=root))
        try:
            return _install(source, name, aside, root)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"The model could not be copied to {root}.",
            f"{error.strerror or error}.",
            "Check the free space and the rights of that folder, or set SYNTHCT_MODELS to another one.",
        ) from error


def remove(name: str) -> Path:
    """Remove an installed model and return where it lay.

    Raises
    ------
    UserError
        There is none of that name, or it cannot be removed.
    """
    folder = require_installed(name)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UserError(f"{folder} could not be removed.", f"{error.strerror or error}.") from error
    return folder


def pack(model: Path | str, output: Path | str) -> Path:
    """Write a model as a ``.zip`` that `install` takes, and return its path; an existing file is not replaced.

    Raises
    ------
    UserError
        No model, damaged weights, an output that exists or cannot be written.
    """
    folder, output = model_folder(model), Path(output).expanduser()
    if output.suffix.lower() != ".zip":
        raise UserError(f"{output} does not end in .zip.", todo="Give the output a name that ends in .zip.")
    if output.exists():
        raise UserError(f"{output} exists already.", todo="Choose another name, or remove it first.")
    card = parse_card(folder / CARD)
    _check_weights(folder, card, folder)
    aside = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(aside, "w") as archive:
            for file in (CARD, WEIGHTS):
                archive.write(folder / file, f"{_name_of(card)}/{file}")  # stored: weights hardly shrink
        aside.replace(output)
    except OSError as error:
        raise UserError(f"{output} could not be written.", f"{error.strerror or error}.") from error
    finally:
        aside.unlink(missing_ok=True)
    return output


def require_installed(name: str) -> Path:
    """Return the folder of the installed model ``name``, or say which there are."""
    folder = installed_folder(name)
    if folder is None:
        names = ", ".join(path.name for path in installed_folders())
        raise UserError(f"No model called {name} is installed.", f"Installed: {names or 'none'}.")
    return folder


def _install(source: Path, name: str | None, aside: Path, root: Path) -> Installed:
    whole = aside / "model"
    whole.mkdir()
    if source.suffix.lower() == ".zip":
        _unpack(source, whole)
    else:
        folder = model_folder(source)
        for file in (CARD, WEIGHTS):
            if not (folder / file).is_file():
                raise UserError(f"The model {folder} has no {file}.", todo="Copy or fetch the whole folder.")
            shutil.copyfile(folder / file, whole / file)
    card = parse_card(whole / CARD)
    _check_weights(whole, card, source)
    target = root / (name or _name_of(card))
    if target.exists():
        raise UserError(
            f"A model called {target.name} is installed already.",
            f"It lies in {target}.",
            "Give another --name, or remove that one first.",
        )
    whole.rename(target)
    return _look(target, hashes=False)


def _look(folder: Path, hashes: bool) -> Installed:
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    try:
        card = parse_card(folder / CARD)
        if hashes:
            _check_weights(folder, card, folder)
    except UserError as error:
        return Installed(folder.name, folder, None, size, str(error))
    return Installed(folder.name, folder, card, size)


def _check_weights(folder: Path, card: Mapping[str, Any], origin: Path) -> None:
    found = checked_hash(folder / WEIGHTS)
    if found != card["weights_sha256"]:
        raise UserError(
            f"The weights of {origin} are not those of the model card.",
            f"Their SHA-256 is {found[:12]}… and should be {card['weights_sha256'][:12]}….",
            "The file is truncated or was changed: copy or fetch it again.",
        )


def _unpack(source: Path, target: Path) -> None:
    """Copy the card and the weights out of an archive, after a look at everything else in it."""
    with opened_zip(source, "Give a model folder, a run folder or a .zip file.") as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        for name in names:
            if PurePosixPath(name).suffix.lower() in PICKLES:
                raise UserError(
                    f"{source} is not unpacked.",
                    f"It holds {name}, a pickle, which can run any program when it is loaded.",
                    f"Ask for a model folder with {CARD} and {WEIGHTS}.",
                )
        cards = [name for name in names if PurePosixPath(name).name == CARD]
        if len(cards) != 1:
            raise UserError(
                f"{source} holds {len(cards)} models.", f"One {CARD} is expected, with {WEIGHTS} beside it."
            )
        for file in (CARD, WEIGHTS):
            member = str(PurePosixPath(cards[0]).with_name(file))
            if member not in names:
                raise UserError(f"{source} has no {member}.", todo="Fetch the whole archive again.")
            with archive.open(member) as content, open(target / file, "wb") as copy:
                _copy(content, copy, LARGEST[file], f"{member} of {source}")


def _copy(content: IO[bytes], copy: IO[bytes], largest: int, name: str) -> None:
    written = 0
    while block := content.read(_BLOCK):
        written += len(block)
        if written > largest:
            raise UserError(f"{name} is larger than a model's can be.", f"It unpacks to more than {largest >> 20} MB.")
        copy.write(block)


def _name_of(card: Mapping[str, Any]) -> str:
    """The card's name with everything that a folder's name cannot hold replaced."""
    name = re.sub(r"[^\w .+-]+", "-", str(card["name"])).strip(" .-+")
    return name if is_model_name(name) else "model"
