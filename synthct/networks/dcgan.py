"""DCGAN (Radford et al. 2016), in 2D and 3D, with or without classes (row D1; Mirza, Osindero 2014)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, norm_layer

_SMALLEST = 3
"""A generator begins with so many voxels at least along each axis."""


class DCGANGenerator(nn.Module):
    """A dense layer and ``levels`` fractionally strided convolutions from a latent to an image.

    Takes latents (N, latent) and, with ``classes``, their numbers (N,) int64; returns (N, out_channels, \\*size) in
    [−1, 1]. The dense layer gives width · 2^(levels − 1) channels of the size divided by 2^levels, with norm and
    ReLU. Each transposed convolution (kernel 4, stride 2) doubles the size and, but for the last, halves the channels,
    with norm and ReLU after it; tanh ends it. A 56×56 patch grows 7 → 14 → 28 → 56 (row D1).

    Parameters
    ----------
    in_channels
        Length of the latent: 100 (row D1).
    out_channels
        1, or 2 with the mask as a channel.
    size
        Of the image, two entries or three; the recipe's ``data.size`` where it is not given.
    width
        Channels before the last convolution: 64.
    levels
        How many times the size doubles; None: until 7 voxels or fewer are left of the shortest side.
    norm
        batch (row D1), instance, group or none.
    classes
        0: none. Else each class has an embedding of ``embedding`` numbers, which is joined to the latent.
    embedding
        See ``classes``.
    initialisation
        ``normal``: N(0, 0.02), embeddings, too; norms' scales N(1, 0.02) (row D1, Radford et al. section 4).
        Embeddings that begin as large as a latent outweigh it: what all images of a class share is learned first,
        batch norm makes the rest small beside it, and each class becomes a single image (tried).

    Attributes
    ----------
    latent_shape, dimensions, classes
        As for every generator that is fed noise.

    Raises
    ------
    UserError
        A size that cannot be halved so often.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: list[int],
        width: int = 64,
        levels: int | None = None,
        norm: Norm = "batch",
        classes: int = 0,
        embedding: int = 50,
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        self.latent_shape, self.dimensions, self.classes = (in_channels,), len(size), classes
        levels = _levels(size, levels, "generator")
        self._start = tuple(side // 2**levels for side in size)
        self.embed = nn.Embedding(classes, embedding) if classes else None
        channels = [width * 2 ** (levels - 1 - level) for level in range(levels)]
        told = in_channels + (embedding if classes else 0)
        self.dense = nn.Linear(told, channels[0] * math.prod(self._start))
        up = nn.ConvTranspose2d if len(size) == 2 else nn.ConvTranspose3d
        layers: list[nn.Module] = [norm_layer(norm, channels[0], dimensions=len(size)), nn.ReLU(inplace=True)]
        for before, after in zip(channels, [*channels[1:], 0], strict=True):
            layers.append(up(before, after or out_channels, 4, stride=2, padding=1))
            if after:
                layers += [norm_layer(norm, after, dimensions=len(size)), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        initialise_dcgan(self, initialisation)
        if self.embed is not None and initialisation == "normal":
            nn.init.normal_(self.embed.weight, 0.0, 0.02)

    def forward(self, latent: Tensor, classes: Tensor | None = None) -> Tensor:
        if self.embed is not None:
            latent = torch.cat([latent, self.embed(_required(classes))], dim=1)
        image: Tensor = self.layers(self.dense(latent).unflatten(1, (-1, *self._start)))
        return image


class DCGANDiscriminator(nn.Module):
    """``levels`` strided convolutions and a dense layer: one logit per image.

    Takes (N, in_channels, \\*size) and, with ``classes``, their numbers (N,) int64; returns (N, out_channels). Each
    convolution (kernel 4, stride 2) halves the size and, but for the first, doubles the channels; norm (not after the
    first) and LeakyReLU 0.2 follow (Radford et al. 2016). No sigmoid: that is the loss's.

    Parameters
    ----------
    classes
        0: none. Else the embedding of each class is a picture of its own, a further channel of the image (Mirza,
        Osindero 2014 join the class to the input; the form is ours). It begins as N(0, 1), of an image's own size.

    Other parameters are those of the generator.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        size: list[int],
        width: int = 64,
        levels: int | None = None,
        norm: Norm = "batch",
        classes: int = 0,
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        self.dimensions, self.classes = len(size), classes
        levels = _levels(size, levels, "discriminator")
        self._size = tuple(size)
        self.embed = nn.Embedding(classes, math.prod(size)) if classes else None
        down = nn.Conv2d if len(size) == 2 else nn.Conv3d
        channels = [in_channels + bool(classes), *(width * 2**level for level in range(levels))]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(itertools.pairwise(channels)):
            layers.append(down(before, after, 4, stride=2, padding=1))
            if level:
                layers.append(norm_layer(norm, after, dimensions=len(size)))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        last = channels[-1] * math.prod(side // 2**levels for side in size)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(last, out_channels))
        initialise_dcgan(self, initialisation)

    def forward(self, image: Tensor, classes: Tensor | None = None) -> Tensor:
        if self.embed is not None:
            told = self.embed(_required(classes)).unflatten(1, (1, *self._size))
            image = torch.cat([image, told.to(image.dtype)], dim=1)
        logits: Tensor = self.layers(image)
        return logits


def initialise_dcgan(network: nn.Module, kind: Initialisation) -> None:
    """Initialise all layers but embeddings; with ``normal`` the scales of batch norms, too."""
    initialise(network, kind)
    if kind == "normal":
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.normal_(module.weight, 1.0, 0.02)


def _levels(size: list[int], levels: int | None, who: str) -> int:
    """Return how many times ``size`` is halved, ``levels`` if given."""
    if levels is None:
        levels = 1
        while min(size) >> levels > 7 and all(side % 2 ** (levels + 1) == 0 for side in size):
            levels += 1
    if levels < 1 or len(size) not in (2, 3) or any(side % 2**levels or side < _SMALLEST * 2**levels for side in size):
        raise UserError(
            f"The DCGAN {who} cannot halve {'×'.join(map(str, size))} {levels} times.",
            f"Each side must be a multiple of {2**levels} and {_SMALLEST * 2**levels} at least.",
            "Change `data.size`, or give fewer `levels`.",
        )
    return levels


def _required(classes: Tensor | None) -> Tensor:
    if classes is None:
        raise ValueError("a network with classes must be told them")
    return classes
