"""A label map in which nodules are planted, the rule where they may lie, and why a place is refused (row B9)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from synthct.errors import UserError
from synthct.labels.classes import ClassTable
from synthct.labels.label_map import require_classes
from synthct.labels.surface import distance_to_surface, near_surface
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import Grid, array_of, grid_of, image_from_array, require_same_grid
from synthct.volumes.hu import AIR_HU

GOOD, TOLERATED, FORBIDDEN = 0, 1, 2
"""Voxels of the chosen classes; others, of which a nodule may cover a few; and those that no nodule may cover."""


@dataclass(frozen=True)
class Rule:
    """Where a nodule may lie; wholly inside the volume and apart from other nodules in any case.

    Attributes
    ----------
    classes
        Names of the classes that it shall lie on; empty: the one for the rest, "other tissue", which lungs are.
    share
        Of its voxels at least this many must lie on them (row B9: 80 %).
    surface_mm
        Every voxel is at least this far from any voxel outside the body; None: the body does not count, as published.
    region_share
        Regions of the chosen classes that are smaller than this share of the largest one do not count as them: both
        lungs are larger, gas in the bowel is not. 0: every voxel counts, as published.
    """

    classes: tuple[str, ...] = ()
    share: float = 0.8
    surface_mm: float | None = 10.0
    region_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"A share of {self.share:g} cannot be asked for.", "It lies between 0 and 1.")
        if not 0 <= self.region_share <= 1:
            raise UserError(
                f"A region's share of {self.region_share:g} cannot be asked for.", "It lies between 0 and 1."
            )
        if self.surface_mm is not None and not 0 <= self.surface_mm <= 200:
            raise UserError(f"A distance of {self.surface_mm:g} mm cannot be asked for.", "0 to 200 mm is possible.")


class Ground:
    """A label map made ready for planting: what each voxel is worth is known once and kept up to date.

    Parameters
    ----------
    labels
        3D label map.
    table
        Its classes; one of them is the nodules'.
    rule
        Where nodules may lie.
    body
        Not 0 inside, on the grid of ``labels``; None: what the table's class for the outside leaves, or, where it has
        none, what `synthct.volumes.body.body_mask` finds when everything that is no "other tissue" is taken for water.
    name
        What the label map is called in messages.

    Attributes
    ----------
    labels
        The label map with what was planted, uint8, (z, y, x).
    worth
        GOOD, TOLERATED or FORBIDDEN, uint8, same shape.
    grid
        Of both.

    Raises
    ------
    UserError
        Unknown values in the label map, no class for nodules, unknown classes, a body on another grid, no body.
    """

    def __init__(
        self,
        labels: sitk.Image,
        table: ClassTable,
        rule: Rule | None = None,
        body: sitk.Image | None = None,
        name: str = "The label map",
    ) -> None:
        self.rule = rule or Rule()
        self.table = table
        self.name = name
        self.grid = grid_of(labels)
        self.labels = require_classes(labels, table, name)
        nodules = table.of_source("nodules")
        if nodules is None:
            raise UserError(f"The table {table.name} has no class for nodules.", "One with `from: nodules` is needed.")
        self.nodule_index = nodules.index
        chosen = [table.named(word, "to plant on") for word in self.rule.classes] or [table.rest]
        self.chosen = [entry.name for entry in chosen]
        self._value = np.full(256, TOLERATED, np.uint8)
        self._value[[entry.index for entry in chosen]] = GOOD
        airways = table.of_source("airways")
        self._airways = airways if airways not in chosen else None
        if self._airways is not None:
            self._value[self._airways.index] = FORBIDDEN
        self._body: np.ndarray | None = None
        if self.rule.surface_mm is not None:
            self._body = self._find_body(labels, body)
        spacing = self.grid.spacing
        self._shallow = None if self._body is None else near_surface(self._body, spacing, self.rule.surface_mm or 0.0)
        self.worth = np.empty_like(self.labels)
        self._pockets: np.ndarray | None = None
        whole = tuple(slice(0, length) for length in self.labels.shape)
        self._judge(whole)
        if self.rule.region_share > 0:
            self._pockets = self._small_regions()
            self._judge(whole)

    def cut(self, first: Sequence[int], size: Sequence[int]) -> Ground:
        """Return a box of it as a ground of its own: what its voxels are worth was told from the whole.

        Parameters
        ----------
        first, size
            Of the box, in voxels (z, y, x).
        """
        box = tuple(slice(a, a + n) for a, n in zip(first, size, strict=True))
        part = copy.copy(self)
        part.labels, part.worth = self.labels[box].copy(), self.worth[box].copy()
        part._body, part._shallow, part._pockets = (
            None if array is None else array[box] for array in (self._body, self._shallow, self._pockets)
        )
        origin = self.grid.index_to_world @ [*reversed(first), 1]
        x, y, z = (int(n) for n in reversed(size))
        part.grid = Grid((x, y, z), self.grid.spacing, tuple(origin[:3].tolist()), self.grid.direction)
        return part

    def chosen_voxels(self) -> np.ndarray:
        """Return which voxels are of the chosen classes, regions that are too small left out; bool, (z, y, x)."""
        chosen = self._value[self.labels] == GOOD
        return chosen if self._pockets is None else chosen & ~self._pockets

    def plant(self, anchor: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Make the voxels ``anchor + offsets`` nodule; return what they were, for `take_back`. Nothing is checked."""
        place = tuple((anchor + offsets).T)
        before = self.labels[place]
        self.labels[place] = self.nodule_index
        self._judge_around(anchor + offsets)
        return before

    def take_back(self, anchor: np.ndarray, offsets: np.ndarray, before: np.ndarray) -> None:
        """Undo `plant`: nodules must be taken back in the reverse order only where they overlap, and they do not."""
        self.labels[tuple((anchor + offsets).T)] = before
        self._judge_around(anchor + offsets)

    def tolerated(self, voxels: int) -> int:
        """Return how many of a nodule's voxels may lie on other classes than the chosen ones."""
        return voxels - int(np.ceil(self.rule.share * voxels - 1e-9))

    def reasons(self, anchor: np.ndarray, offsets: np.ndarray) -> list[str]:
        """Say why a nodule may not lie at a voxel: which rule is broken, and by how much; empty: it may.

        Parameters
        ----------
        anchor
            Voxel (z, y, x) that the nodule is centred on; it may lie outside the volume.
        offsets
            Its voxels relative to it, shape (n, 3), as `synthct.labels.template_shapes.offsets_on_grid` gives them.
        """
        voxels = anchor + offsets
        last = np.array(self.labels.shape) - 1
        beyond = np.maximum(np.maximum(-voxels, voxels - last), 0).max(axis=0) * np.array(self.grid.spacing[::-1])
        reasons = []
        if beyond.any():
            reasons.append(f"it reaches {beyond.max():.1f} mm beyond the volume")
        voxels = voxels[((voxels >= 0) & (voxels <= last)).all(axis=1)]
        if not len(voxels):
            return reasons
        place = tuple(voxels.T)
        values = self.labels[place]
        good = self._value[values] == GOOD
        if self._pockets is not None:
            good &= ~self._pockets[place]
        misses = len(voxels) - np.count_nonzero(good)
        if misses > self.tolerated(len(offsets)):
            reasons.append(
                f"{1 - misses / len(voxels):.0%} of it lies on {' or '.join(self.chosen)} "
                f"({self._others(values, good)}), and {self.rule.share:.0%} must"
            )
        breathed = 0 if self._airways is None else int(np.count_nonzero(values == self._airways.index))
        if self._airways is not None and breathed:
            reasons.append(f"{breathed} of its {len(offsets)} voxels lie in the {self._airways.name}")
        taken = int(np.count_nonzero(self._near_nodules(voxels)))
        if taken:
            reasons.append(f"{taken} of its {len(offsets)} voxels overlap or touch another nodule")
        if self._body is not None and self._shallow is not None and self._shallow[place].any():
            outside = int(np.count_nonzero(~self._body[place]))
            if outside:
                reasons.append(f"{outside} of its {len(offsets)} voxels lie outside the body")
            else:
                wanted = self.rule.surface_mm or 0.0
                nearest = distance_to_surface(self._body, voxels, self.grid.spacing, wanted)
                reasons.append(
                    f"it comes within {nearest:.1f} mm of the body's surface, and {wanted:g} mm is the least"
                )
        return reasons

    def share_on_chosen(self, anchor: np.ndarray, offsets: np.ndarray) -> float:
        """Return which share of a nodule that is not planted yet lies on good voxels; it must be inside the volume."""
        return float(np.mean(self.worth[tuple((anchor + offsets).T)] == GOOD))

    def largest_good_ml(self) -> float:
        """Return the volume of the largest region of good voxels that hang together by their faces."""
        parts, count = ndimage.label(self.worth == GOOD)
        voxels = int(np.bincount(parts.ravel())[1:].max()) if count else 0
        return voxels * float(np.prod(self.grid.spacing)) / 1000

    def image(self) -> sitk.Image:
        """Return the label map with what was planted, uint8, on its own grid."""
        return image_from_array(self.labels, self.grid)

    def _judge(self, box: tuple[slice, ...]) -> None:
        part = self.labels[box]
        worth = self._value[part]
        nodules = part == self.nodule_index
        if nodules.any():
            worth[_with_neighbours(nodules)] = FORBIDDEN
        if self._shallow is not None:
            worth[self._shallow[box]] = FORBIDDEN
        if self._pockets is not None:
            worth[self._pockets[box] & (worth == GOOD)] = TOLERATED
        self.worth[box] = worth

    def _judge_around(self, voxels: np.ndarray) -> None:
        """Judge the voxels around a change anew; the box is two wider, so that what is kept sees all its neighbours."""
        low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
        wide = [slice(max(a - 2, 0), min(b + 2, n)) for a, b, n in zip(low, high, self.labels.shape, strict=True)]
        rim = self.worth[tuple(wide)].copy()
        self._judge(tuple(wide))
        inner = tuple(
            slice(max(a - 1, 0) - part.start, min(b + 1, n) - part.start)
            for a, b, n, part in zip(low, high, self.labels.shape, wide, strict=True)
        )
        rim[inner] = self.worth[tuple(wide)][inner]
        self.worth[tuple(wide)] = rim

    def _near_nodules(self, voxels: np.ndarray) -> np.ndarray:
        low = np.maximum(voxels.min(axis=0) - 1, 0)
        high = voxels.max(axis=0) + 2
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return np.asarray(_with_neighbours(self.labels[box] == self.nodule_index)[tuple((voxels - low).T)])

    def _small_regions(self) -> np.ndarray:
        """Voxels of the chosen classes in regions, by faces, that are too small to count; bool."""
        regions = sitk.ConnectedComponent(sitk.GetImageFromArray((self.worth == GOOD).view(np.uint8)))
        numbers = sitk.GetArrayViewFromImage(regions)
        count = int(numbers.max()) + 1
        sizes = np.zeros(count, int)
        for plane in numbers:  # one by one: little memory
            sizes += np.bincount(plane.ravel(), minlength=count)
        sizes[0] = 0
        small = sizes < self.rule.region_share * sizes.max()
        small[0] = False
        return np.stack([small[plane] for plane in numbers])

    def _others(self, values: np.ndarray, good: np.ndarray) -> str:
        counts = {entry.name: np.mean((values == entry.index) & ~good) for entry in self.table.classes}
        others = [
            (share, f"small pockets of {name}" if name in self.chosen else name)
            for name, share in counts.items()
            if share > 0
        ]
        return ", ".join(f"{share:.0%} on {name}" for share, name in sorted(others, reverse=True)[:3])

    def _find_body(self, labels: sitk.Image, body: sitk.Image | None) -> np.ndarray:
        if body is not None:
            require_same_grid(labels, body, (self.name, "the body mask"))
            return array_of(body) != 0
        outside = self.table.of_source("outside")
        if outside is not None:
            return self.labels != outside.index
        rest = self.labels == self.table.rest.index
        try:
            water = image_from_array(np.where(rest, AIR_HU, 0).astype(np.int16), labels)
            return array_of(body_mask(water, "ct")) != 0
        except UserError as error:
            raise UserError(
                f"No body was found in {self.name}.",
                "How far a nodule is from its surface cannot be told.",
                "Give a body mask, a label map of seven or eight classes, or no distance to the surface.",
            ) from error


def _with_neighbours(mask: np.ndarray) -> np.ndarray:
    """Add the 26 neighbours of every voxel."""
    for axis in range(3):
        spread = mask.copy()
        first = [slice(None)] * 3
        second = [slice(None)] * 3
        first[axis], second[axis] = slice(1, None), slice(None, -1)
        spread[tuple(first)] |= mask[tuple(second)]
        spread[tuple(second)] |= mask[tuple(first)]
        mask = spread
    return mask
