"""Lines, columns and charts of Slicer's plot views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support


def add_line(
    chart: slicer.vtkMRMLPlotChartNode,
    table: slicer.vtkMRMLTableNode,
    name: str,
    columns: tuple[str, str],
    colour: tuple[float, float, float],
    width: float = 2,
    opacity: float = 1.0,
) -> slicer.vtkMRMLPlotSeriesNode:
    """Add a line without markers to a chart; its node is hidden from the user's lists.

    Parameters
    ----------
    columns
        Of the table, for x and y.
    """
    series = slicer.vtkMRMLPlotSeriesNode()
    series.SetName(name)
    series.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(series)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(columns[0])
    series.SetYColumnName(columns[1])
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    series.SetColor(*colour)
    series.SetOpacity(opacity)
    series.SetLineWidth(width)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return series


def add_points(
    chart: slicer.vtkMRMLPlotChartNode,
    table: slicer.vtkMRMLTableNode,
    name: str,
    columns: tuple[str, str],
    colour: tuple[float, float, float],
    cross: bool = False,
) -> slicer.vtkMRMLPlotSeriesNode:
    """Add points without a line to a chart, as circles or crosses; otherwise as :func:`add_line`."""
    series = add_line(chart, table, name, columns, colour)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleNone)
    style = slicer.vtkMRMLPlotSeriesNode.MarkerStyleCross if cross else slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle
    series.SetMarkerStyle(style)
    series.SetMarkerSize(9)
    return series


def column(title: str, values: Sequence[float]) -> vtk.vtkDoubleArray:
    """Return a column of a table."""
    array = numpy_support.numpy_to_vtk(np.array(values, dtype=float), deep=True)
    array.SetName(title)
    return array


def show_chart(chart: slicer.vtkMRMLPlotChartNode) -> None:
    """Show a chart in a layout that has a plot view, with all its points."""
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    layout_manager = slicer.app.layoutManager()
    if layout_manager is not None and layout_manager.plotViewCount > 0:
        layout_manager.plotWidget(0).plotView().fitToContent()
