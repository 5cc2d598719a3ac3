"""How different the images of a batch are, as a feature of each: Karras et al. 2018, section 3 (ProGAN, StyleGAN2)."""

from __future__ import annotations

import torch
from torch import Tensor

from synthct.networks.full_precision import full_precision

_TINY = 1e-8


def batch_spread(features: Tensor, group: int) -> Tensor:
    """Return (N, 1, \\*sides): the standard deviation over each group of images, averaged over all else.

    A discriminator that is given it sees a generator whose images are all alike, which no image by itself shows.

    Parameters
    ----------
    features
        (N, channels, \\*sides).
    group
        Images in a group; where N cannot be divided so, the largest number below that divides it.
    """
    count, sides = len(features), features.shape[2:]
    group = next(number for number in range(min(group, count), 0, -1) if count % number == 0)
    with full_precision(features.device):
        wide = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
        groups = wide.reshape(group, count // group, -1)
        spread = (groups.var(dim=0, unbiased=False) + _TINY).sqrt().mean(dim=1)
    return spread.to(features.dtype).repeat(group).view(-1, *[1] * (1 + len(sides))).expand(-1, 1, *sides)
