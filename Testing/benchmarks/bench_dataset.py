"""A data set of 128³ cubes, one process on one thread: volumes a minute, against the bare synthesis of the same cubes.

Limit: drawing, planting and writing make a volume at most half as slow again as its synthesis alone. What the network
sees around the cubes (`Plan.context_mm`) is told apart, as ``ratio_with_context``: it is synthesis too. Widths and
sizes are those of the preset synthct-labels-unet, untrained; the cases are chests of 256 × 256 × 160 voxels.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from record import write_result

from synthct.data.cohort import Case, Cohort
from synthct.labels.dataset_cubes import Plan
from synthct.labels.dataset_sources import training_sources
from synthct.labels.templates import Template
from synthct.methods.method import Method
from synthct.methods.registry import build_method
from synthct.recipe import Recipe, load_recipe
from synthct.synthesis.dataset.making import make_dataset
from synthct.synthesis.model_file import Model
from synthct.synthesis.translate import translate
from synthct.training.model_card import model_card

SHAPE = (160, 256, 256)
SPACING = (1.4, 1.4, 1.6)
CASES, COUNT = 2, 6
RADIUS_MM = 6.0


def main() -> None:
    """Make the data set, and then its CTs alone."""
    torch.set_num_threads(1)
    recipe = load_recipe("synthct-labels-unet", {"spacing": "null"})
    method = build_method(recipe)
    model = Model(method.networks["generator"].eval(), _card(recipe, method))
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        cases = tuple(_case(folder, number) for number in range(CASES))
        sources = training_sources(Cohort(cases, folder), [_ball()])
        with_context = _timed(
            lambda: make_dataset(model, sources, folder / "wide", COUNT, Plan(), device="cpu", workers=1)
        )
        narrow = Plan(context_mm=0)
        whole = _timed(lambda: make_dataset(model, sources, folder / "out", COUNT, narrow, device="cpu", workers=1))
        cubes = [sitk.ReadImage(str(path)) for path in sorted((folder / "out" / "labels").glob("*.nii.gz"))]
        bare = _timed(lambda: [translate(cube, model, device="cpu") for cube in cubes])
    figures = {
        "volumes_per_minute": round(60 * COUNT / with_context, 2),
        "without_context_per_minute": round(60 * COUNT / whole, 2),
        "synthesis_alone_per_minute": round(60 * COUNT / bare, 2),
        "ratio": round(whole / bare, 3),
        "ratio_with_context": round(with_context / bare, 3),
        "volume": f"128³ voxels, {COUNT} of {CASES} cases of {'×'.join(map(str, reversed(SHAPE)))}",
    }
    write_result("dataset", figures, {"ratio": 1.5})


def _card(recipe: Recipe, method: Method) -> dict[str, Any]:
    """Return the card of a model that has seen nothing, with no statistics."""
    volume = _Nothing()
    return {**model_card(recipe, method, [volume]), "statistics": {}, "weights_sha256": ""}  # type: ignore[list-item]


class _Nothing:
    """A training volume of one class."""

    spacing = SPACING
    shape = (2, 2, 2)
    mask = np.ones((2, 2, 2), np.uint8)
    ct = np.zeros((2, 2, 2), np.int16)
    input = np.zeros((2, 2, 2), np.uint8)


def _case(folder: Path, number: int) -> Case:
    """Write the label map of a chest with vessels; nobody reads its CT."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij", sparse=True)
    labels = np.full(SHAPE, 6, np.uint8)
    labels[np.broadcast_to((y / 0.7) ** 2 + (x / 0.9) ** 2 < 1, SHAPE)] = 3
    for side in (-0.45, 0.45):
        labels[((z / 0.9) ** 2 + (y / 0.5) ** 2 + ((x - side) / 0.35) ** 2) < 1] = 0
    vessels = np.random.default_rng(number).integers(0, SHAPE, (20_000, 3))
    labels[tuple(vessels[labels[tuple(vessels.T)] == 0].T)] = 3
    path = folder / f"p{number}_labels.nii.gz"
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))
    return Case(f"p{number}", None, folder / f"p{number}_CT.nii.gz", labels=path)


def _ball() -> Template:
    half = 9
    axis = np.arange(-half, half + 1.0)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    image = sitk.GetImageFromArray((x * x + y * y + z * z <= RADIUS_MM**2).astype(np.uint8))
    image.SetOrigin((-half,) * 3)
    return Template("ball", image, {})


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
