"""Whole-volume synthesis ÷ the bare network forward on the same slices, same batch and threads; limit 1.15.

Synthesis is what `synthct.synthesis.files` does between reading and writing: the input is compared with the training
data on the way.

For the 3D baseline: seconds for a volume of 256³ voxels at its own window, and how many windows that are.
"""

from __future__ import annotations

import importlib
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from record import write_result

from synthct.networks.registry import build_network
from synthct.synthesis.device import choose_device
from synthct.synthesis.likeness.sampled_features import sampled_features
from synthct.synthesis.likeness.training_statistics import describe_features, describe_histograms, intensity_histogram
from synthct.synthesis.likeness.watch import Watch
from synthct.synthesis.model_file import Model
from synthct.synthesis.planes import input_blocks
from synthct.synthesis.translate import translate
from synthct.synthesis.windows import starts
from synthct.volumes.read import read_image
from synthct.volumes.write import write_image

SLICES, SIDE, REPEATS = 24, 256, 5
VOLUME, WINDOW = 256, (64, 160, 160)
"""Side of the 3D volume; window of the preset synthct-resenc-3d."""
FEATURES = {"cuda": "32-64-128-256-320-320", "cpu": "8-16-32-64-80-80"}
"""The preset's filters, and a quarter of them: two cores would need half an hour."""


def main() -> None:
    """Time both, one after the other, several times; the ratio is the median of the pairs' ratios."""
    mr = demo_mr()
    model = knowing(demo_model(), mr)
    blocks = [
        torch.from_numpy(np.ascontiguousarray(block))
        for _, block in input_blocks(
            sitk.GetArrayViewFromImage(mr), model.input_scaling.fit(sitk.GetArrayFromImage(mr)), 1, 1
        )
    ]

    def bare() -> None:
        with torch.inference_mode():
            for block in blocks:
                model.network(block)

    bare()
    ratios: dict[str, list[float]] = {"ratio": [], "ratio_body_mask": []}
    seconds: list[float] = []
    for _ in range(REPEATS):
        before = timed(bare)
        plain = timed(lambda: synthesised(mr, model))
        between = timed(bare)
        masked = timed(lambda: synthesised(mr, model, "auto"))
        after = timed(bare)
        ratios["ratio"].append(plain / ((before + between) / 2))
        ratios["ratio_body_mask"].append(masked / ((between + after) / 2))
        seconds.append(before)
    with tempfile.TemporaryDirectory() as folder:
        result = translate(mr, model, device="cpu")
        writing = timed(lambda: write_image(result, Path(folder) / "sct.nii.gz"))
        reading = timed(lambda: read_image(Path(folder) / "sct.nii.gz"))
    figures: dict[str, float | str] = {key: round(statistics.median(values), 4) for key, values in ratios.items()}
    figures |= volume_figures(VOLUME, WINDOW, FEATURES[choose_device().type])
    write_result(
        "synthesis",
        {
            **figures,
            "bare_forward_s": round(statistics.median(seconds), 3),
            "file_reading_s": round(reading, 3),
            "file_writing_s": round(writing, 3),
            "volume": f"{SIDE}×{SIDE}×{SLICES} int16, U-Net 24-48-96-192 with 3 slices, batch 1, mr-percentile scaling",
            "repeats": REPEATS,
        },
        {"ratio": 1.15},
    )


def synthesised(mr: sitk.Image, model: Model, mask: str | None = None) -> sitk.Image:
    """Translate on the CPU and judge whether the input is like the training data."""
    with Watch(model) as watch:
        return translate(mr, model, mask=mask, device="cpu", watch=watch)


def volume_figures(side: int, window: tuple[int, int, int], features: str) -> dict[str, float | str]:
    """Seconds that a 3D network takes for side³ voxels on the fastest device, once."""
    blocks = "-".join("136666"[: features.count("-") + 1])
    network = build_network({"name": "resenc-unet", "features": features, "blocks": blocks}, 1, 1, seed=0)
    card = {**demo_model().card, "neighbours": 0, "size": list(window), "planes": ["axial"]}
    model = Model(network.eval().requires_grad_(False), card)
    mr = demo_mr(side, side)
    chosen = choose_device()
    importlib.import_module("monai.inferers")  # once in a process, and not the volume's time
    windows = math.prod(len(starts(max(side, edge), edge)) for edge in window)
    return {
        "volume_3d_s": round(timed(lambda: translate(mr, model, device=chosen)), 1),
        "volume_3d": f"{side}³ int16, residual-encoder U-Net {features}, {windows} windows of "
        f"{'×'.join(map(str, window))}, {chosen}",
    }


def demo_model() -> Model:
    """A U-Net as wide as the demo's, with random weights."""
    network = build_network({"name": "unet", "width": "24-48-96-192", "upsampling": "bilinear"}, 3, 1, seed=0)
    card = {
        "name": "benchmark",
        "input_scaling": {"name": "mr-percentile"},
        "target_scaling": {"name": "ct-window"},
        "neighbours": 1,
        "planes": ["axial"],
        "statistics": {"spacing_mm": [[1.0, 1.0], [1.0, 1.0], [3.0, 3.0]]},
        "size": [SIDE, SIDE],
        "hu_range": [-1024, 2000],
    }
    return Model(network.eval().requires_grad_(False), card)


def knowing(model: Model, mr: sitk.Image) -> Model:
    """Return the model with statistics of training data in its card, so that inputs are compared with them."""
    volumes = [sitk.GetArrayFromImage(mr) * share for share in (0.98, 1.0, 1.02)]
    fitted = [model.input_scaling.fit(volume) for volume in volumes]
    histograms = [intensity_histogram(volume, None, scaling) for volume, scaling in zip(volumes, fitted, strict=True)]
    features = [
        sampled_features(model, volume, None, scaling, "cpu") for volume, scaling in zip(volumes, fitted, strict=True)
    ]
    known = {"histogram": describe_histograms(histograms), "features": describe_features(features)}
    assert all(known.values())
    return Model(model.network, {**model.card, "statistics": {**model.card["statistics"], **known}})


def demo_mr(slices: int = SLICES, side: int = SIDE) -> sitk.Image:
    """A noisy cylinder."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    rng = np.random.default_rng(0)
    body = np.where(y**2 + x**2 < 0.6, 900 + 300 * np.sin(9 * x), 10)
    image = sitk.GetImageFromArray((body + rng.normal(0, 9, (slices, side, side))).clip(0).astype(np.int16))
    image.SetSpacing((1.0, 1.0, 3.0))
    return image


def timed(action: Callable[[], object]) -> float:
    """Seconds that ``action`` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
