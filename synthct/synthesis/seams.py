"""Do the borders of tiles or windows show in a translation? A number for it, and how to get it for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from synthct.errors import UserError
from synthct.synthesis import tiles, windows
from synthct.synthesis.model_file import Model
from synthct.synthesis.translate import translate

Borders = Sequence[Sequence[int]]
"""For each axis z, y, x the voxels that are the first beyond a border; a border lies between one and the one before."""


@dataclass(frozen=True)
class Seam:
    """What `seam_number` finds, in HU."""

    border_hu: float
    """The seam number: mean |difference| of the voxels on both sides of the borders."""
    anywhere_hu: float
    """The network's own noise: mean |difference| anywhere, since its answer depends on where a window lies."""

    @property
    def ratio(self) -> float:
        """``border_hu`` as a multiple of ``anywhere_hu``: about 1 where no border shows."""
        return self.border_hu / self.anywhere_hu if self.anywhere_hu else 1.0


def seam_number(first: NDArray, second: NDArray, borders: Borders, mask: NDArray | None = None) -> Seam:
    """Compare two translations of one image whose grids of windows are shifted against each other.

    The anatomy is the same in both and falls out of the difference d = first − second. What is left is the network's
    own dependence on where a window lies, and the seams: the last voxels of a window lack the context beyond them.
    The seam number is the mean of |d| over the voxels on both sides of all borders of both grids, in HU; it is held
    against the network's own noise, the mean of |d| anywhere.

    Parameters
    ----------
    first, second
        HU, z, y, x.
    borders
        Of both grids.
    mask
        Only voxels inside count; None: all do.

    Raises
    ------
    ValueError
        No border lies inside.
    """
    difference = first.astype(np.float32) - second
    inside = np.ones(difference.shape, bool) if mask is None else np.asarray(mask) > 0
    bordering = np.zeros(difference.shape, bool)
    for axis, places in enumerate(borders):
        found = [place for place in places if 0 < place < difference.shape[axis]]
        np.moveaxis(bordering, axis, 0)[[*found, *(place - 1 for place in found)]] = True
    if not (bordering & inside).any():
        raise ValueError("No border of a window lies inside.")
    size = np.abs(difference)
    return Seam(float(size[bordering & inside].mean()), float(size[inside].mean()))


def seam_of(image: sitk.Image, model: Model, mask: NDArray | None = None, device: str | torch.device = "auto") -> Seam:
    """Translate ``image`` twice, the second time without its first slices, rows and columns, and compare.

    So many are left out that the windows of the second translation lie half-way between those of the first: half of
    the distance between two windows, a quarter of a window in 3D. The image's own edges, where the second one lacks
    what the first one sees, are left out of the comparison as far as one window reaches.

    Parameters
    ----------
    image
        Upright (axial, rows to the back, columns to the left), at the model's spacing.
    mask
        Where to compare, z, y, x; None: everywhere.

    Raises
    ------
    UserError
        The image is not at least two and a half windows long along any axis, or not upright.
    """
    if not np.allclose(image.GetDirection(), np.eye(3).ravel()):
        raise UserError("The seam number wants an upright image.", todo="Resample the image to axial first.")
    shape, dimensions = image.GetSize()[::-1], len(model.card["size"])
    begin, overlap = (windows.starts, windows.OVERLAP) if dimensions == 3 else (tiles.starts, tiles.OVERLAP)
    sides = [0] * (3 - dimensions) + [int(side) for side in model.card["size"]]
    cuts = [
        int(side * (1 - overlap)) // 2 if side and length >= 2.5 * side else 0
        for length, side in zip(shape, sides, strict=True)
    ]
    if not any(cuts):
        raise UserError(
            f"The image of {'×'.join(map(str, shape))} voxels has no seam to be measured.",
            f"It is less than two and a half windows ({'×'.join(map(str, model.card['size']))}) long along every axis.",
            "Choose a larger image.",
        )
    whole = sitk.GetArrayFromImage(translate(image, model, device=device))
    part = sitk.GetArrayFromImage(translate(image[cuts[2] :, cuts[1] :, cuts[0] :], model, device=device))
    kept = tuple(slice(cut + side if cut else 0, None) for cut, side in zip(cuts, sides, strict=True))
    borders = []
    for length, side, cut, place in zip(shape, sides, cuts, kept, strict=True):
        first = [start + end for start in begin(length, side) for end in (0, side)] if cut else []
        second = [cut + start + end for start in begin(length - cut, side) for end in (0, side)] if cut else []
        borders.append([border - place.start for border in first + second])
    inner = tuple(slice(place.start - cut, None) for place, cut in zip(kept, cuts, strict=True))
    return seam_number(whole[kept], part[inner], borders, None if mask is None else mask[kept])
