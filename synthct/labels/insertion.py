"""Plant nodules into a label map: at a point or at random, their physical size kept, or say why not (row B9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.ground import Ground
from synthct.labels.places import NoPlace, Search
from synthct.labels.template_shapes import UNCHANGED, Pose, offsets_on_grid
from synthct.labels.templates import Template
from synthct.volumes.geometry import image_from_array

_RAS = np.array([-1.0, -1.0, 1.0])
_MOST_NODULES = 255


@dataclass(frozen=True)
class Planted:
    """One nodule in a label map.

    Attributes
    ----------
    template
        Name of the template.
    position_ras
        mm (right, anterior, superior) of the centre of the voxel that it is centred on.
    pose
        How the template was turned, scaled and bent.
    anchor
        That voxel (z, y, x).
    offsets
        Its voxels relative to the anchor, shape (n, 3).
    before
        Labels that were there, for `synthct.labels.ground.Ground.take_back`.
    share
        Which share of it lies on the chosen classes.
    volume_mm3
        Of its voxels.
    """

    template: str
    position_ras: tuple[float, float, float]
    pose: Pose
    anchor: np.ndarray
    offsets: np.ndarray
    before: np.ndarray
    share: float
    volume_mm3: float

    def to_dict(self) -> dict[str, Any]:
        """Return what a log tells; ``voxel`` (i, j, k) is one of the nodule's, the nearest to its centre."""
        voxels = self.anchor + self.offsets
        nearest = voxels[(self.offsets**2).sum(axis=1).argmin()]
        return {
            "template": self.template,
            "position_ras": [round(value, 3) for value in self.position_ras],
            **self.pose.to_dict(),
            "voxel": nearest[::-1].tolist(),
            "voxels": len(self.offsets),
            "volume_mm3": round(self.volume_mm3, 3),
            "share_on_classes": round(self.share, 4),
        }


class Refused(UserError):
    """A place breaks the rule.

    Attributes
    ----------
    reasons
        Which rules, and by how much.
    nearest_ras
        mm of the nearest place that fits, or None where there is none.
    """

    def __init__(
        self, what: str, why: str, todo: str, reasons: list[str], nearest: tuple[float, float, float] | None
    ) -> None:
        super().__init__(what, why, todo)
        self.reasons = reasons
        self.nearest_ras = nearest


def plant_at(ground: Ground, template: Template, point_ras: Sequence[float], pose: Pose = UNCHANGED) -> Planted:
    """Plant a template with its centre in the voxel nearest to a point.

    Parameters
    ----------
    ground
        Where; changed in place.
    template, pose
        What.
    point_ras
        mm to the right, anterior and superior.

    Raises
    ------
    Refused
        The rule forbids it; nothing is changed.
    UserError
        The point is outside the volume.
    """
    anchor = _voxel_at(ground, point_ras)
    offsets = offsets_on_grid(template.shape, ground.grid, pose)
    reasons = ground.reasons(anchor, offsets)
    if reasons:
        _refuse(ground, template, point_ras, anchor, offsets, reasons)
    return _plant(ground, template, pose, anchor, offsets)


def why_not(ground: Ground, template: Template, point_ras: Sequence[float], pose: Pose = UNCHANGED) -> list[str]:
    """Return why a template may not lie at a point (empty: it may) and change nothing; see `plant_at`."""
    anchor = _voxel_at(ground, point_ras)
    return ground.reasons(anchor, offsets_on_grid(template.shape, ground.grid, pose))


def plant_random(
    ground: Ground,
    templates: Sequence[Template],
    count: int,
    seed: int = 0,
    draw: Callable[[np.random.Generator], Pose] = lambda random: UNCHANGED,
    events: Events = SILENT,
    first: int = 0,
) -> list[Planted]:
    """Plant nodules one after the other, each template and place drawn uniformly among all that fit.

    Parameters
    ----------
    ground
        Where; changed in place, or left as it was if not all of them find a place.
    templates
        To draw from; one that fits nowhere in the pose drawn is named in a warning and another one is drawn.
    count
        How many nodules.
    seed
        Nodule n depends on the seed, n and the nodules before it alone.
    first
        Number n of the first one: how many this seed has planted before. One nodule after the other, with 0, 1, ..., is
        then the same as all of them at once.
    draw
        Draws each one's pose, for instance `synthct.labels.template_shapes.draw_pose`.

    Raises
    ------
    UserError
        No template, a count that is none, or no place is left for any of them: proven, not given up.
    """
    if not templates:
        raise UserError("There is no template to plant.", "The library is empty.")
    if not 1 <= count <= _MOST_NODULES:
        raise UserError(f"{count} nodules cannot be planted.", f"1 to {_MOST_NODULES} are possible.")
    planted: list[Planted] = []
    for number in range(count):
        events.progress(number, count, "planting")
        random = np.random.default_rng([seed, first + number])
        left = list(templates)
        reason = ""
        while left:
            template = left.pop(int(random.integers(len(left))))
            pose = draw(random)
            offsets = offsets_on_grid(template.shape, ground.grid, pose)
            try:
                anchor = Search(ground, offsets).random(random)
            except NoPlace as none:
                reason = _no_place(ground, template, offsets, none)
                events.warning(
                    f"Template {template.name} fits nowhere.", reason, "Another one is drawn." if left else ""
                )
                continue
            planted.append(_plant(ground, template, pose, anchor, offsets))
            break
        else:
            done = len(planted)
            for entry in reversed(planted):
                ground.take_back(entry.anchor, entry.offsets, entry.before)
            raise UserError(
                f"No place fits in {ground.name}: nodule {done + 1} of {count} cannot be planted.",
                reason,
                "Plant fewer or smaller ones, scale them down, or loosen the rule.",
            )
    events.progress(count, count, "planting")
    return planted


def nodule_mask(ground: Ground, planted: Sequence[Planted]) -> sitk.Image:
    """Return a mask of all nodules: those planted are 1, 2, ..., and others that were there before follow on.

    uint8, on the grid of the label map.

    Raises
    ------
    UserError
        More than 255 nodules.
    """
    mask = np.zeros(ground.labels.shape, np.int32)
    for number, entry in enumerate(planted, 1):
        mask[tuple((entry.anchor + entry.offsets).T)] = number
    others, count = ndimage.label((ground.labels == ground.nodule_index) & (mask == 0), np.ones((3, 3, 3)))
    if len(planted) + count > _MOST_NODULES:
        raise UserError(f"{ground.name} holds {len(planted) + count} nodules.", f"A mask holds {_MOST_NODULES}.")
    mask[others > 0] = others[others > 0] + len(planted)
    return image_from_array(mask.astype(np.uint8), ground.grid)


def _plant(ground: Ground, template: Template, pose: Pose, anchor: np.ndarray, offsets: np.ndarray) -> Planted:
    share = ground.share_on_chosen(anchor, offsets)
    before = ground.plant(anchor, offsets)
    volume = len(offsets) * float(np.prod(ground.grid.spacing))
    return Planted(template.name, _ras_of(ground, anchor), pose, anchor, offsets, before, share, volume)


def _refuse(
    ground: Ground,
    template: Template,
    point: Sequence[float],
    anchor: np.ndarray,
    offsets: np.ndarray,
    reasons: list[str],
) -> None:
    nearest = Search(ground, offsets).nearest(anchor)
    place = None if nearest is None else _ras_of(ground, nearest)
    if place is None:
        todo = "No other place fits either: choose a smaller template, or loosen the rule."
    else:
        away = float(np.linalg.norm(np.array(place) - _ras_of(ground, anchor)))
        todo = f"The nearest place that fits is {_written(place)} (RAS mm), {away:.1f} mm away."
    what = f"{template.name} cannot be planted at {_written(point)} in {ground.name}."
    raise Refused(what, f"{_listed(reasons)}.", todo, reasons, place)


def _no_place(ground: Ground, template: Template, offsets: np.ndarray, none: NoPlace) -> str:
    """Say why a template has no place at all."""
    ml = len(offsets) * float(np.prod(ground.grid.spacing)) / 1000
    classes = " or ".join(ground.chosen)
    extent = " × ".join(f"{mm:.0f}" for mm in (np.ptp(offsets, axis=0) + 1)[::-1] * ground.grid.spacing)
    if not none.inside:
        return f"{template.name} ({extent} mm) is larger than the volume."
    largest = ground.largest_good_ml()
    if ml * ground.rule.share > largest:
        return (
            f"{template.name} has {ml:.3g} ml; "
            f"the largest region of {classes} where nodules may lie has {largest:.3g} ml."
        )
    if none.best_share is None:
        return f"Everywhere {template.name} ({extent} mm) would touch another nodule or come too near to the surface."
    return (
        f"Nowhere does more than {none.best_share:.0%} of {template.name} ({extent} mm) lie on {classes} "
        f"without breaking another rule, and {ground.rule.share:.0%} must."
    )


def _voxel_at(ground: Ground, point: Sequence[float]) -> np.ndarray:
    """Return the voxel (z, y, x) nearest to a point in RAS mm, or refuse a point outside the volume."""
    place = np.asarray(point, float)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise UserError(f"{point} is no position.", "Three numbers of mm are needed: right, anterior, superior.")
    index = np.linalg.solve(ground.grid.index_to_world, [*(place * _RAS), 1])[:3]
    size = np.array(ground.grid.size)
    beyond = np.maximum(np.maximum(-0.5 - index, index - size + 0.5), 0) * ground.grid.spacing
    if beyond.any():
        corners = ground.grid.corners() * _RAS
        low, high = corners.min(axis=0), corners.max(axis=0)
        box = ", ".join(f"{axis} {a:.0f} to {b:.0f}" for axis, a, b in zip("RAS", low, high, strict=True))
        raise UserError(
            f"The point {_written(place)} (RAS mm) lies outside {ground.name}, by {np.linalg.norm(beyond):.1f} mm.",
            f"The volume reaches from {box} mm.",
            "Give a point inside.",
        )
    return np.clip(np.rint(index), 0, size - 1).astype(int)[::-1]


def _ras_of(ground: Ground, anchor: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (ground.grid.index_to_world @ [*anchor[::-1], 1])[:3] * _RAS
    return float(x), float(y), float(z)


def _written(point: Sequence[float] | np.ndarray) -> str:
    return ",".join(f"{value:.1f}" for value in point)


def _listed(reasons: list[str]) -> str:
    text = "; ".join(reasons)
    return text[:1].upper() + text[1:]
