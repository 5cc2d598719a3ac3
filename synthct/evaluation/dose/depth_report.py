"""Water-equivalent depths of a CT, and of a synthetic CT beside it, over several beam directions, as one report."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk

from synthct.errors import UserError
from synthct.evaluation.dose.depth_plot import REFERENCE, SYNTHETIC, depth_picture
from synthct.evaluation.dose.water_equivalent import (
    DepthProfile,
    PathDifference,
    body_centre,
    common_body,
    depth_profile,
    path_difference,
)
from synthct.events import SILENT, Events
from synthct.volumes.body import body_mask
from synthct.volumes.density import QUANTITIES, DensityTable, density_image
from synthct.volumes.geometry import Triple, resample_onto, same_grid
from synthct.volumes.hu import AIR_HU

CONVENTION = (
    "Gantry angles are IEC 61217's for a patient head first and supine: 0° from the front, 90° from the patient's left."
)
DEFINITION = (
    "Per ray: integral of the density relative to water over the body, synthetic CT − CT, in mm; over all parallel "
    "rays that run through 5 mm of body or more."
)


@dataclass(frozen=True)
class DepthReport:
    """Curves through one point and, with a synthetic CT, differences over all rays, per angle."""

    profiles: list[DepthProfile]
    differences: list[PathDifference]
    point: Triple
    quantity: str
    table: str
    names: tuple[str, str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the curves' samples and the maps, as plain values."""
        angles: dict[str, Any] = {}
        for profile in self.profiles:
            angles[f"{profile.angle:g}"] = {
                "central_ray": {
                    "depth_mm": round(float(profile.depth_mm[-1]), 3),
                    **{f"{name} water-equivalent_mm": round(float(w[-1]), 3) for name, w in profile.water_mm.items()},
                }
            }
        for difference in self.differences:
            numbers = difference.numbers()
            angles[f"{difference.angle:g}"]["all_rays"] = {
                name: value if name == "rays" else None if math.isnan(value) else round(value, 3)
                for name, value in numbers.items()
            }
        return {
            "ct": self.names[0],
            **({"synthetic": self.names[1]} if self.differences else {}),
            "quantity": self.quantity,
            "table": self.table,
            "point_lps_mm": [round(value, 3) for value in self.point],
            "angles": angles,
            "notes": self.notes,
            "definitions": {"angles": CONVENTION, **({"all_rays": DEFINITION} if self.differences else {})},
        }

    def csv(self) -> str:
        """The curves, one line per angle and sample."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        names = list(self.profiles[0].water_mm)
        writer.writerow(["angle_degrees", "depth_mm", *(f"{name.replace(' ', '_')}_water_mm" for name in names)])
        for profile in self.profiles:
            for row in zip(profile.depth_mm, *(profile.water_mm[name] for name in names), strict=True):
                writer.writerow([f"{profile.angle:g}", *(f"{value:.3f}" for value in row)])
        return text.getvalue()

    def picture(self) -> bytes:
        """PNG, one row per angle."""
        where = ", ".join(f"{value:.0f}" for value in self.point)
        title = f"Water-equivalent depth through ({where}) mm LPS"
        return depth_picture(self.profiles, self.differences, QUANTITIES[self.quantity], title)

    def text(self) -> str:
        """The numbers for a terminal."""
        lines = [f"Water-equivalent depth by {QUANTITIES[self.quantity]}, {self.table}.", CONVENTION]
        for profile in self.profiles:
            ends = ", ".join(f"{name} {water[-1]:.1f} mm" for name, water in profile.water_mm.items())
            lines.append(f"  {profile.angle:5g}°  central ray: {profile.depth_mm[-1]:.1f} mm of body, {ends}")
        for difference in self.differences:
            n = difference.numbers()
            lines.append(
                f"  {difference.angle:5g}°  {n['rays']} rays, synthetic − CT: mean {n['mean_mm']:+.2f} mm, "
                f"SD {n['sd_mm']:.2f} mm, largest {n['max_abs_mm']:.2f} mm"
            )
        return "\n".join(lines)


def compare_depths(
    ct: sitk.Image,
    synthetic: sitk.Image | None,
    table: DensityTable,
    quantity: str = "stopping_power_ratio",
    angles: Sequence[float] = (0, 90, 180, 270),
    point: Triple | None = None,
    mask: sitk.Image | None = None,
    ray_mm: float | None = None,
    names: tuple[str, str] = ("the CT", "the synthetic CT"),
    events: Events = SILENT,
) -> DepthReport:
    """Integrate densities along beams through the body.

    Parameters
    ----------
    ct, synthetic
        HU; a synthetic CT on another grid is resampled onto the CT's (linear), and only where both reach is compared.
    table, quantity
        What HU are turned into.
    angles
        Gantry angles, see `synthct.evaluation.dose.water_equivalent`.
    point
        LPS mm of the central ray; None: the body's centre.
    mask
        The body; None: what belongs to the body in either CT, so that a skin that lies elsewhere counts too.
    ray_mm
        Distance of the rays of the comparison.

    Raises
    ------
    UserError
        No body, a ray that misses it, or two CTs that do not overlap.
    """
    notes: list[str] = []
    covered = [] if synthetic is None else [synthetic]
    bodies = [mask] if mask else [body_mask(image, "ct") for image in (ct, synthetic) if image is not None]
    body = common_body(ct, bodies, covered)
    if not sitk.GetArrayViewFromImage(body).any():
        raise UserError(
            f"There is no body where {' and '.join(names[: 1 + len(covered)])} reach.",
            "They lie in different places, or the mask does.",
            "Give images in one frame of reference.",
        )
    if synthetic is not None and not same_grid(ct, synthetic):
        synthetic = resample_onto(synthetic, ct, "linear", AIR_HU)
        notes.append("The synthetic CT was on another grid and was resampled onto the CT's (linear).")
    densities = {REFERENCE: density_image(ct, table, quantity, events, names[0])}
    if synthetic is not None:
        densities[SYNTHETIC] = density_image(synthetic, table, quantity, events, names[1])
    point = point or body_centre(body)
    profiles, differences = [], []
    for done, angle in enumerate(angles):
        events.progress(done, len(angles), "rays", f"{angle:g}°")
        profiles.append(depth_profile(densities, body, angle, point))
        if synthetic is not None:
            differences.append(path_difference(densities[REFERENCE], densities[SYNTHETIC], body, angle, ray_mm))
    events.progress(len(angles), len(angles), "rays")
    return DepthReport(profiles, differences, point, quantity, table.name, names, notes)
