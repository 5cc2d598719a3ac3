"""Images as points on a plane (t-SNE) in Slicer's plot view, coloured by where they come from."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from synthct.errors import UserError
from synthct.scene.evaluation.charts import set_axes, without_series
from synthct.scene.evaluation.tables import fill_table, rows_of, saved
from synthct.scene.plots import add_points

_TEXTS = ("set", "source", "case", "image", "series")
_COLOURS = (
    (0.12, 0.47, 0.71), (0.84, 0.15, 0.16), (0.17, 0.63, 0.17), (0.58, 0.4, 0.74), (0.89, 0.47, 0.0),
    (0.55, 0.34, 0.29), (0.89, 0.47, 0.76), (0.5, 0.5, 0.5), (0.74, 0.74, 0.13), (0.09, 0.75, 0.81),
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One sample of one image."""

    which: str
    """``real`` or ``synthetic``."""
    source: str
    """Its centre or class, or the set."""
    case: str
    image: Path
    series: str | None

    @property
    def kind(self) -> str:
        """What the legend calls it."""
        return self.which if self.source == self.which else f"{self.which}: {self.source}"


def take_points(path: Path, node: slicer.vtkMRMLTableNode | None, name: str) -> slicer.vtkMRMLTableNode:
    """Put the points that ``synthct distribution --places`` has written into a table node (None: a new one).

    Each kind of point has a column of heights of its own, empty at the others' rows, so that a row is a point.

    Raises
    ------
    UserError
        They cannot be read.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        columns: dict[str, Any] = {key: [row[key] for row in rows] for key in _TEXTS}
        columns |= {axis: [float(row[axis]) for row in rows] for axis in ("x", "y")}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read.", f"{error}.", "Compare again.") from error
    kinds = [_point(row).kind for row in rows]
    for kind in dict.fromkeys(kinds):
        columns[kind] = [y if each == kind else math.nan for y, each in zip(columns["y"], kinds, strict=True)]
    return fill_table(node, name, columns)


def points_of(node: slicer.vtkMRMLTableNode | None) -> list[Point]:
    """Return the points of such a table, row by row."""
    return [_point(row) for row in rows_of(node)]


def draw_points(
    chart: slicer.vtkMRMLPlotChartNode | None, table: slicer.vtkMRMLTableNode, name: str
) -> slicer.vtkMRMLPlotChartNode:
    """Draw the points into a chart (None: a new one): circles are real, crosses synthetic; a colour for each source."""
    chart = without_series(chart, name)
    set_axes(chart, name, ("", ""))
    kinds = {point.kind: point for point in points_of(table)}
    sources = list(dict.fromkeys(point.source for point in kinds.values()))
    for kind, point in sorted(kinds.items()):
        colour = _COLOURS[sources.index(point.source) % len(_COLOURS)]
        add_points(chart, table, kind, ("x", saved(kind)), colour, cross=point.which != "real")
    return chart


def _point(row: dict[str, str]) -> Point:
    which, source, case, image, series = (row[key].strip() for key in _TEXTS)
    return Point(which, source, case, Path(image), series or None)
