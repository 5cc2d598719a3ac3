"""Charts of an evaluation in Slicer's plot views: error by slice, Dice of bone, HU along a line, dose and volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import slicer

from synthct.scene.evaluation.tables import fill_table
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
    if chart is None or chart.GetScene() is None:
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", slicer.mrmlScene.GenerateUniqueName(name))
    own = table is None
    for series in [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]:
        if series is None:
            continue
        if own:
            table = series.GetTableNode()
        slicer.mrmlScene.RemoveNode(series)
    chart.RemoveAllPlotSeriesNodeIDs()
    if own:
        table = fill_table(table, name, columns)
    chart.SetTitle(name)
    chart.SetXAxisTitle(titles[0])
    chart.SetYAxisTitle(titles[1])
    chart.SetGridVisibility(True)
    x = next(iter(columns))
    for line in lines:
        series = add_line(chart, table, line.name, (x, line.column), line.colour)
        if line.dashed:
            series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleDash)
    return chart


def draw_slices(
    chart: slicer.vtkMRMLPlotChartNode | None,
    name: str,
    columns: Mapping[str, Sequence[float]],
    table: slicer.vtkMRMLTableNode | None = None,
) -> slicer.vtkMRMLPlotChartNode:
    """Draw an error by slice (`HEIGHT`, `MAE`, `ME`) as :func:`draw` does."""
    lines = [Line(MAE, DARK, "mean absolute error"), Line(ME, RED, "mean error")]
    return draw(chart, name, columns, lines, ("height above the lowest slice, mm", "HU"), table)
