"""How a network that finds tissues in CTs is judged: Dice on spoilt volumes, classes in pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor, nn

from synthct.data.cache import Volume
from synthct.errors import UserError
from synthct.events import Events
from synthct.methods.segmentation import Segmentation
from synthct.training.judge import Criterion, Judge, Slab
from synthct.training.validation import gathered
from synthct.volumes.scaling import make_scaling
from synthct.whole_file import write_whole

COLOURS = ("black", "#4a90c2", "#e8c547", "#c65b4e", "#f4f1e8")
"""Of the classes in pictures."""
_TILES = 4


class TissueJudge(Judge):
    """See `Judge`; ``card`` is that of the model as it is applied."""

    criterion = Criterion("validation/dice", "dice", lower=False)

    def __init__(self, method: Segmentation, card: Mapping[str, Any]) -> None:
        self._method, self._card = method, card

    def validate(
        self, network: nn.Module, cases: Sequence[tuple[Volume, Slab]], fabric: Fabric, events: Events
    ) -> dict[str, float]:
        return validate_tissues(network, self._method, self._card, cases, fabric, events)

    def draw(
        self, path: Path, network: nn.Module, shown: Mapping[str, Tensor], title: str, device: torch.device
    ) -> dict[str, float]:
        draw_tissues(path, network, self._method, shown, title, device)
        return {}

    def described(
        self, card: Mapping[str, Any], network: nn.Module, training: Sequence[Volume], device: torch.device
    ) -> dict[str, Any]:
        return dict(card)


def validate_tissues(
    network: nn.Module,
    method: Segmentation,
    card: Mapping[str, Any],
    cases: Sequence[tuple[Volume, Slab]],
    fabric: Fabric,
    events: Events,
) -> dict[str, float]:
    """Segment the CT of every case, spoilt as in training with draws of its own that never change, and score it.

    Several processes share the cases.

    Returns
    -------
    dict
        ``validation/dice_CLASS`` for each tissue, 2|A∩B| / (|A| + |B|), the mean over the cases that have it, and
        their mean ``validation/dice``. What lies outside the body is not a tissue.
    """
    names = [name.replace(" ", "_") for name in method.classes]
    scores: list[list[float]] = []
    for number in range(fabric.global_rank, len(cases), fabric.world_size):
        events.progress(number, len(cases), "validation")
        volume, slab = cases[number]
        start, stop = slab or (0, volume.shape[0])
        mask = torch.from_numpy(np.array(volume.mask[start:stop]))
        if mask.any():
            scaled = make_scaling(card["input_scaling"]).apply(np.asarray(volume.ct[start:stop]))
            spoilt, truth = _example(method, torch.from_numpy(scaled), mask, len(card["size"]), number, fabric.device)
            scores.append(_dice(_segmented(network, spoilt, card["size"]), truth, len(names)))
    scores = gathered(scores, fabric)
    if not scores:
        raise UserError(
            "No validation case shows the body in the slices that are scored.",
            "The body mask is empty there.",
            "Look at the masks, or give another split.",
        )
    table = np.array(scores)[:, 1:]
    found = {
        f"validation/dice_{name}": float(np.nanmean(column))
        for name, column in zip(names[1:], table.T, strict=True)
        if not np.isnan(column).all()
    }
    return {TissueJudge.criterion.name: float(np.mean(list(found.values()))), **found}


def draw_tissues(
    path: Path, network: nn.Module, method: Segmentation, shown: Mapping[str, Tensor], title: str, device: torch.device
) -> None:
    """Write a PNG: spoilt CT | classes found | classes by HU, one sample (of a volume its middle slice) per row."""
    dimensions = shown["target"].dim() - 2
    rows = []
    for number, (ct, mask) in enumerate(zip(shown["target"], shown["mask"], strict=True)):
        spoilt, truth = _example(method, ct[0], mask[0], dimensions, number, device, slices=False)
        with torch.no_grad():
            found = network(spoilt).argmax(dim=1, keepdim=True)
        rows.append([_middle(part.float().cpu().numpy()[0, 0]) for part in (spoilt, found, truth)])
    figure = Figure(figsize=(7.5, 2.5 * len(rows) + 0.4), dpi=100)
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    edges = {"left": 0.01, "right": 0.99, "bottom": 0.01, "top": 1 - 0.6 / figure.get_figheight()}
    grid = figure.subplots(len(rows), 3, squeeze=False, gridspec_kw={**edges, "wspace": 0.02, "hspace": 0.02})
    classes: dict[str, Any] = {"cmap": ListedColormap(COLOURS), "vmin": -0.5, "vmax": len(COLOURS) - 0.5}
    columns: tuple[tuple[str, dict[str, Any]], ...] = (
        ("spoilt CT", {"cmap": "gray", "vmin": -1, "vmax": 1}),
        ("tissues found", classes),
        ("tissues by HU", classes),
    )
    for number, images in enumerate(rows):
        for axis, image, (label, options) in zip(grid[number], images, columns, strict=True):
            axis.imshow(image, interpolation="nearest", **options)
            axis.set(xticks=[], yticks=[], title="" if number else label)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(path, picture.getvalue())


def _example(
    method: Segmentation,
    ct: Tensor,
    mask: Tensor,
    dimensions: int,
    seed: int,
    device: torch.device,
    slices: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the spoilt CT and the true classes; in 2D with ``slices`` those of a volume become the batch."""
    shape = (len(ct), 1, *ct.shape[1:]) if dimensions == 2 and slices else (1, 1, *ct.shape)
    ct, mask = ct.reshape(shape).float(), mask.reshape(shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # drawn on the CPU: the same on every device
        spoilt = method.spoilt(ct)
    return spoilt.to(device), method.labels(ct, mask).to(device)


def _segmented(network: nn.Module, spoilt: Tensor, size: Sequence[int]) -> Tensor:
    from monai.inferers import sliding_window_inference

    with torch.no_grad():
        scores = sliding_window_inference(spoilt, tuple(size), _TILES, network, overlap=0.25, cval=-1.0)
    return scores.argmax(dim=1, keepdim=True)  # type: ignore[union-attr]


def _dice(found: Tensor, truth: Tensor, classes: int) -> list[float]:
    """Dice of each class; not a number where the truth lacks it."""
    scores = []
    for label in range(classes):
        a, b = found == label, truth == label
        both, sizes = (a & b).sum().item(), (a.sum() + b.sum()).item()
        scores.append(2 * both / sizes if b.any() else float("nan"))
    return scores


def _middle(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else image[len(image) // 2]
