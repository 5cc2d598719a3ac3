"""D_disc, the discriminator of the Umeå GANs (row A8)."""

from __future__ import annotations

from torch import Tensor, nn

from synthct.errors import UserError
from synthct.networks.initialisation import Initialisation, initialise
from synthct.networks.norms import Norm, norm_layer


class DDisc(nn.Module):
    """Four 3×3 convolutions of stride 2, 64-128-256-512 filters, and one dense layer: one logit per image.

    Takes (N, in_channels, rows, columns), returns (N, out_channels). The sigmoid is the loss's: without it this is
    also the critic of row A6. After each convolution come batch norm, LeakyReLU 0.2 and dropout, in this order
    (our reading; the text gives none).

    Parameters
    ----------
    in_channels, out_channels
        Channels of the image, and judgements: 1.
    size
        Rows and columns of the image, for the dense layer; the recipe's ``data.size`` where it is not given.
    width
        Filters of the first convolution, doubled at each.
    norm
        batch (row A8), instance, group or none.
    dropout
        Probability between the convolutions: 0.15 (row A8).
    last_dropout
        Probability before the dense layer: 0.4 (row A8).
    initialisation
        See `synthct.networks.initialisation.initialise`; ``glorot`` is Keras' own, which the authors used.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1,
        *,
        size: list[int],
        width: int = 64,
        norm: Norm = "batch",
        dropout: float = 0.15,
        last_dropout: float = 0.4,
        initialisation: Initialisation = "glorot",
    ) -> None:
        super().__init__()
        if len(size) != 2 or min(size) < 16 or width < 1:
            raise UserError(
                f"D_disc cannot judge images of {'×'.join(map(str, size))} with width {width}.",
                todo="Give two sizes of 16 or more (it judges slices, not 3D patches), and 1 filter or more.",
            )
        widths = [width * 2**level for level in range(4)]
        parts: list[nn.Module] = []
        for level, (before, after) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True)):
            parts += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                norm_layer(norm, after),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Dropout(dropout if level < 3 else last_dropout),
            ]
        rows, columns = ((length + 15) // 16 for length in size)
        self.layers = nn.Sequential(*parts, nn.Flatten(), nn.Linear(widths[-1] * rows * columns, out_channels))
        initialise(self, initialisation)

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.layers(image)
        return output
