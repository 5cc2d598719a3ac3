"""Several PatchGANs on smaller and smaller images: pix2pixHD, Wang et al. 2018 (row A12, "better discriminators")."""

from __future__ import annotations

from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation
from synthct.networks.norms import Norm
from synthct.networks.patchgan import PatchGAN


class MultiscalePatchGAN(nn.Module):
    """Discriminators of the same shape and weights of their own, each on an image half as large as the one before.

    Takes (N, in_channels, rows, columns), returns a list of logits (N, out_channels, ...), full resolution first.
    The losses of `synthct.methods.losses` are the mean over the scales, whatever the number of their patches.

    Parameters
    ----------
    in_channels, out_channels, width, layers, norm, initialisation
        Of every `PatchGAN`. Wang et al. have three halvings, 64 filters and instance norm.
    scales
        Number of discriminators: 3; the image is halved by 3×3 average pooling that leaves padding out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        scales: int = 3,
        width: int = 64,
        layers: int = 3,
        norm: Norm = "instance",
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        if scales < 1:
            raise UserError(f"A multi-scale PatchGAN of {scales} scales is none.", todo="Give 1 or more.")
        self.scales = nn.ModuleList(
            PatchGAN(in_channels, out_channels, width=width, layers=layers, norm=norm, initialisation=initialisation)
            for _ in range(scales)
        )
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        logits = []
        for level, discriminator in enumerate(self.scales):
            image = self.halve(image) if level else image
            logits.append(discriminator(image))
        return logits
