"""Doubling and halving of images through a small low-pass filter (Zhang 2019; Karras et al. 2020, appendix B).

The filter is the outer product of (1, 3, 3, 1) with itself, the same for every channel. Plain convolutions of torch:
they have the second derivatives that gradient penalties need, on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Fir(nn.Module):
    """Filters (N, channels, rows, columns) after padding it by 0 on all sides.

    Parameters
    ----------
    padding
        Before and after, on rows and columns alike; 3 pixels of the padded sides are lost.
    gain
        What the filter's sum is: 1, or 4 after zeros were put between pixels.
    """

    kernel: Tensor

    def __init__(self, padding: tuple[int, int], gain: float = 1.0) -> None:
        super().__init__()
        self.padding = (*padding, *padding)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(taps, taps)
        self.register_buffer("kernel", (gain * kernel / kernel.sum())[None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        channels = image.shape[1]
        kernel = self.kernel.to(image).expand(channels, 1, 4, 4)
        return functional.conv2d(functional.pad(image, self.padding), kernel, groups=channels)


class Upsample(nn.Module):
    """(N, channels, rows, columns) → doubled rows and columns; a constant image keeps its value inside."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = Fir((2, 1), gain=4)

    def forward(self, image: Tensor) -> Tensor:
        count, channels, rows, columns = image.shape
        spread = image.new_zeros(count, channels, rows, 2, columns, 2)
        spread[:, :, :, 0, :, 0] = image
        output: Tensor = self.filter(spread.view(count, channels, 2 * rows, 2 * columns))
        return output
