"""The geometry of a stack of parallel slices: are they evenly spaced, and how is a shifted stack put upright?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthct.errors import UserError
from synthct.volumes.geometry import Grid

_EVEN_MM = 0.1
"""Slices may lie this far from even distances: scanners round positions."""
_GAP = 1.5
"""A distance of this many usual ones is a gap."""


@dataclass(frozen=True)
class Stack:
    """Parallel slices of one size, sorted along their normal.

    Attributes
    ----------
    positions
        LPS mm of the centre of each slice's first pixel, shape (n, 3).
    directions
        LPS unit vectors along a row (x) and down a column (y) of pixels, shape (2, 3).
    spacing
        mm between pixels along x and y.
    size
        Pixels along x and y.
    labels
        What to call each slice in a message.
    """

    positions: np.ndarray
    directions: np.ndarray
    spacing: tuple[float, float]
    size: tuple[int, int]
    labels: tuple[str, ...]

    @property
    def normal(self) -> np.ndarray:
        """LPS unit vector from the first to the last slice, at right angles to them."""
        normal = np.cross(self.directions[0], self.directions[1])
        return normal / np.linalg.norm(normal)

    @property
    def heights(self) -> np.ndarray:
        """mm of each slice above the first, shape (n,)."""
        return (self.positions - self.positions[0]) @ self.normal

    @property
    def shifts(self) -> np.ndarray:
        """mm by which each slice is shifted along x and y against the first, shape (n, 2)."""
        return (self.positions - self.positions[0]) @ self.directions.T

    @property
    def largest_shift_mm(self) -> float:
        """Largest shift of a slice within its plane."""
        return float(np.abs(self.shifts).max())

    @property
    def usual_distance(self) -> float:
        """mm between neighbours, the median."""
        return float(np.median(np.diff(self.heights)))

    def check(self, name: str, uneven: str) -> float | None:
        """Return the even distance in mm between slices, or None where they are uneven and ``uneven`` permits it.

        Raises
        ------
        UserError
            Two slices in one place; missing slices or uneven distances unless ``uneven`` is ``"interpolate"``.
        """
        steps = np.diff(self.heights)
        doubled = np.flatnonzero(steps < 1e-3)
        if doubled.size:
            first = int(doubled[0])
            raise UserError(
                f"{name} has two slices in the same place: {self.labels[first]} and {self.labels[first + 1]}.",
                "It holds several images of one place (echoes, phases, times, or two series in one).",
                "Put the slices of one stack into a folder of their own.",
            )
        count = len(self.heights)
        mean = float(self.heights[-1] / (count - 1))
        if np.abs(self.heights - mean * np.arange(count)).max() <= _EVEN_MM:
            return mean
        if uneven == "interpolate":
            return None
        usual = self.usual_distance
        wide = np.flatnonzero(steps > _GAP * usual)
        where = [f"{steps[i]:.2f} mm between {self.labels[i]} and {self.labels[i + 1]}" for i in wide[:3]]
        todo = "Find the missing slices, or let them be interpolated (--uneven interpolate)."
        if wide.size and np.abs(np.delete(steps, wide) - usual).max(initial=0) <= _EVEN_MM:
            missing = int(np.rint(steps[wide] / usual - 1).sum())
            raise UserError(
                f"{name} lacks slices: about {missing} are missing.",
                f"The slices are {usual:.2f} mm apart, but there is {', '.join(where)}.",
                todo,
            )
        first = int(np.argmax(np.abs(steps - usual)))
        raise UserError(
            f"{name} has slices at uneven distances, {steps.min():.2f} to {steps.max():.2f} mm.",
            f"Most are {usual:.2f} mm apart, but there is {steps[first]:.2f} mm between "
            f"{self.labels[first]} and {self.labels[first + 1]}.",
            "Let them be interpolated onto even distances (--uneven interpolate), or give another series.",
        )

    def grid(self, distance: float) -> Grid:
        """Return the grid of the slices as they are, ``distance`` mm apart."""
        direction = np.column_stack([*self.directions, self.normal])
        return Grid(
            (*self.size, len(self.positions)),
            (*self.spacing, distance),
            tuple(float(value) for value in self.positions[0]),  # type: ignore[arg-type]
            tuple(direction.ravel().tolist()),
        )

    def remark(self, name: str) -> tuple[str, str, str]:
        """Say in words what `upright` does to this stack."""
        steps = np.diff(self.heights)
        tilt = float(np.degrees(np.arctan2(np.linalg.norm(self.shifts[-1]), self.heights[-1])))
        return (
            f"The slices of {name} were put upright.",
            f"They are shifted against each other by {tilt:.1f}° (gantry tilt) and "
            f"{steps.min():.2f} to {steps.max():.2f} mm apart.",
            "The result is interpolated between pixels.",
        )


def upright(array: np.ndarray, stack: Stack, distance: float | None, outside: float) -> tuple[np.ndarray, Grid]:
    """Shift every slice back within its plane, and interpolate between slices where their distances are uneven.

    Parameters
    ----------
    array
        Slices in the order of the stack, shape (z, y, x).
    stack
        Where they lie.
    distance
        Their even distance in mm; None: they are uneven and interpolated onto the smallest usual distance.
    outside
        Value where no slice reaches.

    Returns
    -------
    tuple
        The voxels in the type of ``array``, and their grid, which holds every slice whole.
    """
    spacing = np.array(stack.spacing)
    shifts = stack.shifts / spacing
    low = np.floor(shifts.min(axis=0) + 1e-6).astype(int)
    high = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
    size = np.array(stack.size) + high - low
    if distance is None:
        steps = np.diff(stack.heights)
        distance = float(np.median(steps[steps <= np.median(steps) * _GAP]))
        distance = stack.heights[-1] / max(1, round(stack.heights[-1] / distance))
    heights = np.arange(round(stack.heights[-1] / distance) + 1) * distance
    result = np.empty((len(heights), size[1], size[0]), array.dtype)
    for place, height in enumerate(heights):
        above = int(np.clip(np.searchsorted(stack.heights, height - 1e-3), 1, len(stack.heights) - 1))
        below = above - 1
        share = float((height - stack.heights[below]) / (stack.heights[above] - stack.heights[below]))
        share = round(min(1.0, max(0.0, share)), 3)
        plane = np.zeros((size[1], size[0]), np.float32)
        for index, weight in ((below, 1 - share), (above, share)):
            if weight:
                plane += np.float32(weight) * _shifted(array[index], shifts[index] - low, size, outside)
        result[place] = np.rint(plane) if array.dtype.kind in "iu" else plane
    origin = stack.positions[0] + (low * spacing) @ stack.directions
    grid = Grid(
        (int(size[0]), int(size[1]), len(heights)),
        (*stack.spacing, float(distance)),
        tuple(float(value) for value in origin),  # type: ignore[arg-type]
        stack.grid(distance).direction,
    )
    return result, grid


def _shifted(plane: np.ndarray, shift: np.ndarray, size: np.ndarray, outside: float) -> np.ndarray:
    """Move a slice by ``shift`` pixels (x, y; never negative) into a larger one, linear between pixels."""
    whole = np.floor(shift + 1e-6).astype(int)
    rest = np.clip(shift - whole, 0, 1)
    out = np.full((size[1], size[0]), outside, np.float32)
    moved = plane.astype(np.float32)
    for axis, share in ((0, rest[1]), (1, rest[0])):
        if share > 1e-4:
            edge = [(0, 0), (0, 0)]
            edge[axis] = (1, 1)
            wide = np.pad(moved, edge, constant_values=outside)
            before, after = (wide[:-1], wide[1:]) if axis == 0 else (wide[:, :-1], wide[:, 1:])
            moved = before * np.float32(share) + after * np.float32(1 - share)
    rows = min(moved.shape[0], out.shape[0] - whole[1])
    columns = min(moved.shape[1], out.shape[1] - whole[0])
    out[whole[1] : whole[1] + rows, whole[0] : whole[0] + columns] = moved[:rows, :columns]
    return out
