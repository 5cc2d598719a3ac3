"""The network applied to blocks of slices: tiles, windows, batches, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch.nn import functional

from synthct.errors import UserError
from synthct.events import Events
from synthct.synthesis.model_file import Model
from synthct.synthesis.tiles import TilePlan
from synthct.synthesis.windows import through_windows

_SMALLEST_TILE = 64
_GPU_BATCH = 8
_GPU_WINDOWS = 2


class Predictor:
    """Applies a model's network slice by slice on one device, or window by window where it is a 3D one.

    Memory on the device is bounded by the batch and the tile (3D: the window). When it runs out, the batch is halved,
    then the tile, then the CPU is used, each with a warning event; what was done before is kept.

    Parameters
    ----------
    model
        Its network is moved to ``device`` and stays there.
    device
        Where to compute.
    batch
        Slices at once; None: 1 on the CPU, 8 elsewhere, 2 windows in 3D. It changes the speed only.
    events
        Hears of memory that ran out.

    Attributes
    ----------
    depth
        Slices of a 3D network's window; 1 for all others.
    """

    def __init__(self, model: Model, device: torch.device, batch: int | None, events: Events) -> None:
        self.device = device
        size = [int(side) for side in model.card["size"]]
        self._volumes = len(size) == 3
        if self._volumes:
            size = [-(-side // model.divisor) * model.divisor for side in size]
        if batch is not None and batch < 1:
            raise UserError(f"The batch cannot be {batch}.", todo="Give 1 or more, or leave it out.")
        self.batch = batch or (1 if device.type == "cpu" else _GPU_WINDOWS if self._volumes else _GPU_BATCH)
        self._network = model.network.eval()
        self._divisor = model.divisor
        self._full_tile: tuple[int, int] = (size[-2], size[-1])
        self._tile = self._full_tile
        self._events = events
        self._placed = False
        self._part: tuple[slice, slice] | None = None
        self.depth = size[0] if self._volumes else 1

    def predict(
        self,
        blocks: Iterable[tuple[int, np.ndarray]],
        padding: float,
        on_window: Callable[[float], None] | None = None,
        part: tuple[slice, slice] | None = None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(start, output)`` for each ``(start, input)``, in order.

        One block is computed ahead of the one that is yielded, so that a GPU works while the CPU stores.

        Parameters
        ----------
        blocks
            Float32 inputs of shape (slices, channels, rows, columns), scaled. For a 3D network: slabs as thick as its
            window, (1, 2, depth, rows, columns); the second channel is 0 where no result is wanted.
        padding
            Scaled value put around slices that are smaller than the network can take.
        on_window
            Called with the share of a slab that is done, after each of its windows. What it raises ends the work.
        part
            Rows and columns in which the output of slices is wanted: tiles beyond are not computed. None: all is.

        Yields
        ------
        tuple
            The block's ``start`` and float32 output of shape (slices, rows, columns), scaled; of a slab as well.
        """
        self._part = part
        waiting: tuple[int, torch.Tensor] | None = None
        for start, block in blocks:
            result = self._block(torch.from_numpy(block), padding, on_window)
            if waiting is not None:
                yield waiting[0], waiting[1].cpu().numpy()
            waiting = (start, result)
        if waiting is not None:
            yield waiting[0], waiting[1].cpu().numpy()

    def _block(self, block: torch.Tensor, padding: float, on_window: Callable[[float], None] | None) -> torch.Tensor:
        while True:
            try:
                return self._attempt(block, padding, on_window)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                message = (str(error).splitlines() or ["out of memory"])[0]
            self._retreat(message, (block.shape[-2], block.shape[-1]))

    @torch.inference_mode()
    def _attempt(self, block: torch.Tensor, padding: float, on_window: Callable[[float], None] | None) -> torch.Tensor:
        if not self._placed:
            self._network.to(self.device)
            self._placed = True
        if self._volumes:
            return through_windows(self._network, block, self._tile, self.batch, padding, self.device, on_window)
        plan = TilePlan((block.shape[-2], block.shape[-1]), self._tile, self._divisor)
        parts = [self._slices(part, plan, padding) for part in block.split(self.batch)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _slices(self, block: torch.Tensor, plan: TilePlan, padding: float) -> torch.Tensor:
        if len(plan.tiles) == 1:
            return self._forward(block, plan, padding)
        result = torch.zeros((block.shape[0], *plan.shape), device=self.device)
        for tile in plan.tiles:
            if self._part is not None and not all(map(_meet, self._part, (tile.rows, tile.columns))):
                continue
            output = self._forward(block[..., tile.rows, tile.columns], plan, padding)
            result[:, tile.rows, tile.columns] += output * torch.from_numpy(tile.weights).to(self.device)
        return result

    def _forward(self, tile: torch.Tensor, plan: TilePlan, padding: float) -> torch.Tensor:
        """One tile of several slices through the network, padded evenly on both sides and cut again."""
        rows, columns = plan.tile
        above, left = (plan.padded[0] - rows) // 2, (plan.padded[1] - columns) // 2
        below, right = plan.padded[0] - rows - above, plan.padded[1] - columns - left
        padded = functional.pad(tile, (left, right, above, below), value=padding).contiguous().to(self.device)
        output = self._network(padded)
        return output[:, 0, above : above + rows, left : left + columns].float()

    def _retreat(self, message: str, shape: tuple[int, int]) -> None:
        tile = (min(self._tile[0], shape[0]), min(self._tile[1], shape[1]))
        full = self.device
        if self.batch > 1:
            self.batch //= 2
            answer = f"The batch is now {self.batch}."
        elif max(tile) > max(_SMALLEST_TILE, self._divisor):
            self._tile = (self._smaller(tile[0]), self._smaller(tile[1]))
            what = "Windows are now" if self._volumes else "Slices are now cut into tiles of"
            answer = f"{what} {self._tile[0]}×{self._tile[1]}."
        elif self.device.type != "cpu":
            self.device, self._tile, self._placed = torch.device("cpu"), self._full_tile, True
            answer = "The CPU goes on; it is slower."
            self._network.to(self.device)
            if full.type == "cuda":
                torch.cuda.empty_cache()
        else:
            raise UserError(
                f"There is not enough memory for one {'window' if self._volumes else 'tile'}.",
                f"{message}.".replace("..", "."),
                "Close other programs, or use a model with a smaller network.",
            )
        self._events.warning(f"The device {full} ran out of memory.", message, answer)

    def _smaller(self, side: int) -> int:
        return max(_SMALLEST_TILE, self._divisor, side // 2 // self._divisor * self._divisor)


def _meet(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, or Python itself, found no memory for what was asked."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
