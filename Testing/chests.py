"""A small made-up chest: skin of fat, muscle, two lungs, a spine, nodules; CT in HU and what each voxel is."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

SPACING = (4.0, 4.0, 4.0)


def chest_arrays(shape=(24, 48, 60)):
    """Return HU (int16) and class indices of our seven classes (uint8), both (z, y, x)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")

    def ellipsoid(centre, radii):
        return sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radii, strict=True)) < 1

    labels = np.full(shape, 6, np.uint8)
    labels[ellipsoid((0, 0, 0), (9, 0.85, 0.9))] = 1
    labels[ellipsoid((0, 0, 0), (9, 0.72, 0.8))] = 3
    for side in (-1, 1):
        labels[ellipsoid((0, 0, 0.38 * side), (0.9, 0.5, 0.3))] = 0
    labels[ellipsoid((0, 0.5, 0), (9, 0.15, 0.1))] = 4
    values = np.array([-850, -100, 0, 50, 700, 60, -1000], np.int16)
    return values[labels], labels


def on_grid(array, spacing=SPACING, origin=(-7.0, 12.0, 30.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    """Put an array (z, y, x) into space."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def ball(diameter, spacing=(1.0, 1.0, 1.0)):
    """Return a ball of a diameter in mm as a template's shape: its middle voxel at the origin of the world."""
    half = [int(np.ceil(diameter / 2 / step)) + 1 for step in spacing]
    axes = [np.arange(-n, n + 1) * step for n, step in zip(half, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    inside = (x * x + y * y + z * z <= diameter**2 / 4).astype(np.uint8)
    return on_grid(inside, spacing, tuple(-n * step for n, step in zip(half, spacing, strict=True)))
