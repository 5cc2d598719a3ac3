"""What is done to a CT before it is labelled (row B2): named steps, each of which can be left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.options import close_match
from synthct.volumes.geometry import array_of, image_from_array, resample_to_spacing
from synthct.volumes.hu import AIR_HU

PUBLISHED_SPACING = (0.48828125, 0.48828125, 1.0)
"""Voxel size in mm (x, y, z) of the Linköping thesis (section 3.2)."""
ARTEFACT_HU = 1900
"""Above: taken for metal or another artefact (section 3.2)."""
SOFT_TISSUE_HU = 50
"""What artefacts are set to: "the Hounsfield value of soft tissue"; the number is our reading."""
STEPS = {
    "scan-field": f"below {AIR_HU} HU, the padding outside the scan field, becomes air ({AIR_HU} HU)",
    "artefacts": f"above {ARTEFACT_HU} HU becomes soft tissue ({SOFT_TISSUE_HU} HU)",
    "resampling": "resampled linearly to the voxel size asked for",
    "rounding": "rounded to whole HU (int16): else hardly a voxel would be exactly 0, the class water",
}
"""Steps in their order, and what they do."""


@dataclass(frozen=True)
class Change:
    """What one step did."""

    step: str
    what: str
    voxels: int
    """How many voxels got another value; for ``resampling`` how many there are afterwards."""
    share: float
    """Of all voxels before the step."""


def preprocess(
    ct: sitk.Image, spacing: Sequence[float] | None = None, without: Collection[str] = ()
) -> tuple[sitk.Image, list[Change]]:
    """Bring a CT to the state in which it is labelled.

    Parameters
    ----------
    ct
        3D CT in HU: slope and intercept applied, as `synthct.volumes.read.read_image` gives it.
    spacing
        mm along x, y, z to resample to, for instance `PUBLISHED_SPACING`; None: its own grid.
    without
        Names of `STEPS` to leave out.

    Returns
    -------
    SimpleITK.Image, list of Change
        The CT, int16 unless ``rounding`` was left out (then float32), and what each step that was done changed.

    Raises
    ------
    UserError
        A step that does not exist, or a spacing that is none.
    """
    for step in without:
        if step not in STEPS:
            raise UserError(
                f"There is no step {step!r} of pre-processing.", close_match(step, STEPS), f"Known: {', '.join(STEPS)}."
            )
    changes: list[Change] = []
    hu = array_of(ct)
    if hu.dtype.kind != "f":
        hu = hu.astype(np.int32)

    def note(step: str, voxels: int, of: int) -> None:
        changes.append(Change(step, STEPS[step], voxels, round(voxels / of, 6)))

    for step, chosen, value in (
        ("scan-field", hu < AIR_HU, AIR_HU),
        ("artefacts", hu > ARTEFACT_HU, SOFT_TISSUE_HU),
    ):
        if step not in without:
            note(step, int(np.count_nonzero(chosen)), hu.size)
            hu[chosen] = value
    if spacing is not None and "resampling" not in without:
        before = hu.size
        hu_image = resample_to_spacing(image_from_array(hu.astype(np.float32), ct), spacing, "linear", AIR_HU)
        ct, hu = hu_image, array_of(hu_image)
        note("resampling", hu.size, before)
    if "rounding" in without:
        return image_from_array(hu.astype(np.float32), ct), changes
    whole = np.clip(np.rint(hu), -32768, 32767).astype(np.int16)
    note("rounding", int(np.count_nonzero(whole != hu)), hu.size)
    return image_from_array(whole, ct), changes


def as_log(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return what was changed as plain values for a log or an event."""
    return [asdict(change) for change in changes]
