"""Second Apply with the same model at 256³: request written → first progress event, with a real warm worker."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from record import write_result

from synthct.events import read_events
from synthct.networks.registry import build_network
from synthct.synthesis.model_file import save_model

SIDE, REPEATS = 256, 3


def main() -> None:
    """Start a worker, send the same request several times, and look at the times of its events."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_model_and_input(folder)
        started = time.time()
        words = [sys.executable, "-m", "synthct", "worker", "--folder", str(folder / "worker")]
        worker = subprocess.Popen(words)
        try:
            while not (folder / "worker" / "state.json").exists():
                time.sleep(0.01)
            ready = time.time() - started
            first = _request(folder, 0)
            later = [_request(folder, number) for number in range(1, REPEATS + 1)]
        finally:
            worker.kill()
            worker.wait()
    figures = {key: round(statistics.median(run[key] for run in later), 3) for key in later[0]}
    write_result(
        "worker",
        {
            **{f"second_{key}": value for key, value in figures.items()},
            **{f"first_{key}": round(value, 3) for key, value in first.items()},
            "worker_start_s": round(ready, 3),
            "volume": f"{SIDE}³ int16, uncompressed NRRD, U-Net 8-16-32, one plane, air outside the body, CPU",
        },
        {"second_first_progress_s": 1.0},
    )


def _write_model_and_input(folder: Path) -> None:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    body = np.where(y**2 + x**2 < 0.6, 900 + 300 * np.sin(9 * x), 10)
    noise = np.random.default_rng(0).normal(0, 9, (SIDE, SIDE, SIDE))
    image = sitk.GetImageFromArray((body + noise).clip(0).astype(np.int16))
    sitk.WriteImage(image, str(folder / "mr.nrrd"))
    network = {"name": "unet", "width": "8-16-32"}
    card = {
        "name": "benchmark",
        "network": network,
        "in_channels": 1,
        "out_channels": 1,
        "input_scaling": {"name": "mr-percentile"},
        "target_scaling": {"name": "ct-window"},
        "size": [SIDE, SIDE],
        "hu_range": [-1024, 2000],
    }
    save_model(folder / "model", build_network(network, 1, 1, seed=0), card)


def _request(folder: Path, number: int) -> dict[str, float]:
    """Send one request; return seconds from the click to what a user sees."""
    events = folder / f"{number}.jsonl"
    options: dict[str, Any] = {
        "model": str(folder / "model"),
        "input": str(folder / "mr.nrrd"),
        "output": str(folder / f"sct_{number}.nrrd"),
        "mask": "auto",
        "device": "cpu",
    }
    clicked = time.time()
    aside = folder / f"{number}.part"
    aside.write_text(json.dumps({"verb": "synthesize", "options": options, "events": str(events)}))
    aside.rename(folder / "worker" / "requests" / f"{number}.json")
    while True:
        seen = read_events(events)[0]
        if seen and seen[-1]["kind"] == "error":
            raise SystemExit(seen[-1]["what"])
        if seen and seen[-1]["kind"] == "result":
            break
        time.sleep(0.02)
    progress = [event for event in seen if event["kind"] == "progress"]
    slices = [event for event in progress if event["task"] == "synthesis" and event["done"] > 0]
    return {
        "first_progress_s": progress[0]["time"] - clicked,
        "first_slices_done_s": slices[0]["time"] - clicked,
        "result_s": seen[-1]["time"] - clicked,
    }


if __name__ == "__main__":
    main()
