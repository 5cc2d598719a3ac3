"""CTs and their lesions as patches are cut from them: turned to axial, on one spacing, memory-mapped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from synthct.data.voxel_hash import state_of, voxel_hash
from synthct.errors import UserError
from synthct.locks import turn
from synthct.volumes.geometry import array_of, require_same_grid, resample_to_spacing, to_axial
from synthct.volumes.hu import AIR_HU
from synthct.volumes.read import read_image
from synthct.whole_file import write_whole

_FACTS = "facts.json"


@dataclass(frozen=True)
class LesionVolume:
    """One prepared CT; its arrays are read where they are touched.

    Each access opens the file anew: a thousand volumes that stay open are more files than a process may have.
    """

    id: str
    folder: Path
    image_hash: str
    """`synthct.data.voxel_hash.voxel_hash` of the CT as it came."""

    @property
    def image(self) -> NDArray[np.int16]:
        """HU, shape (z, y, x)."""
        return np.asarray(np.load(self.folder / "image.npy", mmap_mode="r"))

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 inside a lesion, shape (z, y, x)."""
        return np.asarray(np.load(self.folder / "mask.npy", mmap_mode="r"))

    @cached_property
    def lesion(self) -> NDArray[np.int64]:
        """Flat indices of the lesions' voxels."""
        return np.asarray(np.load(self.folder / "lesion.npy"))


def prepare_lesion_volume(
    name: str,
    ct: Path,
    mask: Path,
    folder: Path,
    spacing: tuple[float, float, float] | None,
    series: str | None = None,
) -> LesionVolume:
    """Bring a CT and its mask into ``folder``, unless they are there already; several processes may ask at once.

    Parameters
    ----------
    name
        Of the case, for messages.
    mask
        What is not 0 is a lesion; on the grid of the CT.
    spacing
        x, y, z in mm; None: the CT's own.

    Raises
    ------
    UserError
        A file that cannot be read, or a mask on another grid.
    """
    state = [state_of(ct), state_of(mask), list(spacing or ()), series]
    with turn(folder / "preparing"):
        facts = _facts(folder)
        if facts.get("state") != state:
            image, lesions = read_image(ct, series), read_image(mask)
            require_same_grid(image, lesions, (f"The CT of case {name}", "its mask"))
            digest = voxel_hash(image)
            image, lesions = to_axial(image), to_axial(_binary(lesions))
            if spacing is not None:
                image = resample_to_spacing(image, spacing, outside=AIR_HU)
                lesions = resample_to_spacing(lesions, spacing, "nearest")
            (folder / _FACTS).unlink(missing_ok=True)
            hu = np.clip(np.rint(array_of(image)), -32768, 32767).astype(np.int16)
            inside = array_of(lesions)
            try:
                for kind, array in (("image", hu), ("mask", inside), ("lesion", np.flatnonzero(inside))):
                    np.save(folder / f"{kind}.npy", array)
                write_whole(folder / _FACTS, json.dumps({"state": state, "image_hash": digest}))
            except OSError as error:
                raise UserError(
                    f"The case {name} cannot be prepared in {folder}.", f"{error.strerror}.", "Make room."
                ) from error
            facts = {"image_hash": digest}
    return LesionVolume(name, folder, str(facts["image_hash"]))


def _binary(mask: sitk.Image) -> sitk.Image:
    return sitk.Cast(mask != 0, sitk.sitkUInt8)


def _facts(folder: Path) -> dict[str, object]:
    try:
        facts: dict[str, object] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        return facts
    except (OSError, ValueError):
        return {}
