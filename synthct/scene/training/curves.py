"""The curves of a training in Slicer's own plot view: each scalar raw and, stronger, as its running mean."""

from __future__ import annotations

import time
from collections.abc import Mapping

import slicer
import vtk

from synthct.scene.plots import add_line, column, show_chart
from synthct.scene.training.run import Curve
from synthct.smoothing import ALPHA

GROUPS = {"loss/": ("Losses", "loss"), "validation/": ("Validation", "score")}
"""Beginning of a curve's name to the chart it is drawn in and what its axis says."""
MOST_POINTS = 1000
INTERVAL_S = 2.0
"""Charts are not drawn anew more often than this."""
_COLOURS = ((0.12, 0.47, 0.71), (0.84, 0.15, 0.16), (0.17, 0.63, 0.17), (0.58, 0.40, 0.74), (0.89, 0.47, 0.0))
_STEP = "Step"


class CurvePlots:
    """Charts, series and tables of one run, made when they are first shown and kept up to date from then on.

    Tables and series are hidden from the user's lists, and nothing is saved with the scene: the run keeps its events.
    """

    def __init__(self) -> None:
        self._charts: dict[str, slicer.vtkMRMLPlotChartNode] = {}
        self._tables: dict[str, slicer.vtkMRMLTableNode] = {}
        self._updated = 0.0

    @property
    def shown(self) -> bool:
        """Whether any chart has been shown and is still in the scene."""
        return any(_in_scene(chart) for chart in self._charts.values())

    def show(self, group: str, curves: Mapping[str, Curve]) -> None:
        """Show the chart of a group (a key of `GROUPS`) in a layout that has a plot view."""
        if not _in_scene(self._charts.get(group)):
            self._charts[group] = self._new_chart(group)
        self._updated = 0.0
        self.update(curves)
        show_chart(self._charts[group])

    def update(self, curves: Mapping[str, Curve]) -> None:
        """Give the charts that were shown the newest values, at most every `INTERVAL_S` seconds."""
        charts = {group: chart for group, chart in self._charts.items() if _in_scene(chart)}
        if not charts or time.monotonic() - self._updated < INTERVAL_S:
            return
        self._updated = time.monotonic()
        for name in [name for name in self._tables if name not in curves]:
            slicer.mrmlScene.RemoveNode(self._tables.pop(name))  # another run's; its series go by themselves
        for group, chart in charts.items():
            members = {name: curve for name, curve in curves.items() if name.startswith(group)}
            for number, (name, curve) in enumerate(members.items()):
                if not _in_scene(self._tables.get(name)):
                    self._tables[name] = self._new_table(name)
                    self._add_series(chart, name.removeprefix(group), self._tables[name], _COLOURS[number % 5])
                _fill(self._tables[name], curve)

    def clear(self) -> None:
        """Take every node out of the scene again."""
        nodes = [node for chart in self._charts.values() for node in _series(chart)]
        for node in [*nodes, *self._charts.values(), *self._tables.values()]:
            if _in_scene(node):
                slicer.mrmlScene.RemoveNode(node)
        self._charts, self._tables = {}, {}

    def _new_chart(self, group: str) -> slicer.vtkMRMLPlotChartNode:
        title, axis = GROUPS[group]
        chart = _new_node("vtkMRMLPlotChartNode", f"Training: {title.lower()}", hidden=False)
        chart.SetTitle(f"{title}: raw, and mean with α {ALPHA:g}")
        chart.SetXAxisTitle("training step")
        chart.SetYAxisTitle(axis)
        chart.SetGridVisibility(True)
        return chart

    def _new_table(self, name: str) -> slicer.vtkMRMLTableNode:
        return _new_node("vtkMRMLTableNode", f"Training: {name}", hidden=True)

    def _add_series(
        self,
        chart: slicer.vtkMRMLPlotChartNode,
        name: str,
        table: slicer.vtkMRMLTableNode,
        colour: tuple[float, float, float],
    ) -> None:
        """Add the two lines of a scalar to its chart: pale and thin as it came, strong for the mean."""
        for values, label, width, opacity in (("Raw", name, 1, 0.35), ("Mean", f"{name}, mean", 3, 1.0)):
            series = add_line(chart, table, label, (_STEP, values), colour, width, opacity)
            series.SetSaveWithScene(False)


def _new_node(kind: str, name: str, hidden: bool) -> slicer.vtkMRMLNode:
    node = getattr(slicer, kind)()
    node.SetName(name)
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(hidden)
    return slicer.mrmlScene.AddNode(node)


def _in_scene(node: slicer.vtkMRMLNode | None) -> bool:
    return node is not None and node.GetScene() is not None


def _series(chart: slicer.vtkMRMLPlotChartNode) -> list[slicer.vtkMRMLPlotSeriesNode]:
    return [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]


def _fill(table_node: slicer.vtkMRMLTableNode, curve: Curve) -> None:
    """Put a curve into its table, thinned where it has many points; the last one is always there."""
    stride = -(-len(curve.steps) // MOST_POINTS)
    table = vtk.vtkTable()
    for title, values in ((_STEP, curve.steps), ("Raw", curve.values), ("Mean", curve.means)):
        table.AddColumn(column(title, values[::-1][::stride][::-1]))
    table_node.SetAndObserveTable(table)
