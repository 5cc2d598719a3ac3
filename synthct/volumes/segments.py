"""Named regions of a segmentation file: Slicer's ``.seg.nrrd`` with its segments' names, or any label map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import Grid, grid_of, image_from_array

_MOST = 255
"""More values than this are an image, not labels."""


@dataclass(frozen=True)
class Segments:
    """Regions of one file, by name, in the order of the file; they may overlap."""

    grid: Grid
    names: tuple[str, ...]
    _layers: np.ndarray
    """(layers, z, y, x)."""
    _places: tuple[tuple[int, int], ...]
    """Layer and label value of each region."""

    def __iter__(self) -> Iterator[tuple[str, sitk.Image]]:
        """Give each region as a uint8 mask on the grid."""
        for name in self.names:
            yield name, self[name]

    def __getitem__(self, name: str) -> sitk.Image:
        layer, value = self._places[self.names.index(name)]
        return image_from_array((self._layers[layer] == value).astype(np.uint8), self.grid)


def read_segments(path: Path | str) -> Segments:
    """Read a segmentation.

    A label map without names has regions ``label 1``, ``label 2`` …; 0 is no region.

    Raises
    ------
    UserError
        Unreadable, an image rather than labels, or without any region.
    """
    path = Path(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        state = "does not exist" if not path.exists() else "cannot be read as a segmentation"
        raise UserError(f"{path} {state}.", todo="Give a .seg.nrrd, NRRD or NIfTI file.") from error
    if image.GetDimension() == 4:
        raise UserError(f"{path} has four axes.", "It is a series of volumes.", "Give one segmentation.")
    layers = sitk.GetArrayFromImage(image)
    layers = np.moveaxis(layers, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else layers[None]
    named = _named(image)
    places = [(layer, value) for layer, value, _ in named] or _values(layers, path)
    names = [name for *_, name in named] or [f"label {value}" for _, value in places]
    if not places:
        raise UserError(f"{path} holds no region.", "Every voxel is 0.", "Give another segmentation.")
    for place, name in enumerate(names):
        if names.index(name) != place:
            names[place] = f"{name} ({place + 1})"
    return Segments(grid_of(image), tuple(names), layers, tuple(places))


def _named(image: sitk.Image) -> list[tuple[int, int, str]]:
    """Layer, label value and name of each of Slicer's segments."""
    found = []
    keys = set(image.GetMetaDataKeys())
    number = 0
    while f"Segment{number}_LabelValue" in keys or f"Segment{number}_Name" in keys:
        value, layer = (
            int(image.GetMetaData(f"Segment{number}_{what}")) if f"Segment{number}_{what}" in keys else default
            for what, default in (("LabelValue", number + 1), ("Layer", 0))
        )
        name = f"Segment{number}_Name"
        found.append((layer, value, image.GetMetaData(name) if name in keys else f"Segment {number + 1}"))
        number += 1
    return found


def _values(layers: np.ndarray, path: Path) -> list[tuple[int, int]]:
    found = []
    for layer, voxels in enumerate(layers):
        values = np.unique(voxels)
        if values.size > _MOST or not np.array_equal(values, np.rint(values)) or values[0] < 0:
            raise UserError(
                f"{path} is an image, not a segmentation.",
                f"It holds {values.size} values from {values[0]:g} to {values[-1]:g}.",
                "Give labels: whole numbers, 0 outside.",
            )
        found += [(layer, int(value)) for value in values if value != 0]
    return found
