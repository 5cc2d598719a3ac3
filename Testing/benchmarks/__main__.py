"""Run every benchmark, one process each, and exit with 1 where a figure is above its limit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    """Run ``bench_*.py``; their figures are in ``results/*.json`` afterwards."""
    missed = []
    for script in sorted(FOLDER.glob("bench_*.py")):
        print(f"== {script.stem}", flush=True)
        if subprocess.run([sys.executable, str(script)], check=False).returncode:
            missed.append(f"{script.stem} failed")
    for result in sorted((FOLDER / "results").glob("*.json")):
        content = json.loads(result.read_text(encoding="utf-8"))
        if not content.get("within_limits", True):
            missed.append(f"{result.stem} is above a limit")
    print("\n".join(missed) or "Every figure is within its limit.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
