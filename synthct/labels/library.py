"""A folder of nodule templates: add, list, load, remove, export and import.

Each template is a folder ``NAME`` with ``shape.nii.gz`` (binary, with spacing), ``template.json`` and ``preview.png``.
``library.json`` says that the folder is a library and holds the facts of all templates for whoever wants them at once;
it is written anew from the templates whenever they change.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.archive import opened_zip
from synthct.errors import UserError
from synthct.labels.templates import Template
from synthct.volumes.read import read_image
from synthct.volumes.write import write_image
from synthct.whole_file import write_whole

FORMAT = 1
INDEX, SHAPE, FACTS, PREVIEW = "library.json", "shape.nii.gz", "template.json", "preview.png"
_LARGEST = {SHAPE: 64 << 20, FACTS: 1 << 20, PREVIEW: 16 << 20}
"""Bytes that a file of an archive may unpack to."""
_NAME = re.compile(r"\w[\w .+-]*")


def add_templates(library: Path | str, templates: Sequence[Template], overwrite: bool = False) -> list[str]:
    """Put templates into a library, which is made where there is none; return their names.

    Raises
    ------
    UserError
        A name that cannot be a folder's or is taken (then nothing is added), a folder that is something else, or that
        cannot be written.
    """
    from synthct.data.whole_folder import whole_folder  # needs psutil, not in every Slicer, which loads this file

    root = _root(library, made=True)
    for template in templates:
        if not _NAME.fullmatch(template.name):
            raise UserError(f"A template cannot be called {template.name!r}.", "Letters, digits, _ . + - are possible.")
    taken = [template.name for template in templates if (root / template.name).exists()]
    if taken and not overwrite:
        raise UserError(
            f"The library {root} has {', '.join(taken)} already.",
            "Nothing was added.",
            "Give the case another name (--case), or replace them (--overwrite).",
        )
    for template in templates:
        with whole_folder(root / template.name) as folder:
            write_image(template.shape, folder / SHAPE)
            content = {"format": FORMAT, "name": template.name, **template.facts}
            write_whole(folder / FACTS, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
            if template.preview is not None:
                _write_picture(template.preview, folder / PREVIEW)
    _write_index(root)
    return [template.name for template in templates]


def list_templates(library: Path | str) -> list[dict[str, Any]]:
    """Return the facts of every template (`synthct.labels.templates.Template`) with its ``name``, by name.

    Raises
    ------
    UserError
        There is no such library, or a template in it is damaged.
    """
    return [_facts(folder) for folder in _folders(_root(library))]


def load_template(library: Path | str, name: str) -> Template:
    """Read one template, without its picture.

    Raises
    ------
    UserError
        There is none of that name (the known ones are told), or its files are damaged.
    """
    root = _root(library)
    folder = root / name
    if not _NAME.fullmatch(name) or not (folder / FACTS).is_file():
        known = ", ".join(path.name for path in _folders(root)) or "none"
        raise UserError(f"The library {root} has no template {name!r}.", f"It has: {known}.", "Name one of these.")
    facts = _facts(folder)
    shape = read_image(folder / SHAPE)
    if not np.any(sitk.GetArrayViewFromImage(shape)):
        raise UserError(f"{folder / SHAPE} is empty.", "A template has at least one voxel.", "Remove it.")
    return Template(name, shape, {key: value for key, value in facts.items() if key not in ("name", "format")})


def load_all(library: Path | str) -> list[Template]:
    """Read every template of a library, by name.

    Raises
    ------
    UserError
        There is no library, none is in it, or one is damaged.
    """
    root = _root(library)
    names = [folder.name for folder in _folders(root)]
    if not names:
        raise UserError(
            f"The library {root} is empty.",
            "There is no nodule to plant.",
            "`synthct templates` cuts some from a mask.",
        )
    return [load_template(root, name) for name in names]


def remove_template(library: Path | str, name: str) -> None:
    """Remove one template; UserError where there is none of that name."""
    load_template(library, name)
    root = _root(library)
    try:
        shutil.rmtree(root / name)
    except OSError as error:
        raise UserError(f"{root / name} could not be removed.", f"{error.strerror or error}.") from error
    _write_index(root)


def export_library(library: Path | str, output: Path | str) -> Path:
    """Write all templates into a ``.zip`` that `import_templates` takes; an existing file is not replaced.

    Raises
    ------
    UserError
        An empty library, or an output that exists or cannot be written.
    """
    root, output = _root(library), Path(output).expanduser()
    load_all(root)
    if output.suffix.lower() != ".zip":
        raise UserError(f"{output} does not end in .zip.", todo="Give the output a name that ends in .zip.")
    if output.exists():
        raise UserError(f"{output} exists already.", todo="Choose another name, or remove it first.")
    aside = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(aside, "w") as archive:
            for folder in _folders(root):
                for file in (SHAPE, FACTS, PREVIEW):
                    if (folder / file).is_file():
                        archive.write(folder / file, f"{folder.name}/{file}")
        aside.replace(output)
    except OSError as error:
        raise UserError(f"{output} could not be written.", f"{error.strerror or error}.") from error
    finally:
        aside.unlink(missing_ok=True)
    return output


def import_templates(library: Path | str, source: Path | str, overwrite: bool = False) -> list[str]:
    """Add the templates of a ``.zip`` from `export_library`; only files of their three names are read from it.

    Raises
    ------
    UserError
        No such archive, a path that leads out of it, damaged templates, or names that are taken; then nothing is added.
    """
    source = Path(source).expanduser()
    with tempfile.TemporaryDirectory() as aside:
        root = Path(aside)
        _unpack(source, root)
        if not _folders(root):
            raise UserError(f"{source} holds no templates.", "`synthct templates --export` writes such files.")
        _write_index(root)
        templates = load_all(root)
        with_pictures = [
            Template(template.name, template.shape, template.facts, _picture(root / template.name / PREVIEW))
            for template in templates
        ]
        return add_templates(library, with_pictures, overwrite)


def _root(library: Path | str, made: bool = False) -> Path:
    root = Path(library).expanduser()
    if (root / INDEX).is_file():
        return root
    if not made:
        why = "It does not exist." if not root.exists() else f"It has no {INDEX}."
        raise UserError(f"{root} is no library of templates.", why, "`synthct templates --ct … --nodules …` makes one.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(
            f"{root} is no library of templates.", "Something else is there.", "Give a new or empty folder."
        )
    try:
        write_whole(root / INDEX, json.dumps({"format": FORMAT, "templates": []}) + "\n")
    except OSError as error:
        raise UserError(
            f"{root} cannot be written.", f"{error.strerror or error}.", "Choose another folder."
        ) from error
    return root


def _folders(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob(f"*/{FACTS}") if not path.parent.name.startswith("."))


def _facts(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"The template {folder} is damaged.", f"{error}.", "Remove its folder.") from error
    if not isinstance(content, dict) or not isinstance(content.get("volume_mm3"), int | float):
        raise UserError(f"The template {folder} is damaged.", f"{FACTS} lacks its volume.", "Remove its folder.")
    if content.get("format", FORMAT) > FORMAT:
        raise UserError(f"The template {folder} was made by a newer version of SyntheticCT.", todo="Update this one.")
    return {**content, "name": folder.name}


def _write_index(root: Path) -> None:
    content = {"format": FORMAT, "templates": [_facts(folder) for folder in _folders(root)]}
    try:
        write_whole(root / INDEX, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{root / INDEX} cannot be written.", f"{error.strerror or error}.", "Make room.") from error


def _unpack(source: Path, root: Path) -> None:
    try:
        with opened_zip(source) as archive:
            for info in archive.infolist():
                path = PurePosixPath(info.filename.replace("\\", "/"))
                if len(path.parts) != 2 or path.name not in _LARGEST or not _NAME.fullmatch(path.parts[0]):
                    continue
                if info.file_size > _LARGEST[path.name]:
                    raise UserError(f"{info.filename} of {source} is larger than a template's can be.")
                target = root / path.parts[0] / path.name
                target.parent.mkdir(exist_ok=True)
                with archive.open(info) as content, open(target, "wb") as copy:
                    copy.write(content.read(_LARGEST[path.name]))
    except OSError as error:
        raise UserError(f"{source} cannot be unpacked.", f"{error}.", "Fetch it again.") from error


def _write_picture(picture: np.ndarray, path: Path) -> None:
    try:
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(picture), isVector=True), str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be written.", "The disk may be full.", "Make room.") from error


def _picture(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkVectorUInt8))
    except RuntimeError as error:
        raise UserError(f"{path.name} of {path.parent.name} is no picture.", "The archive is damaged.") from error
