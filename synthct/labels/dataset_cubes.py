"""One volume of a data set: a random cube of a label map with nodules planted, or why the case has none (row B9).

What is drawn for volume n depends on the seed and n alone, whichever process makes it and in which order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.data.cohort import Case
from synthct.errors import UserError
from synthct.labels.classes import ClassTable, read_class_table
from synthct.labels.ground import Ground, Rule
from synthct.labels.insertion import Planted, plant_random
from synthct.labels.label_files import table_beside
from synthct.labels.label_map import require_classes
from synthct.labels.template_shapes import Pose, draw_pose
from synthct.labels.templates import Template
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import array_of, grid_of, image_from_array, resample_onto
from synthct.volumes.hu import AIR_HU
from synthct.volumes.read import read_image

LARGEST_SIDE = 1024
MOST_NODULES = 50
_PLACES = 10
"""Cubes of one case and volume in which no nodule found a place, before the case is given up."""
_PHASE, _ORDER, _CUBES = 1, 2, 3
"""What is drawn, as the last part of a seed: seeds that differ in zeros at their end alone draw the same."""
_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Plan:
    """What every volume shall be.

    Attributes
    ----------
    size
        Voxels along i, j, k.
    seed
        Of all that is drawn.
    with_nodule
        Share of the volumes in which nodules are planted; in the others there is none, of the source neither.
    templates
        Fewest and most nodules planted into one of them.
    lung
        Least share of the cube's voxels on the rule's classes inside the body, small regions left out.
    draws
        Cubes of one case that are looked at before another case is drawn.
    rule
        Where nodules may lie.
    rotation, scale, elastic_mm
        See `synthct.labels.template_shapes.draw_pose`.
    context_mm
        How far around the cube the network sees the source, where the source reaches so far: without it there is a rim.
    """

    size: tuple[int, int, int] = (128, 128, 128)
    seed: int = 0
    with_nodule: float = 0.8
    templates: tuple[int, int] = (1, 1)
    lung: float = 0.1
    draws: int = 200
    rule: Rule = field(default_factory=Rule)
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    elastic_mm: float = 0.0
    context_mm: float = 24.0

    def __post_init__(self) -> None:
        problems = {
            f"A size of {'×'.join(map(str, self.size))} voxels": (
                all(2 <= side <= LARGEST_SIDE for side in self.size),
                f"Each side has 2 to {LARGEST_SIDE} voxels.",
            ),
            f"The seed {self.seed}": (0 <= self.seed < 2**32, "It lies between 0 and 2³² − 1."),
            f"A share of {self.with_nodule:g} with nodules": (0 <= self.with_nodule <= 1, "It lies between 0 and 1."),
            f"{_span(self.templates)} templates per volume": (
                1 <= self.templates[0] <= self.templates[1] <= MOST_NODULES,
                f"1 to {MOST_NODULES} are possible, the smaller number first.",
            ),
            f"A share of {self.lung:g} of lung": (0 <= self.lung < 1, "It lies between 0 and 1."),
            f"A number of {self.draws} draws": (self.draws >= 1, "At least one cube must be looked at."),
            f"A rotation by {self.rotation:g} degrees": (0 <= self.rotation <= 180, "0 to 180 is possible."),
            f"A context of {self.context_mm:g} mm": (0 <= self.context_mm <= 1000, "0 to 1000 is possible."),
        }
        for what, (right, why) in problems.items():
            if not right:
                raise UserError(f"{what} cannot be asked for.", why)
        for scale in self.scale:  # refuses what no nodule can be
            Pose(scale=scale, elastic_mm=self.elastic_mm)
        draw_pose(np.random.default_rng(0), self.rotation, self.scale, self.elastic_mm)

    def has_nodule(self, index: int) -> bool:
        """Whether volume ``index`` gets nodules: of any first n volumes the share does, to less than one volume."""
        phase = np.random.default_rng([self.seed, 0, 0, _PHASE]).random()
        share = self.with_nodule
        return math.floor((index + 1) * share + phase) > math.floor(index * share + phase)

    def case_order(self, index: int, cases: int) -> list[int]:
        """Return in which order the cases are tried for volume ``index``: a random one first."""
        order: list[int] = np.random.default_rng([self.seed, index, 0, _ORDER]).permutation(cases).tolist()
        return order


@dataclass(frozen=True)
class Cube:
    """A cube of a case.

    Attributes
    ----------
    labels, mask
        uint8 on one grid, which is where the cube lies in the source: label map with what was planted, 1 on nodules.
    around, around_body
        Label map with what was planted, and 1 inside the body, of the cube with its context; uint8 on one grid.
    corner
        The cube's first voxel (i, j, k) in ``around``.
    planted
        Nodules.
    facts
        For a manifest: ``origin_ijk`` of its first voxel in the source, ``origin_ras`` (mm, of that voxel's centre),
        ``size``, ``spacing``, ``nodules``, ``source_nodule_voxels`` (of the source's own), ``constraints`` (all met:
        the lung's share, the share of each nodule on the rule's classes), ``draws``.
    """

    labels: sitk.Image
    mask: sitk.Image
    around: sitk.Image
    around_body: sitk.Image
    corner: tuple[int, int, int]
    planted: tuple[Planted, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class NoCube:
    """A case gave no cube, and ``why``: how many of the cubes drawn broke which constraint."""

    case: str
    why: str


class Source:
    """The label map of a case made ready for cutting cubes.

    Parameters
    ----------
    case
        With a label map.
    rule
        Where nodules may lie.
    table
        Its classes; None: as the label map's log says, else ours of eight classes, or of six where no voxel is outside
        the body.

    Raises
    ------
    UserError
        Label map or mask cannot be read or used.
    """

    def __init__(self, case: Case, rule: Rule, table: ClassTable | None = None) -> None:
        assert case.labels is not None
        labels = read_image(case.labels)
        self.case = case
        self.name = f"The label map of case {case.id}"
        self.table = table or table_beside(case.labels) or _shipped(labels)
        array = require_classes(labels, self.table, self.name)
        outside = self.table.of_source("outside")
        self.has_outside = outside is not None and bool((array == outside.index).any())
        if self.has_outside and outside is not None:
            self.body = array != outside.index
        elif case.mask is not None:
            self.body = array_of(resample_onto(read_image(case.mask), labels, "nearest", 0)) != 0
        else:
            self.body = _found_body(array, self.table, labels, self.name)
        self.ground = Ground(labels, self.table, rule, image_from_array(self.body.view(np.uint8), labels), self.name)


def draw_cube(source: Source, plan: Plan, templates: Sequence[Template], index: int, attempt: int) -> Cube | NoCube:
    """Draw the cube of volume ``index`` from the case that is the ``attempt``-th to be tried for it.

    Cubes are drawn uniformly until one satisfies every constraint:

    ``size``
        The label map is at least as large.
    ``black-slice``
        No slice of the cube, along any axis, lies wholly outside the body.
    ``lung``
        `Plan.lung`.
    ``one-class``
        The cube holds more than one class: a network would have nothing to translate.
    ``nodule-free``
        Of volumes without nodules: none of the source's lies in it.
    ``place``
        Of the others: the rule has a place for every nodule, wholly inside the cube.

    Raises
    ------
    UserError
        A class table without nodules.
    """
    random = np.random.default_rng([plan.seed, index, attempt, _CUBES])
    size = np.array(plan.size[::-1])
    room = np.array(source.body.shape) - size
    broken: Counter[str] = Counter()
    if (room < 0).any():
        voxels = "×".join(map(str, reversed(source.body.shape)))
        return NoCube(source.case.id, f"its label map has {voxels} voxels only (size)")
    wanted = int(random.integers(plan.templates[0], plan.templates[1] + 1)) if plan.has_nodule(index) else 0
    for number in range(1, plan.draws + 1):
        first = random.integers(0, room + 1)
        seed = int(random.integers(2**31))
        box = tuple(slice(a, a + n) for a, n in zip(first, size, strict=True))
        body = source.body[box]
        if any(not body.any(axis=axes).all() for axes in ((1, 2), (0, 2), (0, 1))):
            broken["black-slice"] += 1
            continue
        ground = source.ground.cut(first.tolist(), size.tolist())
        lung = float(np.mean(ground.chosen_voxels() & body))
        if lung < plan.lung:
            broken["lung"] += 1
            continue
        if (ground.labels == ground.labels.flat[0]).all():
            broken["one-class"] += 1
            continue
        own = int(np.count_nonzero(ground.labels == ground.nodule_index))
        if own and not wanted:
            broken["nodule-free"] += 1
            continue
        planted = _planted(ground, templates, wanted, seed, plan)
        if planted is None:
            broken["place"] += 1
            if broken["place"] >= _PLACES:
                break
            continue
        constraints: dict[str, Any] = {"size": True, "black-slice": True, "lung": round(lung, 4), "one-class": True}
        constraints |= {"place": [round(entry.share, 4) for entry in planted]} if wanted else {"nodule-free": True}
        return _cube(source, plan, ground, first, planted, own, constraints, number)
    counts = ", ".join(f"{count} broke {name}" for name, count in broken.most_common())
    return NoCube(source.case.id, f"of {broken.total()} cubes drawn, {counts}")


def _planted(
    ground: Ground, templates: Sequence[Template], wanted: int, seed: int, plan: Plan
) -> tuple[Planted, ...] | None:
    """Plant so many nodules, or none and return None where one of them has no place."""

    def draw(random: np.random.Generator) -> Pose:
        return draw_pose(random, plan.rotation, plan.scale, plan.elastic_mm)

    if not wanted:
        return ()
    try:
        return tuple(plant_random(ground, templates, wanted, seed, draw))
    except UserError:  # no template, or a count that is none, was refused before
        return None


def _cube(
    source: Source,
    plan: Plan,
    ground: Ground,
    first: np.ndarray,
    planted: tuple[Planted, ...],
    own: int,
    constraints: dict[str, Any],
    draws: int,
) -> Cube:
    ras = np.asarray(ground.grid.origin) * _RAS
    facts = {
        "case": source.case.id,
        "patient": source.case.patient_id,
        "origin_ijk": first[::-1].tolist(),
        "origin_ras": [round(float(value), 4) for value in ras],
        "size": list(ground.grid.size),
        "spacing": [round(step, 6) for step in ground.grid.spacing],
        "nodules": [entry.to_dict() for entry in planted],
        "source_nodule_voxels": own,
        "constraints": constraints,
        "draws": draws,
    }
    mask = (ground.labels == ground.nodule_index).astype(np.uint8)
    margin = np.ceil(plan.context_mm / np.array(ground.grid.spacing[::-1])).astype(int)
    low = np.maximum(first - margin, 0)
    high = np.minimum(first + ground.labels.shape + margin, source.body.shape)
    around = source.ground.cut(low.tolist(), (high - low).tolist())
    inner = first - low
    around.labels[tuple(slice(a, a + n) for a, n in zip(inner, ground.labels.shape, strict=True))] = ground.labels
    body = source.body[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    i, j, k = inner[::-1].tolist()
    return Cube(
        ground.image(),
        image_from_array(mask, ground.grid),
        around.image(),
        image_from_array(body.astype(np.uint8), around.grid),
        (i, j, k),
        planted,
        facts,
    )


def _shipped(labels: sitk.Image) -> ClassTable:
    ours = read_class_table()
    outside = ours.of_source("outside")
    assert outside is not None
    return ours if (sitk.GetArrayViewFromImage(labels) == outside.index).any() else read_class_table("six")


def _found_body(array: np.ndarray, table: ClassTable, labels: sitk.Image, name: str) -> np.ndarray:
    """The body as in a CT whose rest is air."""
    hu = np.where(array == table.rest.index, AIR_HU, 0).astype(np.int16)
    try:
        return array_of(body_mask(image_from_array(hu, grid_of(labels)), "ct")) != 0
    except UserError as error:
        raise UserError(
            f"{name} shows no body.", "Which slices are black cannot be told.", "Name a body mask in the cohort."
        ) from error


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
