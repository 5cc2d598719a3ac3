"""How the chosen template is turned and scaled, on four sliders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ctk

from synthct.labels.template_shapes import UNCHANGED, Pose

_LARGEST_MM = 40.0
"""The size slider reaches this far at least, up to ten times the template."""


class PoseSliders:
    """A ``ctkSliderWidget`` for the diameter and three for the turns.

    Parameters
    ----------
    diameter, right, anterior, superior
        In mm, and in degrees about the axes R, A, S.
    changed
        Called without arguments when the user has moved one.

    Attributes
    ----------
    pose
        As it was given, until a slider is moved: they show round numbers.
    """

    def __init__(
        self,
        diameter: ctk.ctkSliderWidget,
        right: ctk.ctkSliderWidget,
        anterior: ctk.ctkSliderWidget,
        superior: ctk.ctkSliderWidget,
        changed: Callable[[], None],
    ) -> None:
        self.pose = UNCHANGED
        self._diameter, self._turns, self._changed = diameter, (right, anterior, superior), changed
        self._own_mm = 0.0
        self._setting = False
        diameter.connect("valueChanged(double)", self._on_diameter)
        right.connect("valueChanged(double)", lambda angle: self._on_angle(0, angle))
        anterior.connect("valueChanged(double)", lambda angle: self._on_angle(1, angle))
        superior.connect("valueChanged(double)", lambda angle: self._on_angle(2, angle))

    def show(self, own_mm: float, pose: Pose = UNCHANGED) -> None:
        """Show the pose of a template whose own diameter is ``own_mm``; 0: there is none."""
        self._setting, self.pose, self._own_mm = True, pose, own_mm
        if own_mm:
            self._diameter.minimum = own_mm / 10
            self._diameter.maximum = min(own_mm * 10, max(own_mm * pose.scale, 3 * own_mm, _LARGEST_MM))
            self._diameter.value = own_mm * pose.scale
        for slider, angle in zip(self._turns, pose.rotation, strict=True):
            slider.value = (angle + 180) % 360 - 180
        self._setting = False

    def _on_diameter(self, diameter: float) -> None:
        if not self._setting and self._own_mm:
            self.pose = replace(self.pose, scale=min(max(diameter / self._own_mm, 0.1), 10.0))
            self._changed()

    def _on_angle(self, axis: int, angle: float) -> None:
        if not self._setting:
            turned = list(self.pose.rotation)
            turned[axis] = float(angle)
            self.pose = replace(self.pose, rotation=(turned[0], turned[1], turned[2]))
            self._changed()
