"""The label map that nodules are planted in, made ready once and kept while nothing else changes it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import slicer

from synthct.errors import UserError
from synthct.labels.classes import ClassTable, parse_class_table, read_class_table
from synthct.labels.ground import Ground, Rule
from synthct.scene.label_map.class_colours import CLASSES_ATTRIBUTE, classes_of
from synthct.scene.nodes import image_from_node, world_matrix
from synthct.scene.nodules.planted import Nodule
from synthct.volumes.geometry import Grid

ORIGIN = np.zeros(3, int)


class KeptGround:
    """`synthct.labels.ground.Ground` of one label map node at a time."""

    def __init__(self) -> None:
        self._ground: Ground | None = None
        self._lifted: Nodule | None = None
        self._key: tuple[Any, ...] | None = None
        self._table_text = ""
        self._rule = Rule()

    def choose(self, table_text: str, rule: Rule) -> None:
        """Say which classes a label map has that brings none of its own (JSON; empty: eight), and the rule."""
        self._table_text, self._rule = table_text, rule

    def of(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> Ground:
        """Return the ground of a label map as it is now; made anew only where something has changed.

        Raises
        ------
        UserError
            As `synthct.labels.ground.Ground` and :func:`synthct.scene.nodes.image_from_node`, naming the node.
        """
        ground = self.now(labels)
        if ground is None:
            self.forget()
            with slicer.util.WaitCursor():
                image = image_from_node(labels)
                ground = Ground(image, self.table(labels), self._rule, name=labels.GetName())
            self.keep(labels, ground)
            self._lift()
        return ground

    def now(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> Ground | None:
        """Return the ground where it is known and still true, else None."""
        try:
            return self._ground if self._key is not None and self._key == self._state(labels) else None
        except UserError:  # it was bent meanwhile
            return None

    def keep(self, labels: slicer.vtkMRMLLabelMapVolumeNode, ground: Ground | None) -> None:
        """Note that this ground (None: no ground) knows of the newest change of the label map."""
        self._ground = ground
        self._key = self._state(labels) if ground is not None else None

    def lift(self, labels: slicer.vtkMRMLLabelMapVolumeNode | None, nodule: Nodule | None) -> None:
        """Take a nodule that is being edited out of the ground, not of the label map; None: put it back."""
        if self._lifted is not None:
            if labels is not None and self.now(labels) is not None:
                self._put_back(labels, self._lifted)
            else:  # another label map was chosen meanwhile, or this one has changed
                self.forget()
        self._lifted = nodule
        self._lift()

    def _put_back(self, labels: slicer.vtkMRMLLabelMapVolumeNode, nodule: Nodule) -> None:
        """Take over what the label map says where a nodule lies."""
        if self._ground is not None:
            values = slicer.util.arrayFromVolume(labels)[tuple(nodule.voxels.T)]
            self._ground.take_back(ORIGIN, nodule.voxels, values.astype(np.uint8))

    def _lift(self) -> None:
        if self._lifted is not None and self._ground is not None:
            self._ground.take_back(ORIGIN, self._lifted.voxels, self._lifted.before)

    def forget(self) -> None:
        """Give back the memory."""
        self._ground = self._key = None

    def table(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> ClassTable:
        """Return the classes of a label map: its own, or those chosen."""
        own = classes_of(labels)
        if own is not None:
            return own
        return parse_class_table(_content(self._table_text), "the table of classes")

    def nodule_index(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> int:
        """Return the value of nodules.

        Raises
        ------
        UserError
            The label map's classes have none.
        """
        table = self.table(labels)
        nodules = table.of_source("nodules")
        if nodules is None:
            raise UserError(
                f"The table {table.name} has no class for nodules.", "One with `from: nodules` is needed.", "Add one."
            )
        return nodules.index

    def _state(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> tuple[Any, ...]:
        data = labels.GetImageData()
        moved = world_matrix(labels).tobytes()
        table = (labels.GetAttribute(CLASSES_ATTRIBUTE), self._table_text)
        return labels.GetID(), data.GetMTime() if data is not None else 0, moved, table, self._rule


def anchor_at(grid: Grid, point_ras: tuple[float, float, float]) -> np.ndarray:
    """Return the voxel (z, y, x) nearest to a point in RAS mm; it may lie outside."""
    x, y, z = point_ras
    index = np.linalg.solve(grid.index_to_world, [-x, -y, z, 1])[:3]
    return np.rint(index).astype(int)[::-1]


def ras_of(grid: Grid, anchor: np.ndarray) -> tuple[float, float, float]:
    """Return the place in RAS mm of a voxel (z, y, x)."""
    x, y, z = (grid.index_to_world @ [*anchor[::-1], 1])[:3]
    return float(-x), float(-y), float(z)


def _content(text: str) -> Any:
    try:
        return json.loads(text) if text else read_class_table().to_dict()
    except ModuleNotFoundError as error:
        raise UserError(
            "The shipped table of classes cannot be read.",
            f"The Python package {error.name} is missing.",
            "Make a label map in step 1 first: it asks to install what is missing.",
        ) from error
