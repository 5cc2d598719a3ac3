"""Charts of an evaluation in Slicer's plot views: error by slice, Dice of bone, HU along a line, dose and volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import slicer

from synthct.scene.evaluation.tables import fill_table, saved
from synthct.scene.plots import add_line

Colour = tuple[float, float, float]
DARK, RED, BLUE = (0.15, 0.15, 0.15), (0.84, 0.15, 0.16), (0.12, 0.47, 0.71)

HEIGHT, MAE, ME = "height, mm", "mean absolute error, HU", "mean error, HU"
"""Columns of an error by slice."""


@dataclass(frozen=True)
class Line:
    """One curve: its column of the chart's table, its colour, and what the legend calls it."""

    column: str
    colour: Colour
    name: str
    dashed: bool = False


def draw(
    chart: slicer.vtkMRMLPlotChartNode | None,
    name: str,
    columns: Mapping[str, Sequence[float]],
    lines: Sequence[Line],
    titles: tuple[str, str],
    table: slicer.vtkMRMLTableNode | None = None,
) -> slicer.vtkMRMLPlotChartNode:
    """Draw curves into a chart, in place of what it held; chart, curves and table are saved with the scene.

    Parameters
    ----------
    chart
        None: a new one.
    name
        Of chart and table, and the title.
    columns
        Of the table; the first is x.
    titles
        Of the axes.
    table
        Holds the columns already; None: the chart's own table is filled.
    """
    own = table is None
    if own:
        table = _table_of(chart)
    chart = without_series(chart, name)
    if own:
        table = fill_table(table, name, columns)
    set_axes(chart, name, titles)
    x = saved(next(iter(columns)))
    for line in lines:
        series = add_line(chart, table, line.name, (x, saved(line.column)), line.colour)
        if line.dashed:
            series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleDash)
    return chart


def without_series(chart: slicer.vtkMRMLPlotChartNode | None, name: str) -> slicer.vtkMRMLPlotChartNode:
    """Return a chart without its curves, whose nodes go; None or one that is gone: a new one of that name."""
    if chart is None or chart.GetScene() is None:
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", slicer.mrmlScene.GenerateUniqueName(name))
    for series in _series_of(chart):
        slicer.mrmlScene.RemoveNode(series)
    chart.RemoveAllPlotSeriesNodeIDs()
    return chart


def set_axes(chart: slicer.vtkMRMLPlotChartNode, name: str, titles: tuple[str, str]) -> None:
    """Give a chart its title and those of its axes, and a grid."""
    chart.SetTitle(name)
    chart.SetXAxisTitle(titles[0])
    chart.SetYAxisTitle(titles[1])
    chart.SetGridVisibility(True)


def _series_of(chart: slicer.vtkMRMLPlotChartNode) -> list[slicer.vtkMRMLPlotSeriesNode]:
    series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    return [each for each in series if each is not None]


def _table_of(chart: slicer.vtkMRMLPlotChartNode | None) -> slicer.vtkMRMLTableNode | None:
    """The table that a chart's last curve is drawn from, where the chart is still in the scene."""
    if chart is None or chart.GetScene() is None:
        return None
    series = _series_of(chart)
    return series[-1].GetTableNode() if series else None


def draw_slices(
    chart: slicer.vtkMRMLPlotChartNode | None,
    name: str,
    columns: Mapping[str, Sequence[float]],
    table: slicer.vtkMRMLTableNode | None = None,
) -> slicer.vtkMRMLPlotChartNode:
    """Draw an error by slice (`HEIGHT`, `MAE`, `ME`) as :func:`draw` does."""
    lines = [Line(MAE, DARK, "mean absolute error"), Line(ME, RED, "mean error")]
    return draw(chart, name, columns, lines, ("height above the lowest slice, mm", "HU"), table)
