"""Features of many volumes: memory does not grow with their number, a second look takes no time; and the FID itself.

Limits: the memory for four times as many volumes at most 1.1 times that for few; looking again at what is kept at most
a tenth of the first time; a Fréchet distance no slower than by SciPy's root of a matrix (512 features), and one of few
samples with 2048 features no slower than a tenth of it. The ratios are of one run.
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
from scipy import linalg

from synthct.evaluation.distribution.distances import frechet_distance
from synthct.evaluation.distribution.scores import in_their_span

SHAPE = (96, 256, 256)
FEW, MANY = 3, 12


def main() -> None:
    """Measure each number of volumes in a child process of its own, then the ratios."""
    random = np.random.default_rng(0)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(MANY):
            hu = random.integers(-1000, 600, SHAPE, np.int16)
            sitk.WriteImage(sitk.GetImageFromArray(hu), str(Path(name) / f"volume_{number:02d}.nii"))
        for count in (FEW, MANY):
            call = [sys.executable, __file__, name, str(count)]
            answer = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
            found[count] = json.loads(answer.stdout.splitlines()[-1])
    wide = random.standard_normal((1200, 512)), random.standard_normal((1200, 512))
    few = random.standard_normal((60, 2048)), random.standard_normal((60, 2048))
    figures: dict[str, Any] = {
        "memory_ratio": round(found[MANY]["peak"] / found[FEW]["peak"], 3),
        "again_ratio": round(found[MANY]["again"] / found[MANY]["seconds"], 3),
        "seconds_per_volume": round(found[MANY]["seconds"] / MANY, 2),
        "fid_ratio": _ratio(lambda: frechet_distance(*wide), lambda: _by_root(*wide)),
        "fid_of_few_ratio": _ratio(lambda: frechet_distance(*in_their_span(*few)), lambda: _by_root(*few)),
    }
    write_result(
        "distribution", figures, {"memory_ratio": 1.1, "again_ratio": 0.1, "fid_ratio": 1.0, "fid_of_few_ratio": 0.1}
    )


def _by_root(a: np.ndarray, b: np.ndarray) -> float:
    """The distance as it is usually computed."""
    one, other = np.cov(a.T), np.cov(b.T)
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(apart + np.trace(one + other) - 2 * np.trace(np.real(linalg.sqrtm(one @ other))))


def _ratio(ours: Callable[[], Any], plain: Callable[[], Any]) -> float:
    times = []
    for call in (ours, plain):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return round(times[0] / times[1], 4)


def _run(folder: Path, count: int) -> None:
    """In the child: look at the first ``count`` volumes, then again, and print by how much memory grew at most."""
    import torch

    from synthct.data.cohort import Case, Cohort
    from synthct.synthesis.feature_models import open_features
    from synthct.synthesis.feature_set import features_of

    model = open_features("statistics", None, None, False, None)
    paths = sorted(folder.glob("*.nii"))[:count]
    cohort = Cohort(tuple(Case(path.stem, None, path) for path in paths), folder)
    idle = psutil.Process().memory_info().rss
    with tempfile.TemporaryDirectory() as kept:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            features_of(cohort, model, "images", torch.device("cpu"), Path(kept))
            times.append(time.perf_counter() - start)
    print(json.dumps({"peak": _highest() - idle, "seconds": times[0], "again": times[1]}))


if __name__ == "__main__":
    _run(Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 1 else main()
