"""Numbers for readers and for JSON, which knows neither NaN nor infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthct.whole_file import write_whole


def without_nan(value: Any) -> Any:
    """Return plain JSON values: NaN as None, infinity as the text "inf"."""
    if isinstance(value, dict):
        return {name: without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def number_text(value: float | None) -> str:
    """A score as a reader wants it: four digits, a dash where it is not defined."""
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


def counted(number: int, what: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write plain values as JSON."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
