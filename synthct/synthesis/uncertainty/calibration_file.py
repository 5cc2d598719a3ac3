"""``calibration.json`` beside a model: by what its standard deviations must be multiplied to be true to size.

A factor holds for one setting: these weights, these modes and planes, as many samples. Another setting has another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from synthct.errors import UserError
from synthct.synthesis.model_file import Model
from synthct.synthesis.uncertainty.estimate import DESCRIPTION, Spread, Uncertainty, planes_of
from synthct.whole_file import write_whole

FILE = "calibration.json"
_FORMAT = 1


def setting(models: Sequence[Model], uncertainty: Uncertainty, planes: Sequence[str] | None) -> dict[str, Any]:
    """What a factor depends on, as plain JSON values; the seed is not among it."""
    return {
        "weights_sha256": sorted(str(model.card.get("weights_sha256")) for model in models),
        "modes": sorted(uncertainty.modes),
        "samples": uncertainty.samples if "dropout" in uncertainty.modes else None,
        "flips": sorted(uncertainty.flips) if "flips" in uncertainty.modes else None,
        "planes": sorted({plane for model in models for plane in planes_of(model, uncertainty, planes)}),
    }


def stored_calibration(
    models: Sequence[Model], uncertainty: Uncertainty, planes: Sequence[str] | None
) -> dict[str, Any] | None:
    """Return what `store_calibration` wrote for this setting, from the folder of any of the models; None: nothing.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    wanted = setting(models, uncertainty, planes)
    for model in models:
        for entry in _read(model.folder):
            if entry.get("setting") == wanted:
                return entry
    return None


def store_calibration(
    models: Sequence[Model],
    uncertainty: Uncertainty,
    planes: Sequence[str] | None,
    content: Mapping[str, Any],
) -> Path:
    """Write ``content`` beside the first model; what stood there for the same setting is replaced.

    Parameters
    ----------
    content
        At least ``factor`` and ``measured_on``, in words.

    Raises
    ------
    UserError
        The model is not from a file, or its folder cannot be written.
    """
    folder = models[0].folder
    if folder is None:
        raise UserError("The model is not from a file.", "There is no place for its calibration.")
    wanted = setting(models, uncertainty, planes)
    others = [entry for entry in _read(folder) if entry.get("setting") != wanted]
    text = json.dumps({"format": _FORMAT, "calibrations": [*others, {"setting": wanted, **content}]}, indent=1)
    try:
        write_whole(folder / FILE, text)
    except OSError as error:
        raise UserError(f"{folder / FILE} cannot be written.", f"{error.strerror}.", "Copy the model first.") from error
    return folder / FILE


@dataclass(frozen=True)
class Deviation:
    """A standard deviation as it is given away: multiplied by the stored factor, if there is one."""

    image: sitk.Image
    """float32 HU."""
    predictions: int
    factor: float | None
    sentence: str
    """What the user is told of it."""

    def to_dict(self) -> dict[str, Any]:
        """What a result event tells."""
        return {"predictions": self.predictions, "factor": self.factor, "note": self.sentence}


def calibrated(
    spread: Spread, models: Sequence[Model], uncertainty: Uncertainty, planes: Sequence[str] | None
) -> Deviation:
    """Return the standard deviation of ``spread``, multiplied by the factor that was stored for this setting."""
    found = stored_calibration(models, uncertainty, planes)
    if found is None:
        sentence = "The standard deviation is as the predictions differ, not calibrated: see `synthct calibrate`."
        return Deviation(spread.deviation, spread.predictions, None, sentence)
    factor = float(found["factor"])
    image = sitk.Cast(spread.deviation * factor, sitk.sitkFloat32)
    image.SetMetaData("ITK_FileNotes", f"{DESCRIPTION}, times {factor:.3g} as calibrated")
    sentence = f"The standard deviation was multiplied by {factor:.2f}, as calibrated on {found['measured_on']}."
    return Deviation(image, spread.predictions, factor, sentence)


def _read(folder: Path | None) -> list[dict[str, Any]]:
    if folder is None or not (folder / FILE).is_file():
        return []
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if content["format"] > _FORMAT:
            raise UserError(f"{folder / FILE} is of format {content['format']}.", todo="Update SyntheticCT.")
        return [entry for entry in content["calibrations"] if entry["factor"] > 0 and entry["measured_on"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder / FILE} cannot be read.", f"{error}.", "Remove it, or run `synthct calibrate` again."
        ) from error
