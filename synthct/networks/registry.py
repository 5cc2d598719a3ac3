"""The networks that a recipe may name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from synthct.networks.d_disc import DDisc
from synthct.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from synthct.networks.fastgan import FastGANDiscriminator, FastGANGenerator
from synthct.networks.ha_gan import HAGANGenerator
from synthct.networks.ha_gan_discriminator import HAGANDiscriminator
from synthct.networks.ha_gan_encoders import HAGANEncoder, HAGANGlobalEncoder
from synthct.networks.multiscale_patchgan import MultiscalePatchGAN
from synthct.networks.noise_unet import NoiseUNet
from synthct.networks.one_hot import LabelChannels, OneHotInput
from synthct.networks.patchgan import PatchGAN
from synthct.networks.pix2pix_unet import Pix2PixUNet
from synthct.networks.progressive import ProgressiveCritic, ProgressiveGenerator
from synthct.networks.residual_encoder_unet import ResidualEncoderUNet
from synthct.networks.resnet_classifier import resnet_classifier
from synthct.networks.resnet_generator import ResNetGenerator
from synthct.networks.segmenters import segresnet, unet_3d
from synthct.networks.strided_discriminator import StridedDiscriminator
from synthct.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from synthct.networks.unet import UNet
from synthct.options import build

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "resnet": ResNetGenerator,
    "pix2pix-unet": Pix2PixUNet,
    "resenc-unet": ResidualEncoderUNet,
    "unet-3d": unet_3d,
    "segresnet": segresnet,
    "resnet-classifier": resnet_classifier,
    "patchgan": PatchGAN,
    "multiscale-patchgan": MultiscalePatchGAN,
    "d-disc": DDisc,
    "dcgan-generator": DCGANGenerator,
    "dcgan-discriminator": DCGANDiscriminator,
    "noise-unet": NoiseUNet,
    "strided-discriminator": StridedDiscriminator,
    "progressive": ProgressiveGenerator,
    "progressive-critic": ProgressiveCritic,
    "stylegan2": StyleGAN2Generator,
    "stylegan2-discriminator": StyleGAN2Discriminator,
    "fastgan": FastGANGenerator,
    "fastgan-discriminator": FastGANDiscriminator,
    "ha-gan-generator": HAGANGenerator,
    "ha-gan-discriminator": HAGANDiscriminator,
    "ha-gan-encoder": HAGANEncoder,
    "ha-gan-global-encoder": HAGANGlobalEncoder,
}


def build_network(
    entry: Mapping[str, Any],
    in_channels: int,
    out_channels: int,
    size: tuple[int, ...] | None = None,
    seed: int | None = None,
    where: str = "the network",
    labels: LabelChannels | None = None,
) -> nn.Module:
    """Build the network that ``entry`` names, its options checked.

    Parameters
    ----------
    entry
        ``{"name": ..., option: value, ...}``; the options are the keyword arguments of the class of that name.
    in_channels, out_channels
        Channels of what it takes and gives, (N, channels, rows, columns), in 3D (N, channels, slices, rows, columns).
    size
        Sides of its input, where they are fixed: a dense layer wants to know (``d-disc``).
    seed
        Draw the first weights from this seed and leave torch's global generator as it was; None: from the
        global generator.
    where
        What errors call the entry.
    labels
        Which of ``in_channels`` hold label numbers: the network then gets a channel for each class in their place.

    Raises
    ------
    UserError
        Unknown name or option, or an option of the wrong type or value.

    Examples
    --------
    >>> network = build_network({"name": "unet", "width": "8-16"}, 1, 1, seed=0)
    >>> network.divisor
    2
    """
    if size is not None and "size" in _options_of(entry.get("name")):
        entry = {"size": list(size), **entry}
    if labels is not None:
        within = build_network(entry, labels.unfolded(in_channels), out_channels, size, seed, where)
        return OneHotInput(within, labels)
    if seed is None:
        return build(NETWORKS, entry, where, in_channels, out_channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(NETWORKS, entry, where, in_channels, out_channels)


def _options_of(name: Any) -> set[str]:
    builder = NETWORKS.get(name)
    return set(inspect.signature(builder).parameters) if builder else set()
