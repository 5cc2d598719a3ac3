"""Write a volume to a file so that a crash leaves either the whole file or none."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.whole_file import require_writable

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
_NIFTI_START = 352


def write_image(image: sitk.Image, path: Path | str, overwrite: bool = False, compress: bool = True) -> Path:
    """Write a volume as NIfTI, NRRD or MetaImage, chosen by the ending.

    The file is written aside (``.NAME.part…`` in the same folder), checked, synced and renamed.

    Parameters
    ----------
    image
        3D image.
    path
        ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``; its folder is made.
    overwrite
        Replace a file that exists.
    compress
        Pack NRRD and MetaImage; NIfTI goes by its ending.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    UserError
        Unknown ending, file exists, folder not writable, disk full. Nothing is left behind.
    """
    path, ending = check_output(path, overwrite)
    aside = path.with_name(f".{path.name[: -len(ending)]}.{os.getpid()}.part{ending.lower()}")
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch()  # fails in Python's words where the folder is not writable
        sitk.WriteImage(image, str(aside), ending == ".nii.gz" or (compress and ending != ".nii"))
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        if not _whole(aside, image):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        aside.replace(path)
    except OSError as error:
        raise _in_words(path, error.strerror or str(error)) from error
    except RuntimeError as error:
        raise _in_words(path, "The image library could not write it") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
        if aside.exists():
            aside.unlink()
    return path


def check_output(path: Path | str, overwrite: bool = False) -> tuple[Path, str]:
    """Return the path and its image ending, or refuse it: worth asking before hours of work.

    Raises
    ------
    UserError
        Unknown ending, a folder, a file that exists and is not to be replaced, or a folder that cannot be written to.
    """
    path = Path(path).expanduser()
    ending = next((known for known in _ENDINGS if path.name.lower().endswith(known)), None)
    if ending is None or len(path.name) == len(ending):
        raise UserError(f"{path} is no file name for an image.", f"It must end in {', '.join(_ENDINGS)}.")
    require_writable(path, overwrite=overwrite)
    return path, ending


def _whole(path: Path, image: sitk.Image) -> bool:
    """Whether everything arrived on disk: ITK's NIfTI writer says nothing when it is full."""
    voxels = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * image.GetSizeOfPixelComponent()
    size = path.stat().st_size
    name = path.name.lower()
    if name.endswith(".nii"):
        return size >= _NIFTI_START + voxels
    if not name.endswith(".nii.gz"):
        return size > 0
    if size < 20:
        return False
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        unpacked = int(np.frombuffer(file.read(4), "<u4")[0])  # a gzip file ends with its unpacked length
    return unpacked == (_NIFTI_START + voxels) % 2**32


def _in_words(path: Path, reason: str) -> UserError:
    free = ""
    folder = path.parent
    if folder.is_dir() and reason == os.strerror(errno.ENOSPC):
        free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB are free there. "
    return UserError(f"{path} cannot be written.", f"{reason}.", f"{free}Choose another folder or make room.")
