"""PatchGAN discriminator: Isola et al. 2017, Zhu et al. 2017 (row A7)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, needs_bias, norm_layer


class PatchGAN(nn.Module):
    """4×4 convolutions whose every output judges one patch of the image: 70×70 voxels with three halvings.

    Takes (N, in_channels, rows, columns), returns logits (N, out_channels, about rows/8 − 2, about columns/8 − 2):
    30×30 for 256×256. There is no sigmoid unless asked for: the loss has it, or (least squares) wants none.

    Parameters
    ----------
    in_channels, out_channels
        Channels of what is judged (the image, or image and source side by side), and judgements per patch: 1.
    width
        Filters of the first layer: 64, then 128, 256, 512.
    layers
        Halvings: 3 for the 70×70 patch; the filters double at each and once more after, up to 8·width.
    closing
        Whether that once more is there, a convolution that does not halve. Without it 4 halvings are rows B6 and B7:
        64-128-256-512 filters, each halving, then the judgement.
    norm
        After all but the first and the last convolution: instance (without weights; CycleGAN), batch (pix2pix),
        group or none.
    output
        ``logits``, or ``sigmoid``: judgements between 0 and 1, for a least-squares loss on them (rows B6 and B7).
    initialisation
        See `synthct.networks.initialisation.initialise`; N(0, 0.02) is Zhu et al.'s.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        width: int = 64,
        layers: int = 3,
        closing: bool = True,
        norm: Norm = "instance",
        output: Literal["logits", "sigmoid"] = "logits",
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        if width < 1 or layers < 1:
            raise UserError(f"A PatchGAN of {layers} layers and width {width} is none.", todo="Give 1 or more.")
        self.smallest = 2**layers * 3
        bias = norm == "instance" or needs_bias(norm)
        parts: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        before = width
        for level in range(1, layers + 1 if closing else layers):
            after = width * min(2**level, 8)
            parts += [
                nn.Conv2d(before, after, 4, 2 if level < layers else 1, 1, bias=bias),
                norm_layer(norm, after, affine=False),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            before = after
        parts.append(nn.Conv2d(before, out_channels, 4, 1, 1))
        if output == "sigmoid":
            parts.append(nn.Sigmoid())
        self.probabilities = output == "sigmoid"
        self.layers = nn.Sequential(*parts)
        initialise(self, initialisation)

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.layers(image)
        return output
