"""Differentiable augmentation of what a discriminator sees: Zhao et al. 2020, "Differentiable augmentation for
data-efficient GAN training" (DiffAugment), with operations that a CT in HU bears.

Real and synthetic images pass through the same random operations before every look of the discriminator, and
gradients pass through them to the generator. An image is (N, channels, rows, columns) in [−1, 1]; channel 0 is the
CT, further channels its mask. There is one intensity per pixel, so the paper's saturation does not exist, and its
brightness and contrast, which would lift air above air, are replaced by `tone`: both ends of the scale stay where they
are. What comes into the picture, or is cut out of it, is air (−1), which is also the mask's background.

All draws come from torch's global generator of the image's device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

AIR = -1.0
BRIGHTNESS = 0.2
"""Largest lift of the middle of the scale, on which −1 to 1 is the HU window: 162 HU where that is 1624 HU wide."""
CONTRAST = 0.25
"""Largest change of the slope in the middle of the scale; above 0.5 the ends would no longer be in order."""
SHIFT = 1 / 8
"""Largest shift, in shares of a side (Zhao et al.)."""
CUT = 1 / 2
"""Sides of the square that is cut out, in shares of the image's (Zhao et al.)."""


def diff_augment(image: Tensor) -> Tensor:
    """Return every image with another tone, shifted and with a part cut out: the paper's policy for few images."""
    everyone = torch.ones(len(image), dtype=torch.bool, device=image.device)
    return cutout(shift(tone(image, everyone), everyone), everyone)


def tone(image: Tensor, chosen: Tensor) -> Tensor:
    """Return images whose CT is a little brighter or darker, and of more or less contrast, in the middle of the scale.

    x → x + b·(1 − x²), then x → x + k·x·(1 − x²), with b in ±0.2 and k in ±0.25 drawn for each image. Both keep −1
    and 1, where air and the upper end of the HU window lie, and the order of all values between; values
    outside [−1, 1], which a linear generator can give, stay as they are. Masks are not touched.

    Parameters
    ----------
    chosen
        (N,), bool: which images.
    """
    ct, rest = image[:, :1], image[:, 1:]
    for size, odd in ((BRIGHTNESS, False), (CONTRAST, True)):
        amount = torch.where(chosen, _even(image, size), 0.0)[:, None, None, None]
        middle = (1 - ct.square()).clamp(min=0)
        ct = ct + amount * middle * (ct if odd else 1.0)
    return torch.cat([ct, rest], dim=1)


def shift(image: Tensor, chosen: Tensor) -> Tensor:
    """Return images shifted by up to 1/8 of their sides, by whole pixels, all channels alike; air comes in."""
    return shifted(image, shift_steps(image) * chosen[:, None])


def shift_steps(image: Tensor) -> Tensor:
    """Return (N, 2), int64: rows and columns to shift each image by, up to 1/8 of its sides either way."""
    most = [int(side * SHIFT) for side in image.shape[-2:]]
    steps = [torch.randint(-far, far + 1, (len(image),), device=image.device) for far in most]
    return torch.stack(steps, dim=1)


def shifted(image: Tensor, steps: Tensor) -> Tensor:
    """Return ``image`` (N, channels, rows, columns), in 3D slices before the rows, shifted in each slice; air comes in.

    Parameters
    ----------
    steps
        (N, 2): rows and columns to shift each image by.
    """
    for axis, step in zip((-2, -1), steps.unbind(dim=1), strict=True):
        side = image.shape[axis]
        source = torch.arange(side, device=image.device) - step[:, None]
        inside = (source >= 0) & (source < side)
        view = [len(image), *[1] * (image.dim() - 1)]
        view[axis] = side
        index = source.clamp(0, side - 1).view(view).expand_as(image)
        image = torch.where(inside.view(view), image.gather(axis, index), AIR)
    return image


def cutout(image: Tensor, chosen: Tensor) -> Tensor:
    """Return images with a rectangle of half their sides, its centre anywhere in the image, replaced by air."""
    within = chosen[:, None, None]
    for side, axis in zip(image.shape[-2:], (1, 2), strict=True):
        half = side * CUT / 2
        centre = torch.rand((len(image), 1), device=image.device) * side
        place = torch.arange(side, device=image.device) + 0.5
        near = (place - centre).abs() < half
        within = within & near.unsqueeze(3 - axis)
    return torch.where(within[:, None], AIR, image)


def turn(image: Tensor, chosen: Tensor) -> Tensor:
    """Return images turned about their centre by any angle, bilinear; air comes in. Voxels are taken as square."""
    angle = torch.where(chosen, _even(image, torch.pi), 0.0)
    sine, cosine = angle.sin(), angle.cos()
    rows, columns = image.shape[-2:]
    nothing = torch.zeros_like(sine)
    ratio = rows / columns
    matrix = torch.stack(
        [
            torch.stack([cosine, -sine * ratio, nothing], dim=1),
            torch.stack([sine / ratio, cosine, nothing], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, list(image.shape), align_corners=False)
    turned = functional.grid_sample(image - AIR, grid.to(image), padding_mode="zeros", align_corners=False) + AIR
    return torch.where(chosen[:, None, None, None], turned, image)


def mirror(image: Tensor, chosen: Tensor) -> Tensor:
    """Return images mirrored left to right."""
    return torch.where(chosen[:, None, None, None], image.flip(3), image)


def _even(image: Tensor, size: float) -> Tensor:
    """One draw for each image, even between −size and size."""
    return (2 * torch.rand(len(image), dtype=image.dtype, device=image.device) - 1) * size
