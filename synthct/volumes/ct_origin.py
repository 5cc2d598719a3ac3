"""Which scanner, tube voltage and kernel a CT's HU come from, as far as its files tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOT_STATED = "not stated"
_SIDECAR = {
    "scanner": ("Manufacturer", "ManufacturersModelName"),
    "kv": ("KVP", "XRayTubeVoltage"),
    "kernel": ("ConvolutionKernel",),
}
_DICOM = {"scanner": ("Manufacturer", "ManufacturerModelName"), "kv": ("KVP",), "kernel": ("ConvolutionKernel",)}


def ct_origin(path: Path | str, series: str | None = None) -> dict[str, str]:
    """Return ``scanner``, ``kv`` and ``kernel`` of a CT, each ``"not stated"`` where nothing tells.

    Parameters
    ----------
    path
        A DICOM folder, or an image beside which a JSON file of the same name lies (as dcm2niix writes it).
    series
        SeriesInstanceUID in a DICOM folder that holds several.
    """
    path = Path(path)
    if path.is_dir():
        from pydicom import dcmread

        from synthct.volumes.dicom import choose_series

        tags = [tag for names in _DICOM.values() for tag in names]
        header = dcmread(choose_series(path, series).files[0], stop_before_pixels=True, specific_tags=tags)
        return {key: _joined([header.get(name) for name in names]) for key, names in _DICOM.items()}
    name = path.name
    stem = next((name[: -len(end)] for end in (".nii.gz", path.suffix) if end and name.endswith(end)), name)
    try:
        content = json.loads(path.with_name(f"{stem}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        return dict.fromkeys(_SIDECAR, NOT_STATED)
    return {key: _joined([content.get(name) for name in names]) for key, names in _SIDECAR.items()}


def _joined(values: list[Any]) -> str:
    words = [" ".join(map(str, value)) if isinstance(value, list) else str(value) for value in values if value]
    return " ".join(words).strip() or NOT_STATED
