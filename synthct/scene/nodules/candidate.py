"""The nodule that is about to be planted: its shape, its point, its outline, and why it may not lie there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from synthct.errors import UserError
from synthct.labels.ground import Ground
from synthct.labels.insertion import Planted, plant_at
from synthct.labels.places import Search
from synthct.labels.template_shapes import Pose, offsets_on_grid
from synthct.labels.templates import Template
from synthct.scene.nodules.ground import KeptGround, anchor_at, ras_of
from synthct.scene.nodules.placing import NodulePlacing
from synthct.scene.nodules.preview import NodulePreview
from synthct.scene.nodules.segments import GREEN, RED


class NoduleCandidate:
    """Follows its point: on every move the neighbourhood alone is looked at, and the outline drawn anew.

    Parameters
    ----------
    kept
        The ground that it lies on.
    moved
        Called without arguments when its point has moved; `look` is to be called then.

    Attributes
    ----------
    reasons
        Why it may not lie where it is; empty: it may, or it lies nowhere.
    share
        Which share of it lies on the chosen classes; None where it may not lie.
    chosen
        Names of these classes.
    """

    def __init__(self, kept: KeptGround, moved: Callable[[], None]) -> None:
        self.kept = kept
        self.placing = NodulePlacing(moved)
        self.preview = NodulePreview()
        self.reasons: list[str] = []
        self.share: float | None = None
        self.chosen = ""
        self._template: Template | None = None
        self._pose = Pose()
        self._offsets: np.ndarray | None = None
        self._frame: tuple[object, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether a point is in the scene, placed or waiting for a click."""
        return self.placing.node is not None

    def shape(self, template: Template, pose: Pose) -> None:
        """Say what is planted."""
        if template is not self._template or pose != self._pose:
            self._template, self._pose, self._offsets = template, pose, None

    def look(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> None:
        """Judge the place of the point, and show outline and reason there.

        Raises
        ------
        UserError
            The label map cannot be planted in.
        """
        self.reasons, self.share = [], None
        position = self.placing.position
        if position is None or self._template is None:
            self.preview.hide()
            return
        ground = self.kept.of(labels)
        anchor, offsets = anchor_at(ground.grid, position), self._shape_on(ground)
        self.reasons = ground.reasons(anchor, offsets)
        fits = not self.reasons
        if fits:
            self.share, self.chosen = ground.share_on_chosen(anchor, offsets), " or ".join(ground.chosen)
        self.preview.show(labels, anchor + offsets, fits)
        short = "; ".join(reason.split(" (")[0] for reason in self.reasons)
        self.placing.say(short or self._template.name, GREEN if fits else RED)

    def to_nearest(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> None:
        """Move the point to the nearest place that fits.

        Raises
        ------
        UserError
            There is none.
        """
        position, template = self.placing.position, self._template
        if position is None or template is None:
            return
        ground = self.kept.of(labels)
        with slicer.util.WaitCursor():
            found = Search(ground, self._shape_on(ground)).nearest(anchor_at(ground.grid, position))
        if found is None:
            raise UserError(
                f"There is no place in {ground.name} where {template.name} fits.",
                f"Every place breaks the rule; the largest region of {' or '.join(ground.chosen)} where nodules may "
                f"lie has {ground.largest_good_ml():.3g} ml.",
                "Make the nodule smaller, or loosen the rule.",
            )
        self.placing.move_to(ras_of(ground.grid, found))

    def plant(self, labels: slicer.vtkMRMLLabelMapVolumeNode) -> Planted:
        """Return it as planted where it is; the ground stays as it was.

        Raises
        ------
        UserError
            It lies nowhere yet, or may not lie there.
        """
        position = self.placing.position
        if position is None or self._template is None or not self.placing.placed:
            raise UserError("The nodule lies nowhere yet.", "No place was clicked.", "Click in a slice view first.")
        ground = self.kept.of(labels)
        planted = plant_at(ground, self._template, position, self._pose)
        ground.take_back(planted.anchor, planted.offsets, planted.before)
        return planted

    def drop(self) -> None:
        """Take point and outline out of the scene."""
        self.placing.stop()
        self.preview.hide()
        self.reasons, self.share = [], None

    def scene_closing(self) -> None:
        """Forget point and outline: their scene is going."""
        self.placing.scene_closing()
        self.preview.scene_closing()
        self.reasons, self.share = [], None

    def _shape_on(self, ground: Ground) -> np.ndarray:
        assert self._template is not None
        frame = (ground.grid.spacing, ground.grid.direction)
        if self._offsets is None or frame != self._frame:
            self._offsets = offsets_on_grid(self._template.shape, ground.grid, self._pose)
            self._frame = frame
        return self._offsets
