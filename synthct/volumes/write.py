"""Write a volume to a file so that a crash leaves either the whole file or none."""

from __future__ import annotations

import os
from pathlib import Path

import SimpleITK as sitk

from synthct.errors import UserError

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_image(image: sitk.Image, path: Path | str, overwrite: bool = False) -> Path:
    """Write a volume as NIfTI, NRRD or MetaImage, chosen by the ending.

    The file is written aside (``.NAME.part`` in the same folder) and renamed.

    Parameters
    ----------
    image
        3D image.
    path
        ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``; the folder is made.
    overwrite
        Replace a file that exists.

    Raises
    ------
    UserError
        Unknown ending, file exists, folder not writable, disk full.
    """
    path = Path(path).expanduser()
    ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), None)
    if ending is None:
        raise UserError(f"{path} does not end in a known image format.", todo=f"Use one of {', '.join(_ENDINGS)}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already.", "It is not overwritten.", "Choose another name or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name[: -len(ending)]}.part{ending}")
    try:
        sitk.WriteImage(image, str(aside), ending in (".nii.gz", ".nrrd", ".mha"))
        os.replace(aside, path)
    except (RuntimeError, OSError) as error:
        raise UserError(f"{path} cannot be written.", str(error).splitlines()[-1]) from error
    finally:
        aside.unlink(missing_ok=True)
    return path
