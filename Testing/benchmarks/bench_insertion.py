"""Planting nodules in 512³: set-up, drawing a valid place, the nearest place, the proof that there is none.

Limit: a drawn place, its voxels on the grid included, takes at most 0.2 s. Also told as a ratio to one plain pass of
numpy over the label map in the same run (how many voxels are other tissue).
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import SimpleITK as sitk
from record import write_result

from synthct.labels.classes import read_class_table
from synthct.labels.ground import Ground, Rule
from synthct.labels.places import NoPlace, Search
from synthct.labels.template_shapes import Pose, offsets_on_grid

SIDE = 512
SPACING = (0.7, 0.7, 0.7)
DIAMETER_MM = 12.0
DRAWS = 20


def main() -> None:
    """Make a chest of two lungs with vessels, and draw."""
    labels = _chest()
    template = _ball(DIAMETER_MM)
    start = time.perf_counter()
    ground = Ground(labels, read_class_table("seven"))
    setup = time.perf_counter() - start
    passes = [_timed(lambda: np.count_nonzero(ground.labels == 0)) for _ in range(5)]
    draws, places = [], []
    for seed in range(DRAWS):
        start = time.perf_counter()
        offsets = offsets_on_grid(template, ground.grid, Pose(rotation=(10.0 * seed, 0, 0)))
        places.append(_timed(lambda: Search(ground, offsets).random(np.random.default_rng(seed))))  # noqa: B023
        draws.append(time.perf_counter() - start)
    offsets = offsets_on_grid(template, ground.grid)
    nearest = _timed(lambda: Search(ground, offsets).nearest(np.array([SIDE // 2] * 3)))
    strict = Ground(labels, read_class_table("seven"), Rule(share=1.0))  # no vessel at all: nowhere for a large one
    large = offsets_on_grid(template, strict.grid, Pose(scale=2.5))
    proof = _timed(lambda: _proven(Search(strict, large)))
    plain = statistics.median(passes)
    figures = {
        "set_up_s": round(setup, 2),
        "place_median_s": round(statistics.median(places), 4),
        "draw_median_s": round(statistics.median(draws), 4),
        "draw_slowest_s": round(max(draws), 4),
        "numpy_pass_s": round(plain, 4),
        "draw_to_pass_ratio": round(statistics.median(draws) / plain, 3),
        "nearest_from_the_middle_s": round(nearest, 3),
        "proof_of_no_place_s": round(proof, 3),
        "volume": f"{SIDE}³ voxels of {SPACING[0]} mm, nodule {DIAMETER_MM:g} mm, {len(offsets)} voxels",
    }
    write_result("insertion", figures, {"draw_slowest_s": 0.2})


def _chest() -> sitk.Image:
    """Seven classes: air around an elliptic body with fat, muscle and two lungs with vessels."""
    labels = np.empty((SIDE, SIDE, SIDE), np.uint8)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    body = np.where((x / 0.95) ** 2 + (y / 0.7) ** 2 < 1, 1, 6).astype(np.uint8)
    body[(x / 0.88) ** 2 + (y / 0.63) ** 2 < 1] = 3
    random = np.random.default_rng(0)
    for index, z in enumerate(np.linspace(-1, 1, SIDE)):
        labels[index] = body
        reach = np.sqrt(max(0.0, 1 - z**2))
        for side in (-1, 1):
            labels[index][((x - 0.42 * side) / 0.34) ** 2 + (y / 0.5) ** 2 < reach**2] = 0
        vessels = random.integers(0, SIDE, (400, 2))
        labels[index][vessels[:, 0], vessels[:, 1]] = 3
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(SPACING)
    return image


def _ball(diameter: float) -> sitk.Image:
    step, half = 0.7, 16
    axis = np.arange(-half, half + 1) * step
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    image = sitk.GetImageFromArray((x * x + y * y + z * z <= diameter**2 / 4).astype(np.uint8))
    image.SetSpacing((step,) * 3)
    image.SetOrigin((-half * step,) * 3)
    return image


def _timed(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


def _proven(search: Search) -> None:
    try:
        search.random(np.random.default_rng(0))
    except NoPlace:
        return
    raise SystemExit("a large nodule found a place without vessels")


if __name__ == "__main__":
    main()
