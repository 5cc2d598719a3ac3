"""Whether two image files hold the same voxels, whatever their format, compression and order of axes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.volumes.geometry import array_of, to_axial
from synthct.volumes.read import read_image
from synthct.whole_file import write_whole


def voxel_hash(image: sitk.Image) -> str:
    """Return 32 hex digits over size and rounded values of an image, its axes brought to left, posterior, superior.

    A crop, another spacing or a noisy copy has another one.
    """
    array = np.rint(array_of(to_axial(image))).astype("<i4")
    total = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


class VoxelHashes:
    """Hashes of files, read once: they are remembered in a file with each image's size and date.

    Parameters
    ----------
    memory
        JSON file, made when something is remembered.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        try:
            self._known: dict[str, list[object]] = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def of(self, path: Path, series: str | None = None) -> str:
        """Return the hash of the image in ``path``.

        Raises
        ------
        UserError
            It cannot be read.
        """
        key, state = f"{path.absolute()}#{series or ''}", state_of(path)
        known = self._known.get(key)
        if known is None or known[0] != state:
            known = self._known[key] = [state, voxel_hash(read_image(path, series))]
            write_whole(self._memory, json.dumps(self._known, indent=0))
        return str(known[1])


def state_of(path: Path) -> list[int]:
    """Return size and date of a file, or of all files of a folder together; [0, 0] where there is none."""
    files = [entry for entry in path.rglob("*") if entry.is_file()] if path.is_dir() else [path]
    states = [file.stat() for file in files if file.exists()]
    return [sum(state.st_size for state in states), max((state.st_mtime_ns for state in states), default=0)]
