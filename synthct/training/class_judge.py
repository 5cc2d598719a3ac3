"""How a classifier of images is judged: the share of held-out cases whose class it finds."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from synthct.data.cache import Volume
from synthct.events import Events
from synthct.methods.classification import Classification
from synthct.recipe import Augmentation, Data
from synthct.synthesis.class_scores import class_probabilities
from synthct.training.judge import Criterion, Judge, Slab
from synthct.training.validation import gathered
from synthct.whole_file import write_whole

ACCURACY = "validation/accuracy"


class ClassJudge(Judge):
    """See `Judge`; the criterion is the share of validation cases whose class is found.

    Parameters
    ----------
    data
        The recipe's.
    """

    criterion = Criterion(ACCURACY, "accuracy", lower=False)

    def __init__(self, method: Classification, data: Data) -> None:
        self._classes = method.classes
        self._data = dataclasses.replace(data, augmentation=Augmentation())

    def validate(
        self, network: nn.Module, cases: Sequence[tuple[Volume, Slab]], fabric: Fabric, events: Events
    ) -> dict[str, float]:
        """Return `ACCURACY`, the mean over the classes of each one's share, and the mean cross-entropy.

        Several processes share the cases.
        """
        found = []
        for number in range(fabric.global_rank, len(cases), fabric.world_size):
            events.progress(number, len(cases), "validation")
            volume = cases[number][0]
            truth = self._classes.index(str(getattr(volume, self._data.class_of)))
            found.append((truth, class_probabilities(network, volume, self._data, fabric.device)))
        found = gathered(found, fabric)
        truths = np.array([truth for truth, _ in found])
        shares = np.stack([share for _, share in found])
        right = shares.argmax(axis=1) == truths
        return {
            ACCURACY: float(right.mean()),
            "validation/balanced_accuracy": float(np.mean([right[truths == one].mean() for one in np.unique(truths)])),
            "validation/cross_entropy": float(-np.log(np.maximum(shares[range(len(truths)), truths], 1e-12)).mean()),
        }

    def draw(
        self, path: Path, network: nn.Module, shown: Mapping[str, Tensor], title: str, device: torch.device
    ) -> dict[str, float]:
        """Write a PNG: images with their class and what the network makes of them."""
        images = shown["target"]
        kind = next(network.parameters()).dtype
        with torch.no_grad():
            shares = network(images.to(device, kind)).softmax(dim=1).float().cpu().numpy()
        figure = Figure(figsize=(2.6 * len(images), 3.2), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title)
        axes = figure.subplots(1, len(images), squeeze=False)[0]
        truths = shown["class"].tolist()
        for axis, image, truth, share in zip(axes, images.float().numpy(), truths, shares, strict=True):
            flat = image[0] if image.ndim == 3 else image[0, image.shape[1] // 2]
            found = int(share.argmax())
            axis.imshow(flat, cmap="gray", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.set_title(
                f"is {self._classes[truth]}\nfound {self._classes[found]} ({100 * share[found]:.0f} %)",
                fontsize=8,
                color="black" if found == truth else "red",
            )
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        write_whole(path, picture.getvalue())
        return {}

    def described(
        self, card: Mapping[str, Any], network: nn.Module, training: Sequence[Volume], device: torch.device
    ) -> dict[str, Any]:
        return dict(card)
