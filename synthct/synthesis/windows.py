"""A slab of a volume through a 3D network: overlapping windows, blended by Gaussian weights (MONAI's inferer)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

OVERLAP = 0.5
"""Part of a window that it shares with its neighbour: nnU-Net's step of half a window."""
SIGMA = 0.125
"""Standard deviation of the weights as a part of the window's side, nnU-Net's and MONAI's."""


def through_windows(
    network: nn.Module,
    slab: Tensor,
    window: Sequence[int],
    batch: int,
    padding: float,
    device: torch.device,
    on_window: Callable[[float], None] | None = None,
) -> Tensor:
    """Return the network's output for a slab as thick as the window, (1, depth, rows, columns), on ``device``.

    Windows without a voxel that is wanted are not computed; where only such windows lie the output is 0.

    Parameters
    ----------
    network
        Takes and gives (N, 1, depth, rows, columns).
    slab
        (1, 2, depth, rows, columns): scaled input, and 1 where a result is wanted.
    window
        Rows and columns of a window; a slab that is smaller is padded evenly.
    batch
        Windows at once.
    padding
        Scaled value put around the slab.
    on_window
        Called with the share that is done after each batch.
    """
    from monai.inferers import sliding_window_inference

    depth, rows, columns = slab.shape[2:]
    above, left = (max(0, side - length) // 2 for side, length in zip(window, (rows, columns), strict=True))
    below, right = max(0, window[0] - rows) - above, max(0, window[1] - columns) - left
    parts = [
        functional.pad(slab[:, channel : channel + 1], (left, right, above, below), value=value)
        for channel, value in enumerate((padding, 0.0))
        if below or right or channel == 0
    ]
    inputs, wanted = parts[0], parts[1] if len(parts) > 1 else slab[:, 1:]
    sides = [depth, *window]
    total = len(starts(inputs.shape[3], window[0])) * len(starts(inputs.shape[4], window[1]))
    done = 0

    def predict(windows: Tensor, places: list[list[slice]]) -> Tensor:
        nonlocal done
        kept = [number for number, place in enumerate(places) if wanted[tuple(place)].any()]
        outputs = torch.zeros_like(windows)
        if kept:
            outputs[kept] = network(windows[kept]).to(outputs.dtype)
        done += len(places)
        if on_window is not None:
            on_window(done / total)
        return outputs

    # MONAI's own map flattens what is below 0.001 of the product over three axes: the borders of a slab.
    fade = torch.from_numpy(np.outer(weights(window[0]), weights(window[1]))).to(device)
    output = sliding_window_inference(
        inputs,
        sides,
        batch,
        predict,
        OVERLAP,
        sw_device=device,
        device=device,
        roi_weight_map=fade.expand(sides),
        with_coord=True,
    )
    assert isinstance(output, Tensor)
    return output[:, 0, :, above : above + rows, left : left + columns]


def starts(length: int, side: int) -> list[int]:
    """Return where windows of ``side`` begin along ``length``: every half window, the last at the end."""
    step = max(1, int(side * (1 - OVERLAP)))
    return [*range(0, length - side, step), max(0, length - side)]


def weights(side: int) -> np.ndarray:
    """Return the Gaussian weights along one side of a window, float32."""
    from monai.data.utils import compute_importance_map

    return np.asarray(compute_importance_map((side,), mode="gaussian", sigma_scale=SIGMA, device="cpu").numpy())
