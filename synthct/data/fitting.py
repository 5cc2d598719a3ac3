"""Whole images brought to the size of a network that is fed noise, once, and kept beside the cache's own entries."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthct.data.cache import Volume, write_arrays
from synthct.data.whole_folder import whole_folder
from synthct.recipe import Data
from synthct.volumes.geometry import Grid, array_of, resample_onto
from synthct.volumes.montage import Montage

_BEYOND = -1024.0


def fitted(volume: Volume, data: Data) -> Volume:
    """Return ``volume`` as ``data.fit`` asks for: itself, or with ``resize`` one of the network's size.

    The image is resampled linearly (of large ones a mean over what becomes one voxel would be smoother, but row C2's
    networks saw this), the mask by nearest neighbour; the first and last voxels keep their places. In 2D rows and
    columns of the axial slices are resized, and there are as many slices as before. With ``montage`` it is a volume of
    one slice, on which all of them lie.
    """
    if data.fit == "montage":
        return _laid_out(volume, data)
    if data.fit != "resize":
        return volume
    size = (*((volume.shape[0],) if len(data.size) == 2 else ()), *image_size(data))
    if size == volume.shape:
        return volume
    folder = volume.folder.with_name(f"{volume.folder.name}-{'x'.join(map(str, size))}")
    if not (folder / "case.json").is_file():
        _make(volume, size, folder)
    spacing = json.loads((folder / "case.json").read_text(encoding="utf-8"))["spacing"]
    shape = (size[0], size[1], size[2])
    return dataclasses.replace(volume, folder=folder, shape=shape, spacing=(spacing[0], spacing[1], spacing[2]))


def slices_laid_out(volume: Volume) -> int:
    """Return how many slices lie on the montage that ``volume`` is."""
    slices: int = json.loads((volume.folder / "case.json").read_text(encoding="utf-8"))["slices"]
    return slices


def image_size(data: Data) -> tuple[int, ...]:
    """Return the size of the image in a sample: ``data.size``, or half of its slices where the mask is joined on."""
    return (data.size[0] // 2, *data.size[1:]) if data.masks == "joined" else data.size


def _laid_out(volume: Volume, data: Data) -> Volume:
    montage = Montage((data.size[0], data.size[1]), data.montage_slice)
    sizes = "-".join("x".join(map(str, size)) for size in (montage.sheet, montage.cell))
    folder = volume.folder.with_name(f"{volume.folder.name}-montage-{sizes}")
    if not (folder / "case.json").is_file():
        with whole_folder(folder) as aside:
            ct, count = montage.lay_out(volume.ct, _BEYOND)
            write_arrays(aside, ct[None], montage.lay_out(volume.mask, 0)[0][None], volume.spacing)
            facts = json.loads((aside / "case.json").read_text(encoding="utf-8"))
            (aside / "case.json").write_text(json.dumps({**facts, "slices": count}), encoding="utf-8")
    return dataclasses.replace(volume, folder=folder, shape=(1, *montage.sheet))


def _make(volume: Volume, size: tuple[int, ...], folder: Path) -> None:
    spacing = [
        length * (old - 1) / (new - 1) if new > 1 and old > 1 else length * old / new
        for length, old, new in zip(volume.spacing, reversed(volume.shape), reversed(size), strict=True)
    ]
    identity = tuple(np.eye(3).ravel().tolist())
    grid = Grid((size[2], size[1], size[0]), (spacing[0], spacing[1], spacing[2]), (0.0, 0.0, 0.0), identity)
    resampled = {}
    for name, how in (("ct", "linear"), ("mask", "nearest")):
        image = sitk.GetImageFromArray(np.asarray(getattr(volume, name)))
        image.SetSpacing(volume.spacing)
        resampled[name] = array_of(resample_onto(image, grid, how, _BEYOND if name == "ct" else 0))
    with whole_folder(folder) as aside:
        write_arrays(aside, resampled["ct"], resampled["mask"], spacing)
