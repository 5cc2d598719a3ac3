"""The picture of an epoch: MR | sCT | CT | difference, one slice per row, so that a collapse can be seen (row A11)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WINDOW_HU = (-500.0, 1000.0)
DIFFERENCE_HU = 500.0


def write_sample_grid(path: Path, mr: np.ndarray, synthetic: np.ndarray, reference: np.ndarray, title: str) -> None:
    """Write a PNG, replacing the one that was there.

    Parameters
    ----------
    mr
        Input intensities in any unit, axis order (slice, row, column).
    synthetic, reference
        HU, same shape.
    title
        Epoch and step.
    """
    rows = mr.shape[0]
    figure = Figure(figsize=(10.4, 2.4 * rows + 0.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 4, squeeze=False)
    for row in range(rows):
        axes[row, 0].imshow(mr[row], cmap="gray")
        for column, image in ((1, synthetic), (2, reference)):
            ct = axes[row, column].imshow(image[row], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
        error = synthetic[row] - reference[row]
        change = axes[row, 3].imshow(error, cmap="RdBu_r", vmin=-DIFFERENCE_HU, vmax=DIFFERENCE_HU)
    for axis, label in zip(axes[0], ("MR", "synthetic CT", "CT", "synthetic CT − CT"), strict=True):
        axis.set_title(label, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(ct, ax=axes[:, 2], label="HU", shrink=0.8)
    figure.colorbar(change, ax=axes[:, 3], label="difference in HU", shrink=0.8)
    figure.suptitle(title, fontsize=10)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(picture.getvalue())
    aside.replace(path)
