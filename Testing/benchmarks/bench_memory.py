"""Peak memory of synthesising 512×512×400 on the CPU, above the idle process with the model loaded.

Limits: 2.5 × the input's float32 size + the workspace of one tile for one plane, 4 × with fusion, mask and N4.
Each case runs in a process of its own, from file to file; the peak is what the system reports for that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk
import torch
from record import write_result

from synthct.networks.registry import build_network
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.model_file import load_model, save_model

SHAPE = (400, 512, 512)
TILE = 256
FLOAT32_BYTES = 4 * SHAPE[0] * SHAPE[1] * SHAPE[2]
FUSED = ["axial", "coronal", "sagittal"]
CASES: dict[str, tuple[str, str, list[str], str | None]] = {
    # name: file type, model, planes, mask
    "one_plane_float32": ("float32", "fixed", ["axial"], None),
    "one_plane_int16_fitted_scaling": ("int16", "fitted", ["axial"], None),
    "fused_mask_n4_float32": ("float32", "n4", FUSED, "auto"),
}


def main() -> None:
    """Make inputs and models, run each case in a child process."""
    figures: dict[str, float | str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_inputs(folder)
        workspace = _child(folder, "tile")["peak"]
        for case in CASES:
            answer = _child(folder, case)
            allowance = 0 if "fused" in case else workspace
            figures[f"{case}_ratio"] = round((answer["peak"] - allowance) / FLOAT32_BYTES, 3)
            figures[f"{case}_s"] = round(answer["seconds"], 1)
            print(case, figures[f"{case}_ratio"], flush=True)
            (folder / "sct.nii").unlink()
    figures["tile_workspace_MiB"] = round(workspace / 2**20, 1)
    figures["input_float32_MiB"] = round(FLOAT32_BYTES / 2**20, 1)
    figures["network"] = f"U-Net 4-8, tiles {TILE}×{TILE}, batch 1"
    limits = {f"{case}_ratio": 4.0 if "fused" in case else 2.5 for case in CASES}
    write_result("memory", figures, limits)


def _write_inputs(folder: Path) -> None:
    y, x = np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    rng = np.random.default_rng(0)
    body = np.where(y**2 + x**2 < 0.6, 900 + 300 * np.sin(9 * x), 10)
    array = np.empty(SHAPE, np.int16)
    for plane in array:
        plane[...] = (body + rng.normal(0, 9, body.shape)).clip(0)
    for kind in ("int16", "float32"):
        image = sitk.GetImageFromArray(array.astype(kind))
        image.SetSpacing((0.8, 0.8, 1.0))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        sitk.WriteImage(image, str(folder / f"{kind}.nii"))
    network = {"name": "unet", "width": "4-8"}
    card = {
        "name": "benchmark",
        "network": network,
        "in_channels": 1,
        "out_channels": 1,
        "target_scaling": {"name": "ct-window"},
        "size": [TILE, TILE],
        "hu_range": [-1024, 2000],
        "planes": FUSED,
    }
    fitted, fixed = {"name": "mr-percentile"}, {"name": "umea-mr"}
    for model, scaling, corrected in (("fixed", fixed, False), ("fitted", fitted, False), ("n4", fitted, True)):
        content = {**card, "input_scaling": scaling, "bias_correction": corrected}
        save_model(folder / model, build_network(network, 1, 1, seed=0), content)


def _child(folder: Path, case: str) -> dict[str, float]:
    words = [sys.executable, __file__, str(folder), case]
    answer = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def _run(folder: Path, case: str) -> None:
    """In the child: load the model, note the memory, work, and print by how much it grew at most."""
    kind, model_name, planes, mask = CASES.get(case, ("", "fixed", [], None))
    model = load_model(folder / model_name)
    idle, start = psutil.Process().memory_info().rss, time.perf_counter()
    if case == "tile":
        with torch.inference_mode():
            model.network(torch.zeros(1, 1, TILE, TILE))
    else:
        synthesize_file(model, folder / f"{kind}.nii", folder / "sct.nii", mask=mask, planes=planes, device="cpu")
    print(json.dumps({"peak": _highest() - idle, "seconds": time.perf_counter() - start}))


def _highest() -> int:
    """Highest resident memory of this process in bytes. (On Linux, getrusage would also count the parent's.)"""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 1 else main()
