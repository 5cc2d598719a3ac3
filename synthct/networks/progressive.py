"""Networks whose resolution is doubled during training: Karras et al. 2018, progressive growing (row D7), 3D and 2D.

Both always take and give images of the full size. What has not grown yet is filled in by repeating voxels and left
out by averaging them, so that whoever uses the networks need not know how far they have grown.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthct.errors import UserError
from synthct.networks.halving import filter_numbers
from synthct.networks.initialisation import initialise
from synthct.networks.upsampling import CONVOLUTIONS


def grown_levels(progress: float, levels: int) -> float:
    """Return how often the first resolution has been doubled at ``progress``, 0 to 1: 1.25 is a quarter faded in.

    Standing still and fading in take turns of equal length: one turn at the lowest resolution, then two for each of
    the ``levels`` doublings, the last of them at full resolution.
    """
    turn = min(max(progress, 0.0), 1.0) * (2 * levels + 1)
    whole = floor(turn)
    return float(min(levels, (whole + 1) // 2 if whole % 2 == 0 else whole // 2 + turn - whole))


class _Growing(nn.Module):
    """The doublings that take part, kept among the weights: a model knows how far it had grown."""

    grown: Tensor

    def __init__(self, size: Sequence[int], levels: int) -> None:
        super().__init__()
        if len(size) not in (2, 3) or levels < 1 or any(side % 2**levels for side in size):
            raise UserError(
                f"Images of {'×'.join(map(str, size))} cannot be grown by {levels} doublings.",
                f"Two or three sides must be multiples of {2 ** max(levels, 1)}, and there must be a doubling.",
                "Change `data.size`, or the number of filters, which is that of the doublings and one.",
            )
        self.dimensions = len(size)
        self.levels = levels
        self.register_buffer("grown", torch.tensor(float(levels)))

    def grow(self, levels: float) -> None:
        """Set how many doublings take part; a broken number fades the next one in."""
        self.grown.fill_(levels)

    def _stage(self) -> tuple[int, float]:
        """Doublings that are complete, and the share of the next one."""
        grown = float(self.levels if self.grown.is_meta else self.grown)
        whole = min(floor(grown), self.levels)
        return whole, grown - whole


class ProgressiveGenerator(_Growing):
    """Dense layer to the lowest resolution, then for each doubling nearest neighbour and two 3×3×3 convolutions.

    Takes latents (N, in_channels), returns (N, out_channels, \\*size) in [−1, 1]. LeakyReLU 0.2 and pixel-wise
    feature normalisation after each convolution, a 1×1×1 convolution to the image at each resolution, as in Karras et
    al.; tanh and weights drawn from He's normal distribution in place of their equalised rates are ours.

    Parameters
    ----------
    in_channels, out_channels
        Length of the latent, and channels of the image.
    size
        Sides of the image; multiples of 2^doublings. The recipe's ``data.size`` where it is not given.
    filters
        At each resolution, lowest first, as a list or as ``128-64-32``: one doubling fewer than numbers.

    Attributes
    ----------
    latent_shape
        (in_channels,).
    levels
        Doublings in all.
    """

    classes = 0

    def __init__(
        self, in_channels: int, out_channels: int, *, size: list[int], filters: list[int] | str = "128-128-64-32"
    ) -> None:
        widths = filter_numbers("the progressive generator", filters)
        super().__init__(size, len(widths) - 1)
        convolution = CONVOLUTIONS[self.dimensions]
        self.latent_shape = (in_channels,)
        self._first = (widths[0], *(side // 2**self.levels for side in size))
        self.dense = nn.Linear(in_channels, prod(self._first))
        self.blocks = nn.ModuleList(
            nn.Sequential(*_convolved(before, after, self.dimensions), *_convolved(after, after, self.dimensions))
            for before, after in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.to_image = nn.ModuleList(convolution(width, out_channels, 1) for width in widths)
        initialise(self, "he")

    def forward(self, latent: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return images; there are no classes to be told."""
        whole, share = self._stage()
        features = self.blocks[0](_normalised(self.dense(latent).unflatten(1, self._first)))
        for block in self.blocks[1 : whole + 1]:
            features = block(_doubled(features))
        image = self.to_image[whole](features)
        if share:
            finer = self.to_image[whole + 1](self.blocks[whole + 1](_doubled(features)))
            image = (1 - share) * _doubled(image) + share * finer
        image = torch.tanh(image)
        missing = self.levels - whole - bool(share)
        return _doubled(image, 2**missing) if missing else image

    def as_grown(self, images: Tensor) -> Tensor:
        """Return images (N, channels, \\*size) as blurred as those that the generator makes now (Karras et al.)."""
        whole, share = self._stage()
        missing = self.levels - whole
        if not missing:
            return images
        coarse = _doubled(_averaged(images, 2**missing), 2**missing)
        if not share:
            return coarse
        finer = 2 ** (missing - 1)
        return (1 - share) * coarse + share * (_doubled(_averaged(images, finer), finer) if finer > 1 else images)


class ProgressiveCritic(_Growing):
    """The generator turned round: for each doubling two 3×3×3 convolutions and an average, then a dense layer.

    Takes (N, in_channels, \\*size), returns (N, out_channels), one logit per image; no norm, LeakyReLU 0.2.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the image, and judgements: 1.
    size
        As the generator's.
    filters
        At each resolution, lowest first, as the generator's.
    """

    def __init__(
        self, in_channels: int, out_channels: int = 1, *, size: list[int], filters: list[int] | str = "128-128-64-32"
    ) -> None:
        widths = filter_numbers("the progressive critic", filters)
        super().__init__(size, len(widths) - 1)
        convolution = CONVOLUTIONS[self.dimensions]
        self.from_image = nn.ModuleList(convolution(in_channels, width, 1) for width in widths)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                convolution(before, before, 3, padding=1),
                nn.LeakyReLU(0.2),
                convolution(before, after, 3, padding=1),
                nn.LeakyReLU(0.2),
            )
            for before, after in zip(widths, [widths[0], *widths[:-1]], strict=True)
        )
        self.dense = nn.Linear(widths[0] * prod(side // 2**self.levels for side in size), out_channels)
        initialise(self, "he")

    def forward(self, image: Tensor) -> Tensor:
        whole, share = self._stage()
        missing = self.levels - whole
        features = self._seen(whole, _averaged(image, 2**missing))
        if share:
            finer = self.blocks[whole + 1](self._seen(whole + 1, _averaged(image, 2 ** (missing - 1))))
            features = (1 - share) * features + share * _averaged(finer, 2)
        for level in range(whole, 0, -1):
            features = _averaged(self.blocks[level](features), 2)
        logit: Tensor = self.dense(self.blocks[0](features).flatten(1))
        return logit

    def _seen(self, level: int, image: Tensor) -> Tensor:
        return functional.leaky_relu(self.from_image[level](image), 0.2)


class _PixelNorm(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return _normalised(features)


def _normalised(features: Tensor) -> Tensor:
    """Every voxel's features divided by their root mean square."""
    return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + 1e-8)


def _convolved(before: int, after: int, dimensions: int) -> list[nn.Module]:
    return [CONVOLUTIONS[dimensions](before, after, 3, padding=1), nn.LeakyReLU(0.2), _PixelNorm()]


def _doubled(image: Tensor, times: int = 2) -> Tensor:
    return functional.interpolate(image, scale_factor=times, mode="nearest")


def _averaged(image: Tensor, times: int) -> Tensor:
    if times == 1:
        return image
    pool = functional.avg_pool2d if image.dim() == 4 else functional.avg_pool3d
    return pool(image, times)
