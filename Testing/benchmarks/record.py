"""Where a benchmark's figures go: one JSON file each, with the machine and the versions beside them."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, figures: dict[str, Any], limits: dict[str, float]) -> None:
    """Write ``results/NAME.json`` and print it; ``limits`` are upper limits of figures of the same name."""
    import torch

    content = {
        "benchmark": name,
        "figures": figures,
        "limits": limits,
        "within_limits": all(figures[key] <= limit for key, limit in limits.items()),
        "machine": {
            "date": time.strftime("%Y-%m-%d"),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "system": platform.system(),
            "load_average_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        },
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=2))
