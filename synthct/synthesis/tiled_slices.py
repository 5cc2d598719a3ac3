"""A network with its padding and tiling inside, as TorchScript: what another program runs slice by slice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthct.synthesis import windows
from synthct.synthesis.tiles import OVERLAP, SIGMA


class TiledSlices(nn.Module):
    """Does to whole slices what `synthct.synthesis.predictor.Predictor` does, in words that TorchScript knows.

    Parameters
    ----------
    network
        Traced: takes (N, channels, rows, columns), gives (N, 1, rows, columns).
    size
        Rows and columns of a tile.
    divisor
        Number that rows and columns of the network's input must be multiples of.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int], divisor: int) -> None:
        super().__init__()
        self.network = network
        self.rows, self.columns, self.divisor = size[0], size[1], divisor
        self.overlap, self.sigma = OVERLAP, SIGMA

    def forward(self, slices: Tensor, lowest: Tensor) -> Tensor:
        """Return the output for whole slices, (N, 1, rows, columns); ``lowest`` is put around what is too small."""
        height = self._side(slices.shape[2], self.rows)
        width = self._side(slices.shape[3], self.columns)
        tops = self._starts(slices.shape[2], height)
        lefts = self._starts(slices.shape[3], width)
        if len(tops) == 1 and len(lefts) == 1:
            return self._padded(slices, lowest)
        down = self._weights(slices.shape[2], height, tops)
        across = self._weights(slices.shape[3], width, lefts)
        result = torch.zeros_like(slices[:, :1])
        for i in range(len(tops)):
            for j in range(len(lefts)):
                tile = slices[:, :, tops[i] : tops[i] + height, lefts[j] : lefts[j] + width]
                weight = torch.outer(down[i], across[j]).to(slices.device)
                part = result[:, :, tops[i] : tops[i] + height, lefts[j] : lefts[j] + width]
                part += self._padded(tile, lowest) * weight
        return result

    def _padded(self, tile: Tensor, lowest: Tensor) -> Tensor:
        rows = self._multiple(tile.shape[2]) - tile.shape[2]
        columns = self._multiple(tile.shape[3]) - tile.shape[3]
        above, left = rows // 2, columns // 2
        around = [left, columns - left, above, rows - above]
        output = self.network(functional.pad(tile, around, "constant", float(lowest)))
        return output[:, :, above : above + tile.shape[2], left : left + tile.shape[3]]

    def _multiple(self, length: int) -> int:
        return (length + self.divisor - 1) // self.divisor * self.divisor

    def _side(self, length: int, side: int) -> int:
        return length if length <= side else min(length, self._multiple(side))

    def _starts(self, length: int, side: int) -> list[int]:
        starts: list[int] = [0]
        if length > side:
            count = 1 + math.ceil((length - side) / (side * (1 - self.overlap)))
            step = (length - side) / (count - 1)
            places = torch.round(torch.arange(count, dtype=torch.float64) * step)
            starts = [int(place) for place in places]
        return starts

    def _weights(self, length: int, side: int, starts: list[int]) -> list[Tensor]:
        position = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
        bell = torch.exp(-0.5 * (position / self.sigma) ** 2)
        total = torch.zeros(length, dtype=torch.float64)
        for start in starts:
            total[start : start + side] += bell
        return [(bell / total[start : start + side]).to(torch.float32) for start in starts]


class ClassChannels(nn.Module):
    """Gives each class of a label map a channel, as `synthct.networks.one_hot.OneHotInput` does, on any device.

    Parameters
    ----------
    network
        Traced: takes (N, slices · classes, ...), the classes of the first slice first.
    classes
        How many: label numbers are 0 to ``classes`` − 1.
    dimensions
        2 or 3 axes after the channels.
    """

    if TYPE_CHECKING:  # TorchScript cannot read them
        numbers: Tensor

    def __init__(self, network: nn.Module, classes: int, dimensions: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("numbers", torch.arange(classes).reshape([1, 1, classes] + [1] * dimensions))

    def forward(self, labels: Tensor) -> Tensor:
        """Return the network's output for label numbers, (N, slices, ...)."""
        channels = (labels.unsqueeze(2) == self.numbers).to(labels.dtype).flatten(1, 2)
        return self.network(channels)


class WindowedVolume(nn.Module):
    """Does to a whole volume what `synthct.synthesis.volumewise.translate_volume` does, in words of TorchScript.

    Parameters
    ----------
    network
        Traced: takes and gives (1, 1, slices, rows, columns) of ``size``.
    size
        Slices, rows and columns of a window.
    """

    if TYPE_CHECKING:  # TorchScript cannot read them
        inside: Tensor
        fade: Tensor

    def __init__(self, network: nn.Module, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = list(size)
        self.steps = [max(1, int(side * (1 - windows.OVERLAP))) for side in size]
        inside = np.outer(windows.weights(size[1]), windows.weights(size[2]))
        self.register_buffer("inside", torch.from_numpy(inside))
        self.register_buffer("fade", torch.from_numpy(windows.weights(size[0]))[:, None, None])

    def forward(self, volume: Tensor, lowest: Tensor) -> Tensor:
        """Return the output for (1, 1, slices, rows, columns), on its device; windows go to the network's."""
        around: list[int] = []
        before: list[int] = []
        for axis in range(3):
            missing = max(0, self.size[axis] - volume.shape[2 + axis])
            before.append(missing // 2)
            around = [missing // 2, missing - missing // 2] + around  # noqa: RUF005 (TorchScript)
        padded = functional.pad(volume, around, "constant", float(lowest))
        fade, inside = self.fade.to(padded.device), self.inside.to(padded.device)
        total = torch.zeros_like(padded)
        whole = torch.zeros_like(padded[:, :, :, :1, :1])
        depth, rows, columns = self.size[0], self.size[1], self.size[2]
        for z in self._starts(padded.shape[2], 0):
            slab = padded[:, :, z : z + depth]
            summed, weight = torch.zeros_like(slab), torch.zeros_like(slab)
            for y in self._starts(padded.shape[3], 1):
                for x in self._starts(padded.shape[4], 2):
                    window = slab[:, :, :, y : y + rows, x : x + columns].to(self.fade.device)
                    output = self.network(window).to(padded.device)
                    summed[:, :, :, y : y + rows, x : x + columns] += output * inside
                    weight[:, :, :, y : y + rows, x : x + columns] += inside
            total[:, :, z : z + depth] += summed / weight * fade
            whole[:, :, z : z + depth] += fade
        total /= whole
        first, top, left = before[0], before[1], before[2]
        return total[
            :,
            :,
            first : first + volume.shape[2],
            top : top + volume.shape[3],
            left : left + volume.shape[4],
        ]

    def _starts(self, length: int, axis: int) -> list[int]:
        starts: list[int] = []
        place = 0
        while place < length - self.size[axis]:
            starts.append(place)
            place += self.steps[axis]
        starts.append(length - self.size[axis])
        return starts
