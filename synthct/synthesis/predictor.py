"""The network applied to blocks of slices: tiles, batches, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch.nn import functional

from synthct.errors import UserError
from synthct.events import Events
from synthct.synthesis.model_file import Model
from synthct.synthesis.tiles import TilePlan

_SMALLEST_TILE = 64
_GPU_BATCH = 8


class Predictor:
    """Applies a model's network slice by slice on one device.

    Memory on the device is bounded by the batch and the tile. When it runs out, the batch is halved, then the tile,
    then the CPU is used, each with a warning event; what was done before is kept.

    Parameters
    ----------
    model
        Its network is moved to ``device`` and stays there.
    device
        Where to compute.
    batch
        Slices at once; None: 1 on the CPU, 8 elsewhere. It changes the speed only.
    events
        Hears of memory that ran out.
    """

    def __init__(self, model: Model, device: torch.device, batch: int | None, events: Events) -> None:
        self.device = device
        self.batch = batch or (1 if device.type == "cpu" else _GPU_BATCH)
        self._network = model.network.eval()
        self._divisor = model.divisor
        self._full_tile: tuple[int, int] = (int(model.card["size"][0]), int(model.card["size"][1]))
        self._tile = self._full_tile
        self._events = events
        self._placed = False

    def predict(self, blocks: Iterable[tuple[int, np.ndarray]], padding: float) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(start, output)`` for each ``(start, input)``, in order.

        One block is computed ahead of the one that is yielded, so that a GPU works while the CPU stores.

        Parameters
        ----------
        blocks
            Float32 inputs of shape (slices, channels, rows, columns), scaled.
        padding
            Scaled value put around slices that are smaller than the network can take.

        Yields
        ------
        tuple
            The block's ``start`` and float32 output of shape (slices, rows, columns), scaled.
        """
        waiting: tuple[int, torch.Tensor] | None = None
        for start, block in blocks:
            result = self._block(torch.from_numpy(block), padding)
            if waiting is not None:
                yield waiting[0], waiting[1].cpu().numpy()
            waiting = (start, result)
        if waiting is not None:
            yield waiting[0], waiting[1].cpu().numpy()

    def _block(self, block: torch.Tensor, padding: float) -> torch.Tensor:
        while True:
            try:
                return self._attempt(block, padding)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                message = (str(error).splitlines() or ["out of memory"])[0]
            self._retreat(message, (block.shape[-2], block.shape[-1]))

    @torch.inference_mode()
    def _attempt(self, block: torch.Tensor, padding: float) -> torch.Tensor:
        if not self._placed:
            self._network.to(self.device)
            self._placed = True
        plan = TilePlan((block.shape[-2], block.shape[-1]), self._tile, self._divisor)
        parts = [self._slices(part, plan, padding) for part in block.split(self.batch)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _slices(self, block: torch.Tensor, plan: TilePlan, padding: float) -> torch.Tensor:
        if len(plan.tiles) == 1:
            return self._forward(block, plan, padding)
        result = torch.zeros((block.shape[0], *plan.shape), device=self.device)
        for tile in plan.tiles:
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
            answer = f"Slices are now cut into tiles of {self._tile[0]}×{self._tile[1]}."
        elif self.device.type != "cpu":
            self.device, self._tile, self._placed = torch.device("cpu"), self._full_tile, True
            answer = "The CPU goes on; it is slower."
            self._network.to(self.device)
            if full.type == "cuda":
                torch.cuda.empty_cache()
        else:
            raise UserError(
                "There is not enough memory for one tile.",
                f"{message}.".replace("..", "."),
                "Close other programs, or use a model with a smaller network.",
            )
        self._events.warning(f"The device {full} ran out of memory.", message, answer)

    def _smaller(self, side: int) -> int:
        return max(_SMALLEST_TILE, self._divisor, side // 2 // self._divisor * self._divisor)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, or Python itself, found no memory for what was asked."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
