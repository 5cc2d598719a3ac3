"""How a network that makes images from noise is judged: by the statistics of what it makes, and in pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from synthct.data.cache import Volume
from synthct.data.noise_batches import NoiseBatches
from synthct.evaluation.distribution.image_statistics import image_statistics, statistics_distance
from synthct.events import Events
from synthct.methods.noise import draw_latents
from synthct.training.collapse import collapse_numbers
from synthct.training.judge import Criterion, Judge, Slab
from synthct.training.validation import gathered
from synthct.whole_file import write_whole

SEED = 0
"""Of the fixed latents: the same ones at every validation and in every picture."""
ENOUGH = 16
"""Held-out samples that are compared with alone; with fewer, the training samples are counted in."""
REFERENCES = {2: 256, 3: 64}
"""Samples of the cases that are compared with, at most, by dimensions."""
GENERATED = {2: 64, 3: 16}
"""Images that are made for a validation, by dimensions."""
SHOWN = 8
"""Fixed latents in a picture."""
DISTANCE = "validation/statistics_distance"
_TILE = 0.97
"""Share of its place in a picture that an image takes."""


class NoiseJudge(Judge):
    """See `Judge`; ``card`` is that of the model.

    The criterion is the Fréchet distance of `distribution.image_statistics` between images of fixed latents and
    samples of the held-out cases, or of all cases where the held-out ones have fewer than `ENOUGH` samples.

    Parameters
    ----------
    held_out
        Unchanged samples of the validation cases; None: there are none.
    samples
        Those of training and validation cases together; None: there is nothing to compare with.
    """

    criterion = Criterion(DISTANCE, "statistics_distance")

    def __init__(self, card: Mapping[str, Any], held_out: NoiseBatches | None, samples: NoiseBatches | None) -> None:
        self._card = card
        self._source = held_out if held_out is not None and len(held_out) >= ENOUGH else samples
        self._known: tuple[NDArray[np.float64], list[list[NDArray[np.float32]]]] | None = None

    def validate(
        self, network: nn.Module, cases: Sequence[tuple[Volume, Slab]], fabric: Fabric, events: Events
    ) -> dict[str, float]:
        """Return `DISTANCE`; processes share the images to be made."""
        count = GENERATED[len(self._card["size"])]
        found = []
        for number in range(fabric.global_rank, count, fabric.world_size):
            events.progress(number, count, "validation")
            found.append(image_statistics(_parts(self._made(network, number, fabric.device), self._card)))
        return {DISTANCE: statistics_distance(np.stack(gathered(found, fabric)), self._reference()[0])}

    def draw(
        self, path: Path, network: nn.Module, shown: Mapping[str, Tensor], title: str, device: torch.device
    ) -> dict[str, float]:
        """Write the images of the fixed latents above samples of cases, and return how alike they are.

        With classes these are compared class by class, and the means over the classes returned: a generator that makes
        one image of each class has collapsed, however much the classes differ.
        """
        kinds = max(1, len(self._card["class_names"]))
        made = [_parts(self._made(network, number, device), self._card) for number in range(SHOWN * kinds)]
        real = self._reference()[1]
        in_turn = [group[place] for place in range(SHOWN) for group in real if place < len(group)]
        write_pair_grid(path, np.stack(made[:SHOWN]), np.stack(in_turn[:SHOWN]), title)
        found = [
            collapse_numbers(np.stack(made[number::kinds]), np.stack(group))
            for number, group in enumerate(real)
            if len(group) > 1
        ]
        names = [name for name in (found[0] if found else {}) if all(name in numbers for numbers in found)]
        return {name: float(np.mean([numbers[name] for numbers in found])) for name in names}

    def described(
        self, card: Mapping[str, Any], network: nn.Module, training: Sequence[Volume], device: torch.device
    ) -> dict[str, Any]:
        return dict(card)

    def _made(self, network: nn.Module, number: int, device: torch.device) -> NDArray[np.float32]:
        """Return the image (channels, ...) of one fixed latent; classes come in turn."""
        names = self._card["class_names"]
        kind = next(network.parameters()).dtype
        latent = draw_latents(self._card["latent_shape"], 1, SEED, device, first=number).to(kind)
        classes = torch.tensor([number % len(names)], device=device) if names else None
        with torch.no_grad():
            image: NDArray[np.float32] = network(latent, classes)[0].float().cpu().numpy()
        return image

    def _reference(self) -> tuple[NDArray[np.float64], list[list[NDArray[np.float32]]]]:
        """Statistics of the samples that are compared with, and by class the first as images; looked at once."""
        if self._known is None:
            assert self._source is not None
            statistics = []
            pictures: list[list[NDArray[np.float32]]] = [[] for _ in self._card["class_names"] or [""]]
            count = REFERENCES[len(self._card["size"])]
            samples = zip(self._source.spread(count), self._source.classes_of_spread(count), strict=True)
            for sample, number in samples:
                parts = _parts(sample, self._card)
                statistics.append(image_statistics(parts))
                if len(pictures[number]) < SHOWN:
                    pictures[number].append(parts)
            self._known = np.stack(statistics), pictures
        return self._known


def write_pair_grid(path: Path, made: NDArray[np.float32], real: NDArray[np.float32], title: str) -> None:
    """Write a PNG: images made from fixed latents above samples of cases; below each its mask over it, if any.

    Parameters
    ----------
    made, real
        (images, channels, rows, columns), or slices before the rows: of a volume its middle slice is shown, or the one
        that holds most of its mask.
    """
    rows = [(label, images, layer) for label, images in (("generated", made), ("real", real))
            for layer in range(made.shape[1])]  # fmt: skip
    columns = max(len(made), len(real))
    height = made.shape[-2] / made.shape[-1]
    inches = max(1.3, 0.9 / height)  # a row is at least as high as its name is long
    figure = Figure(figsize=(inches * columns + 0.4, inches * height * len(rows) + 0.4), dpi=100)
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    across, down = inches * columns / figure.get_figwidth(), inches * height * len(rows) / figure.get_figheight()
    axis = figure.add_axes((0.995 - across, 0.01, across, down))  # one for all: making axes takes longer than drawing
    axis.set_axis_off()
    for row, (label, images, layer) in enumerate(rows):
        axis.text(-0.03, row + 0.5, label if layer == 0 else "with mask", rotation=90, ha="right", va="center")
        for column, pair in enumerate(images):
            image, *mask = _slice_of(pair)
            place = (column, column + _TILE, row + _TILE, row)
            axis.imshow(image, cmap="gray", vmin=-1, vmax=1, extent=place, aspect="auto")
            if layer:
                over = np.ma.masked_less_equal((mask[0] + 1) / 2, 0.05)
                axis.imshow(over, cmap="autumn_r", vmin=0, vmax=1, alpha=0.5, extent=place, aspect="auto")
    axis.set(xlim=(0, columns), ylim=(len(rows), 0))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_whole(path, picture.getvalue())


def _slice_of(pair: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (channels, rows, columns) of one image, of a volume the slice with most mask, else the middle one."""
    if pair.ndim == 3:
        return pair
    number = pair.shape[1] // 2
    if len(pair) > 1:
        held = pair[1].mean(axis=(1, 2))
        number = int(held.argmax()) if held.max() > held.min() else number
    slices: NDArray[np.float32] = pair[:, number]
    return slices


def _parts(image: NDArray[np.float32], card: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return image and mask as channels, in whatever form the network has them."""
    return np.stack(np.split(image[0], 2)) if card["masks"] == "joined" else image
