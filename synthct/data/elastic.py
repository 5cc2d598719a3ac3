"""Smooth random displacement of a sample's voxels (row C3), as MONAI's ``Rand3DElastic`` defines it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Displacement:
    """One drawn displacement; the same ``seed`` gives the same field."""

    sigma: float
    """Voxels, of the Gaussian that smooths white noise between -1 and 1."""
    magnitude: float
    """Voxels, what the smoothed noise is multiplied by; how far voxels move is `spread`, far less."""
    seed: int

    @property
    def spread(self) -> float:
        """Standard deviation along each axis, in voxels."""
        return self.magnitude * (2 * math.sqrt(math.pi) * self.sigma) ** -1.5 / math.sqrt(3)

    def field(self, size: Sequence[int]) -> Tensor:
        """Return how far each voxel looks aside, in voxels: (axes, \\*size), float32, for two or three axes.

        Away from the edges the standard deviation is `spread`: 1.5 voxels for sigma 5 and magnitude 200. A slice gets
        what a slice of a volume would. Since the field is smooth, it is made on a grid of about half a sigma, 8 to 64
        times fewer voxels than MONAI smooths, and interpolated.
        """
        from monai.networks.layers import GaussianFilter

        axes, step = len(size), max(1, int(self.sigma / 2))
        coarse = [-(-(length - 1) // step) + 1 for length in size]
        noise = np.random.default_rng(self.seed).random((1, axes, *coarse), np.float32) * 2 - 1
        smooth = GaussianFilter(axes, self.sigma / step, truncated=3.0)(torch.from_numpy(noise))
        smooth *= self.magnitude * step ** (-axes / 2) * (2 * math.sqrt(math.pi) * self.sigma) ** ((axes - 3) / 2)
        fine = [(length - 1) * step + 1 for length in coarse]
        whole = interpolate(smooth, fine, mode="trilinear" if axes == 3 else "bilinear", align_corners=True)[0]
        return whole[(slice(None), *(slice(length) for length in size))]
