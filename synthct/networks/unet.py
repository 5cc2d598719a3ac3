"""U-Net: Ronneberger, Fischer, Brox 2015 (row A9), with the choices that the texts leave open as recipe keys."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, needs_bias, norm_layer
from synthct.networks.upsampling import Upsampling, upsample


class UNet(nn.Module):
    """Encoder and decoder of double 3×3 convolutions, joined by skip concatenation at every resolution.

    Takes (N, in_channels, rows, columns), returns (N, out_channels, rows, columns); rows and columns must be
    multiples of ``divisor`` = 2^depth. Padding keeps the size (our reading, row A9).

    Parameters
    ----------
    in_channels, out_channels
        Slices in (more than one: 2.5D) and images out.
    depth
        Number of 2×2 max poolings; None: as many as ``width`` gives, else 4 (our reading, row A9).
    width
        Filters at full resolution, doubled at every pooling; or one number per resolution, as a list or as
        ``24-48-96-192``. Default 64 (our reading, row A9).
    norm
        Layer between convolution and ReLU: none (Ronneberger), batch, instance or group.
    dropout
        Probability after each double convolution.
    upsampling
        ``transposed``: 2×2 transposed convolution (Ronneberger); or see `synthct.networks.upsampling.upsample`.
    output
        ``tanh`` (the published GANs) or ``linear``.
    initialisation
        See `synthct.networks.initialisation.initialise`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int | None = None,
        width: int | list[int] | str = 64,
        norm: Norm = "none",
        dropout: float = 0.0,
        upsampling: Upsampling = "transposed",
        output: Literal["tanh", "linear"] = "tanh",
        initialisation: Initialisation = "default",
    ) -> None:
        super().__init__()
        widths = _widths(width, depth)
        self.divisor = 2 ** (len(widths) - 1)
        before = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            _double_convolution(a, b, norm, dropout) for a, b in zip(before, widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(upsample(deep, shallow, upsampling) for deep, shallow in steps)
        self.decoder = nn.ModuleList(_double_convolution(2 * shallow, shallow, norm, dropout) for _, shallow in steps)
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()
        initialise(self, initialisation)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return what each stage of the encoder gives, full resolution first."""
        stages: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            stages.append(block(self.pool(stages[-1]) if level else image))
        return stages

    def forward(self, image: Tensor) -> Tensor:
        skips = self.features(image)
        features = skips.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), up(features)], dim=1))
        return self.output(self.head(features))


def _widths(width: int | list[int] | str, depth: int | None) -> list[int]:
    """Filters per resolution, full resolution first."""
    if isinstance(width, str):
        try:
            width = [int(part) for part in width.split("-")]
        except ValueError:
            raise UserError(
                f"The U-Net's width cannot be {width!r}.", todo="Give a number, or several as in 24-48-96-192."
            ) from None
    if isinstance(width, int):
        if depth is not None and depth < 1:
            raise UserError(f"The U-Net's depth cannot be {depth}.", todo="Give at least 1.")
        widths = [width * 2**level for level in range((4 if depth is None else depth) + 1)]
    else:
        widths = width
    if min(widths, default=0) < 1 or len(widths) < 2:
        raise UserError(f"The U-Net's width cannot be {width}.", todo="Give positive numbers, two or more in a list.")
    if depth is not None and len(widths) != depth + 1:
        raise UserError(
            f"The U-Net's depth {depth} and width {'-'.join(map(str, widths))} disagree.",
            f"Depth {depth} has {depth + 1} resolutions and the list has {len(widths)} numbers.",
            f"Set depth to {len(widths) - 1} or leave it out.",
        )
    return widths


def _double_convolution(before: int, after: int, norm: Norm, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=needs_bias(norm)), norm_layer(norm, after)]
        layers += [nn.ReLU(inplace=True)]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))
