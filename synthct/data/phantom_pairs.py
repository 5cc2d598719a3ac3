"""Made-up chests with nodules and their masks: pairs to try networks on that are fed noise, from a seed, no patient's.

A body of fat and muscle, two lungs with vessels, a heart, a spine, ribs and one to three nodules in the lungs. Sizes
and places of everything are drawn for each pair by itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from synthct.data.cohort import FORMAT
from synthct.volumes.write import write_image

COUNT = 300
"""Pairs where nobody asks for another number."""
SIDE = 64
SPACING_MM = 5.0
_NOISE_HU = 12.0
_AIR, _LUNG, _FAT, _MUSCLE, _BLOOD, _BONE, _NODULE = -1000.0, -820.0, -100.0, 50.0, 40.0, 450.0, 30.0


def phantom_pair(number: int, seed: int = 0) -> tuple[sitk.Image, sitk.Image]:
    """Return chest ``number`` of ``seed``: image (int16 HU) and mask of its nodules (uint8, 0 and 1), 64³ of 5 mm.

    It follows from the two numbers alone.
    """
    random = np.random.default_rng([seed, number])
    z, y, x = (axis.astype(np.float32) for axis in np.meshgrid(*3 * [np.linspace(-1, 1, SIDE)], indexing="ij"))

    def inside(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        away = np.zeros_like(z)
        for axis, middle, radius in zip((z, y, x), centre, radii, strict=True):
            away += ((axis - middle) / radius) ** 2
        return away < 1

    depth, width = random.uniform(0.6, 0.75), random.uniform(0.75, 0.92)
    fat = random.uniform(0.04, 0.13)
    hu = np.full(z.shape, _AIR, np.float32)
    hu[inside((0, 0, 0), (9, depth, width))] = _FAT
    hu[inside((0, 0, 0), (9, depth - fat, width - fat))] = _MUSCLE

    ring = inside((0, 0, 0), (9, depth - fat - 0.02, width - fat - 0.02))
    ring &= ~inside((0, 0, 0), (9, depth - fat - 0.09, width - fat - 0.09))
    ribs = np.sin((z + 0.45 * y + random.uniform(0, 1)) * np.pi / random.uniform(0.13, 0.17)) > 0.35
    hu[ring & ribs] = _BONE

    lungs = np.zeros(z.shape, bool)
    for side in (-1, 1):
        centre = (random.uniform(-0.1, 0.1), random.uniform(-0.08, 0.04), side * (0.47 * width - 0.02))
        radii = (random.uniform(0.75, 0.95), (depth - fat) * random.uniform(0.68, 0.78), 0.33 * width)
        lungs |= inside(centre, radii)
    heart = (random.uniform(0.2, 0.4), -0.18, random.uniform(-0.18, -0.08))
    lungs &= ~inside(heart, (random.uniform(0.3, 0.4), 0.27, random.uniform(0.25, 0.33)))
    hu[lungs] = _LUNG + random.uniform(-50, 60)
    vessels = ndimage.gaussian_filter(random.standard_normal(z.shape).astype(np.float32), 1.3)
    hu[lungs & (vessels > 2.1 * vessels.std())] = _BLOOD
    hu[inside((0, depth - fat - 0.2, 0), (9, 0.13, 0.11))] = _BONE
    hu[inside((0, depth - fat - 0.08, 0), (9, 0.04, 0.05))] = _BLOOD
    hu[inside((-0.9, -0.05, 0), (0.8, 0.05, 0.05))] = _AIR

    nodules = np.zeros(z.shape, bool)
    places = np.argwhere(ndimage.binary_erosion(lungs, iterations=2))
    for _ in range(random.integers(1, 4)):
        centre = places[random.integers(len(places))] * 2 / (SIDE - 1) - 1
        nodules |= inside(tuple(centre), tuple(random.uniform(0.06, 0.16) * random.uniform(0.8, 1.2, 3)))
    nodules &= lungs
    hu[nodules] = _NODULE + random.uniform(-40, 40)

    hu = ndimage.gaussian_filter(hu, 0.5) + random.normal(0, _NOISE_HU, z.shape)
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return _on_grid(hu), _on_grid(nodules.astype(np.uint8))


def phantom_files(count: int = COUNT, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file: ``images/NAME.nii.gz``, ``masks/NAME.nii.gz`` and ``cohort.json``."""
    names = _names(count)
    with tempfile.TemporaryDirectory(prefix="synthct-phantoms-") as folder:
        for number, name in enumerate(names):
            for kind, image in zip(("images", "masks"), phantom_pair(number, seed), strict=True):
                file = write_image(image, Path(folder) / f"{kind}.nii.gz", overwrite=True)
                yield f"{kind}/{name}.nii.gz", file.read_bytes()
    cases = [
        {"id": name, "ct": f"images/{name}.nii.gz", "mask": f"masks/{name}.nii.gz", "centre": "phantom"}
        for name in names
    ]
    yield "cohort.json", (json.dumps({"format": FORMAT, "cases": cases}, indent=2) + "\n").encode()


def phantom_paths(count: int = COUNT) -> list[str]:
    """Return the paths of `phantom_files`."""
    return [*(f"{kind}/{name}.nii.gz" for name in _names(count) for kind in ("images", "masks")), "cohort.json"]


def _names(count: int) -> list[str]:
    return [f"phantom_{number:04d}" for number in range(count)]


def _on_grid(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(3 * (SPACING_MM,))
    image.SetOrigin(3 * (-SPACING_MM * (SIDE - 1) / 2,))
    return image
