"""The discriminator and critic of the noise-fed GANs of rows C4 and C5, in 3D and 2D, for any size."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor, nn

from synthct.networks.halving import filter_numbers, halvings, strides
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, needs_bias, norm_layer
from synthct.networks.upsampling import CONVOLUTIONS


class StridedDiscriminator(nn.Module):
    """3×3×3 convolutions of stride 2 with LeakyReLU 0.2 and dropout, and one dense layer: one logit per image.

    Takes (N, in_channels, \\*size), returns (N, out_channels). A side that can no longer be halved keeps its length
    (see `synthct.networks.halving`). There is no sigmoid: the loss has it, and a critic wants none.

    The text says of it only that vanilla GAN 2's has fewer neurons than 1's and that WGAN's is the same; the rest is
    our reading, after row A8.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the image, and judgements: 1.
    size
        Rows and columns of the image, in 3D slices before them; the recipe's ``data.size`` where it is not given.
    filters
        Of each convolution, as a list or as ``64-128-256-512``.
    norm
        After all but the first convolution: none, batch, instance or group. A gradient penalty forbids batch.
    dropout
        Probability after each convolution.
    initialisation
        See `synthct.networks.initialisation.initialise`; ``glorot`` is Keras' own, which the authors used.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        size: list[int],
        filters: list[int] | str = "64-128-256-512",
        norm: Norm = "none",
        dropout: float = 0.0,
        initialisation: Initialisation = "glorot",
    ) -> None:
        super().__init__()
        widths = filter_numbers("the strided discriminator", filters)
        sides = halvings(size, len(widths))
        self.dimensions = dimensions = len(size)
        parts: list[nn.Module] = []
        for level, (before, after) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True)):
            kind: Norm = norm if level else "none"
            stride: Any = strides(sides[level], sides[level + 1])
            parts += [
                CONVOLUTIONS[dimensions](before, after, 3, stride, 1, bias=needs_bias(kind)),
                norm_layer(kind, after, dimensions=dimensions),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Dropout(dropout),
            ]
        self.layers = nn.Sequential(*parts, nn.Flatten(), nn.Linear(widths[-1] * prod(sides[-1]), out_channels))
        initialise(self, initialisation)

    def forward(self, image: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return logits; there are no classes to be told."""
        output: Tensor = self.layers(image)
        return output
