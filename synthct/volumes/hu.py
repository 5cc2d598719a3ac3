"""Hounsfield units that the whole package agrees on."""

from __future__ import annotations

AIR_HU = -1024
"""What lies outside a body or a scan."""

TISSUES: dict[str, tuple[float, float]] = {
    "air": (float("-inf"), -200.0),
    "soft": (-200.0, 250.0),
    "bone": (250.0, float("inf")),
}
"""Tissue class → HU range [low, high) that defines it in a CT. The limits are our reading: usual in sCT papers."""

FAT_HU = (-200.0, 0.0)
"""HU range [low, high) of fat inside the class ``soft`` (row B3)."""
