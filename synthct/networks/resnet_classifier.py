"""MONAI's ResNet as a classifier of volumes or slices; what it pools before its last layer are an image's features."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from synthct.errors import UserError

DEPTHS = (10, 18, 34, 50, 101, 152, 200)


def resnet_classifier(
    in_channels: int,
    out_channels: int,
    *,
    depth: int = 18,
    dimensions: Literal[2, 3] = 3,
    widen: float = 1.0,
    shortcut: Literal["A", "B"] = "B",
    shortcut_bias: bool = False,
    stride: Literal[1, 2] = 2,
) -> nn.Module:
    """ResNet (He et al. 2016) in 3D as MONAI has it; row C12 names a ResNet-50.

    Takes (N, in_channels, slices, rows, columns), in 2D (N, in_channels, rows, columns), of any size from 32 on, and
    gives scores of classes (N, out_channels), not bounded; with ``out_channels`` 0 the features themselves.

    Parameters
    ----------
    depth
        One of `DEPTHS`; from 50 on its blocks are bottlenecks.
    widen
        Times as many filters as published: 64 in the first layer.
    shortcut
        ``B``: where the number of filters changes, a convolution; ``A``: the input with channels of 0.
    shortcut_bias
        Whether these convolutions have a bias.
    stride
        Of the first convolution; 2 as published.
    """
    from monai.networks.nets import resnet

    if depth not in DEPTHS or not 0 < widen <= 4:
        raise UserError(
            f"A resnet-classifier cannot have depth {depth} and {widen:g} times the filters.",
            f"There are ResNets of depth {', '.join(map(str, DEPTHS))}.",
            "Choose one of them, and a width above 0 and up to 4.",
        )
    options: dict[str, Any] = {
        "spatial_dims": dimensions,
        "n_input_channels": in_channels,
        "num_classes": out_channels or 1,
        "feed_forward": out_channels > 0,
        "conv1_t_stride": stride,
        "shortcut_type": shortcut,
        "widen_factor": widen,
        "bias_downsample": shortcut_bias,
    }
    network: nn.Module = getattr(resnet, f"resnet{depth}")(**options)
    network.__dict__["dimensions"] = dimensions
    return network


@torch.no_grad()
def pooled_features(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return what a `resnet_classifier` pools of images, (N, features), and the probabilities of its classes.

    Parameters
    ----------
    network
        In eval mode.
    images
        (N, channels, spatial axes).

    Returns
    -------
    tuple
        Features, and (N, classes) that add up to 1; None of a network that ends with its features.
    """
    if getattr(network, "fc", None) is None:
        return network(images), None
    seen: list[Tensor] = []
    hook = network.fc.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))  # type: ignore[union-attr,operator]
    try:
        scores = network(images)
    finally:
        hook.remove()
    return seen[0], scores.softmax(dim=1)
