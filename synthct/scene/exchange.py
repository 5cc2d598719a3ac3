"""Volumes handed to a job as files, and what the job says of them with the volumes' names in place of the files'."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.nodes import image_from_node


def hand_over(node: slicer.vtkMRMLVolumeNode, path: Path) -> Path:
    """Write a volume node to ``path``, uncompressed, and return it.

    Raises
    ------
    UserError
        The node cannot be used, or the disk is full or not writable.
    """
    write_exchange(image_from_node(node), path)
    return path


def write_exchange(image: sitk.Image, path: Path) -> None:
    """Write an image for a job, uncompressed.

    Raises
    ------
    UserError
        The disk is full or not writable; nothing of the file is left.
    """
    try:
        sitk.WriteImage(image, str(path), useCompression=False)
    except RuntimeError as error:
        path.unlink(missing_ok=True)
        raise no_exchange(path.parent, error) from error


def remove_images(folder: Path) -> None:
    """Remove patients' images from a job's folder, once it has ended or was told to end."""
    for path in folder.glob("*.nrrd"):
        with contextlib.suppress(OSError):  # a process that is ending may still hold it; the session removes it
            path.unlink(missing_ok=True)


def no_exchange(folder: Path, error: Exception) -> UserError:
    """Return what to say when files cannot be exchanged in ``folder``."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else "The disk is full or not writable"
    return UserError(
        f"The volume could not be handed over in {folder}.",
        f"{why}.",
        "Free space, or set another temporary folder in Slicer's settings.",
    )


def renamed(text: str, names: Mapping[Path, str]) -> str:
    """Return ``text`` with the names of volumes in place of the paths and names of their files."""
    for path, name in names.items():
        text = text.replace(str(path), name)
    for path, name in names.items():
        text = text.replace(path.name, name)
    return text


def job_error(event: Mapping[str, Any] | None, names: Mapping[Path, str]) -> UserError:
    """Return the error that a job reported, in the user's names."""
    return UserError(*(renamed(str((event or {}).get(key) or ""), names) for key in ("what", "why", "todo")))
