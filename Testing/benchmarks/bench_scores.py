"""All scores of a 512×512×300 pair: peak memory in float32 copies of a volume; and their time against plain calls.

Limits: 8 copies; SSIM takes no longer than scikit-image's, MS-SSIM no longer than its definition written with SciPy's
filters on whole volumes, MAE no longer than NumPy's one line; gamma no longer than pymedphys alone. The ratios are of
one run, on smaller volumes, the better of three times each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import SimpleITK as sitk
from bench_memory import _highest
from record import write_result
from scipy.ndimage import uniform_filter

from synthct.evaluation.dose.gamma import gamma
from synthct.evaluation.images.pair import make_pair
from synthct.evaluation.images.scores import scores_of
from synthct.evaluation.images.structural import SCALE_WEIGHTS, msssim_synthrad2025, ssim_synthrad2023
from synthct.evaluation.images.voxelwise import mae
from synthct.volumes.read import read_image

LARGE = (300, 512, 512)
SMALL = (100, 256, 256)
DOSE = (30, 60, 60)
SPAN_2023, SPAN_2025 = 4024, 4095


def main() -> None:
    """Measure memory in a child process, then the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, array in zip(("reference", "synthetic", "mask"), _pair(LARGE), strict=True):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{part}.nii"))
        answer = subprocess.run([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True, check=True)
        large = json.loads(answer.stdout.splitlines()[-1])
    reference, synthetic, mask = _pair(SMALL)
    inside = mask > 0
    first, second = (np.clip(array, -1024, 3000).astype(np.float32) + 1024 for array in (reference, synthetic))
    figures: dict[str, Any] = {
        "copies": round(large["peak"] / (4 * np.prod(LARGE)), 2),
        "large_s": round(large["seconds"], 1),
        "mae_ratio": _ratio(
            lambda: mae(reference, synthetic, inside),
            lambda: np.abs(synthetic[inside].astype(np.float64) - reference[inside].astype(np.float64)).mean(),
        ),
        "ssim_ratio": _ratio(lambda: ssim_synthrad2023(reference, synthetic), lambda: _scikit_image(first, second)),
        "msssim_ratio": _ratio(
            lambda: msssim_synthrad2025(reference, synthetic), lambda: _plain_msssim(reference, synthetic)
        ),
        "gamma_ratio": _gamma_ratio(),
    }
    limits = {"copies": 8.0, "mae_ratio": 1.1, "ssim_ratio": 1.0, "msssim_ratio": 1.0, "gamma_ratio": 1.05}
    write_result("scores", figures, limits)


def _pair(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    body = (y**2 + x**2 < 0.7).astype(np.uint8)
    reference, synthetic, mask = (np.empty(shape, kind) for kind in (np.int16, np.int16, np.uint8))
    for place in range(shape[0]):
        reference[place] = np.where(body, 300 * np.sin(7 * x + place / 9), -1000)
        synthetic[place] = reference[place] + random.normal(0, 40, body.shape)
        mask[place] = body
    return reference, synthetic, mask


def _scikit_image(first: np.ndarray, second: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    return float(structural_similarity(first, second, data_range=SPAN_2023))


def _plain_msssim(reference: np.ndarray, synthetic: np.ndarray) -> float:
    """The definition on whole volumes: five scales, local moments by SciPy's uniform filter."""
    images = [np.clip(array, -1024, 3071).astype(np.float32) + 1024 for array in (reference, synthetic)]
    one, two = (0.01 * SPAN_2025) ** 2, (0.03 * SPAN_2025) ** 2
    product = 1.0
    for weight in SCALE_WEIGHTS:
        first, second = images
        means = [uniform_filter(image, 7) for image in images]
        spread = [uniform_filter(a * a, 7) - b * b for a, b in zip(images, means, strict=True)]
        together = uniform_filter(first * second, 7) - means[0] * means[1]
        deviations = np.sqrt(np.maximum(spread[0], 0)) * np.sqrt(np.maximum(spread[1], 0))
        luminance = (2 * means[0] * means[1] + one) / (means[0] ** 2 + means[1] ** 2 + one)
        contrast = (2 * deviations + two) / (spread[0] + spread[1] + two)
        structure = (together + two / 2) / (deviations + two / 2)
        product *= float(np.prod([np.maximum(t, 0) ** weight for t in (luminance, contrast, structure)], axis=0).mean())
        images = [uniform_filter(image, 2)[::2, ::2, ::2] for image in images]
    return product


def _gamma_ratio() -> float:
    """Ours with its reading of grids, against pymedphys called with the same arrays and options."""
    import pymedphys

    from synthct.evaluation.dose.gamma import CAP, _interpolation

    z, y, x = np.mgrid[: DOSE[0], : DOSE[1], : DOSE[2]].astype(np.float64)
    dose = 60 * np.exp(-(((z - 15) / 9) ** 2 + ((y - 30) / 15) ** 2 + ((x - 30) / 15) ** 2))
    images = [sitk.GetImageFromArray(array.astype(np.float32)) for array in (dose, dose * 1.02)]
    for image in images:
        image.SetSpacing((2, 2, 2))
    axes = tuple(np.arange(side) * 2.0 for side in DOSE)
    doses = [sitk.GetArrayFromImage(image).astype(np.float64) for image in images]

    def alone() -> Any:
        return pymedphys.gamma(
            axes, doses[0], axes, doses[1], 2, 2, lower_percent_dose_cutoff=10, max_gamma=CAP,
            interp_algo=_interpolation(),
        )  # fmt: skip

    return _ratio(lambda: gamma(images[0], images[1], 2, 2), alone)


def _ratio(ours: Callable[[], Any], plain: Callable[[], Any]) -> float:
    ours(), plain()
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(3):
        for name, call in (("ours", ours), ("plain", plain)):
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return round(min(times["ours"]) / min(times["plain"]), 3)


def _run(folder: Path) -> None:
    """In the child: score the large pair from its files, and print by how much memory grew at most."""
    idle, start = psutil.Process().memory_info().rss, time.perf_counter()
    images = [read_image(folder / f"{part}.nii") for part in ("reference", "synthetic", "mask")]
    pair = make_pair(*images)
    del images
    scores_of(pair)
    print(json.dumps({"peak": _highest() - idle, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    _run(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
