"""A CT after a nodule was planted: only what changed, against the whole volume synthesised anew, on one thread.

Limit: the part takes at most a fifth of the whole. Widths and sizes are those of the preset synthct-labels-unet,
untrained; the volume is a chest of 256 × 256 × 100 voxels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from record import write_result

from synthct.methods.method import Method
from synthct.methods.registry import build_method
from synthct.recipe import Recipe, load_recipe
from synthct.synthesis.local_update import local_update
from synthct.synthesis.model_file import Model
from synthct.synthesis.translate import translate
from synthct.training.model_card import model_card

SHAPE = (100, 256, 256)
SPACING = (1.4, 1.4, 2.5)
RADIUS_MM = 6.0


def main() -> None:
    """Plant a ball into a lung, and time both ways."""
    torch.set_num_threads(1)
    recipe = load_recipe("synthct-labels-unet", {"spacing": "null"})
    method = build_method(recipe)
    model = Model(method.networks["generator"].eval(), _card(recipe, method))
    before, after = (_image(array) for array in _chest())
    previous = translate(before, model, device="cpu")
    whole = _timed(lambda: translate(after, model, device="cpu"))
    part = _timed(lambda: local_update(before, after, previous, model, device="cpu"))
    figures = {
        "whole_s": round(whole, 2),
        "part_s": round(part, 2),
        "ratio": round(part / whole, 3),
        "volume": f"{'×'.join(map(str, reversed(SHAPE)))} voxels, nodule {2 * RADIUS_MM:g} mm",
    }
    write_result("local_update", figures, {"ratio": 0.2})


def _card(recipe: Recipe, method: Method) -> dict[str, Any]:
    """Return the card of a model that has seen nothing, with no statistics."""
    volume = _Nothing()
    return {**model_card(recipe, method, [volume]), "statistics": {}}  # type: ignore[list-item]


class _Nothing:
    """A training volume of one class."""

    spacing = SPACING
    shape = (2, 2, 2)
    mask = np.ones((2, 2, 2), np.uint8)
    ct = np.zeros((2, 2, 2), np.int16)
    input = np.zeros((2, 2, 2), np.uint8)


def _chest() -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij", sparse=True)
    labels = np.full(SHAPE, 6, np.uint8)
    labels[np.broadcast_to((y / 0.7) ** 2 + (x / 0.9) ** 2 < 1, SHAPE)] = 3
    for side in (-0.45, 0.45):
        labels[((z / 0.8) ** 2 + (y / 0.5) ** 2 + ((x - side) / 0.35) ** 2) < 1] = 0
    planted = labels.copy()
    millimetres = [np.arange(n) * step for n, step in zip(SHAPE, reversed(SPACING), strict=True)]
    centre = (SHAPE[0] // 2 * SPACING[2], SHAPE[1] // 2 * SPACING[1], SHAPE[2] * 0.27 * SPACING[0])
    planted[sum((axis - at) ** 2 for axis, at in zip(np.ix_(*millimetres), centre, strict=True)) < RADIUS_MM**2] = 5
    return labels, planted


def _image(array: np.ndarray) -> sitk.Image:
    """Return an array as an image with the chest's spacing."""
    found = sitk.GetImageFromArray(array)
    found.SetSpacing(SPACING)
    return found


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
