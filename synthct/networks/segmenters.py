"""MONAI's networks for the segmentation of volumes, with the options that a recipe may give."""

from __future__ import annotations

from torch import nn

from synthct.errors import UserError


def unet_3d(
    in_channels: int,
    out_channels: int,
    *,
    channels: tuple[int, ...] = (16, 32, 64, 128, 256),
    residual_units: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """3D U-Net (row B10) as MONAI has it: strided convolutions down, transposed ones up, instance norm.

    Takes (N, in_channels, slices, rows, columns) and gives scores of classes, (N, out_channels, ...), not bounded;
    every side must be a multiple of 2^(levels − 1).

    Parameters
    ----------
    channels
        Filters per level, full resolution first.
    residual_units
        Convolutions in each residual unit.
    """
    from monai.networks.nets import UNet

    if len(channels) < 2 or min(channels) < 1 or residual_units < 0:
        raise UserError(
            f"A unet-3d cannot have channels {channels} and {residual_units} residual units.",
            todo="Give two or more levels with one or more filters each, and 0 or more units.",
        )
    strides = (2,) * (len(channels) - 1)
    network = UNet(3, in_channels, out_channels, channels, strides, num_res_units=residual_units, dropout=dropout)
    network.__dict__["divisor"] = 2 ** len(strides)
    return network


def segresnet(
    in_channels: int,
    out_channels: int,
    *,
    filters: int = 32,
    blocks_down: tuple[int, ...] = (1, 2, 2, 4, 4),
    dropout: float = 0.0,
) -> nn.Module:
    """SegResNet (Myronenko 2018; row C14) as MONAI has it, without the autoencoder's branch.

    Takes and gives as `unet_3d`. Auto3DSeg's own variant differs in its norm and in deep supervision.

    Parameters
    ----------
    filters
        Of the first level; each further one has twice as many. A multiple of 8, the groups of its norm.
    blocks_down
        Residual blocks of each level on the way down; on the way up each has one.
    """
    from monai.networks.nets import SegResNet

    if filters < 8 or filters % 8 or len(blocks_down) < 2 or min(blocks_down) < 1:
        raise UserError(
            f"A segresnet cannot have {filters} filters and {blocks_down} blocks.",
            todo="Give a multiple of 8 filters, and two or more levels with a block or more each.",
        )
    network = SegResNet(
        spatial_dims=3,
        init_filters=filters,
        in_channels=in_channels,
        out_channels=out_channels,
        dropout_prob=dropout or None,
        blocks_down=blocks_down,
        blocks_up=(1,) * (len(blocks_down) - 1),
    )
    network.__dict__["divisor"] = 2 ** (len(blocks_down) - 1)
    return network


def bottleneck(network: nn.Module) -> nn.Module:
    """Return the part with the coarsest features of a `unet_3d` or `segresnet`: a hook on it hears them.

    Raises
    ------
    UserError
        Another network.
    """
    from monai.networks.layers import SkipConnection
    from monai.networks.nets import SegResNet, UNet

    if isinstance(network, SegResNet):
        return network.down_layers[-1]
    if not isinstance(network, UNet):
        raise UserError(
            f"The features of a {type(network).__name__} are not known here.",
            todo="Take a unet-3d or a segresnet.",
        )
    part: nn.Module = network.model
    while isinstance(part, nn.Sequential) and len(part) > 1 and isinstance(part[1], SkipConnection):
        part = part[1].submodule
    return part
