"""Plot views without OpenGL: the chart that a ``vtkMRMLPlotViewNode`` shows, drawn by matplotlib into a label."""

import io
from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

_SERIES = slicer.vtkMRMLPlotSeriesNode
_LINES = {_SERIES.LineStyleNone: "", _SERIES.LineStyleDash: "--"}
_MARKERS = {_SERIES.MarkerStyleCross: "x", _SERIES.MarkerStyleCircle: "o"}
"""Those that the modules use; any other line is drawn through, any other marker not at all."""


class qMRMLPlotView(QtWidgets.QLabel):
    """The picture of one chart; a point is selected by a test that emits the signal, not by the mouse."""

    dataSelected = QtCore.Signal(object, object)
    """IDs of series (``vtkStringArray``) and, of each, the rows (collection of ``vtkIdTypeArray``)."""
    SIGNAL_OVERLOADS: ClassVar[dict[str, str]] = {"dataSelected(vtkStringArray*,vtkCollection*)": "dataSelected"}

    def __init__(self, parent: QtWidgets.QWidget):
        super().__init__(parent)
        self._view_node: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._update = QtCore.QTimer(self, interval=0, singleShot=True)
        self._update.timeout.connect(self.show_picture)
        self.setMinimumSize(120, 120)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Ignored)
        self.setStyleSheet("background: white")

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Show what this node says."""
        self._view_node = node
        self._update.start()

    def mrmlPlotViewNode(self) -> Any:
        """Return the view node."""
        return self._view_node

    def fitToContent(self) -> None:
        """Let the axes hold all points, which they always do here."""
        self._update.start()

    def resizeEvent(self, event):
        self._update.start()
        super().resizeEvent(event)

    def show_picture(self) -> None:
        """Draw the chart of the view node and listen for its changes."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        chart = self._view_node.GetPlotChartNode() if self._view_node is not None else None
        self._observe(self._view_node, chart)
        if chart is None or not self.isVisible():
            self.clear()
            return
        picture = QtGui.QPixmap()
        picture.loadFromData(self._drawn(chart))
        self.setPixmap(picture)

    def _observe(self, *nodes):
        for node in nodes:
            if node is not None:
                self._observed.append(
                    (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update.start()))
                )

    def _drawn(self, chart):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(max(self.width(), 120) / 100, max(self.height(), 120) / 100), dpi=100)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(title=chart.GetTitle(), xlabel=chart.GetXAxisTitle(), ylabel=chart.GetYAxisTitle())
        axes.grid(chart.GetGridVisibility())
        for number in range(chart.GetNumberOfPlotSeriesNodes()):
            series = chart.GetNthPlotSeriesNode(number)
            table = series.GetTableNode() if series is not None else None
            self._observe(series, table)
            columns = [
                table.GetTable().GetColumnByName(name)
                for name in ((series.GetXColumnName(), series.GetYColumnName()) if table is not None else ())
            ]
            if columns and all(columns):
                axes.plot(
                    *(vtk_to_numpy(column) for column in columns),
                    color=series.GetColor(),
                    alpha=series.GetOpacity(),
                    linewidth=series.GetLineWidth(),
                    linestyle=_LINES.get(series.GetLineStyle(), "-"),
                    marker=_MARKERS.get(series.GetMarkerStyle(), ""),
                    markersize=series.GetMarkerSize() * 0.72,
                    label=series.GetName(),
                )
        if axes.lines:
            axes.legend(fontsize=7)
        figure.tight_layout()
        data = io.BytesIO()
        figure.savefig(data, format="png")
        return data.getvalue()


class qMRMLPlotWidget(QtWidgets.QFrame):
    """A plot view; the bar above it is not imitated."""

    def __init__(self, parent: QtWidgets.QWidget):
        super().__init__(parent)
        self._view = qMRMLPlotView(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)

    def plotView(self) -> QtWidgets.QWidget:
        """Return the view."""
        return self._view

    def mrmlPlotViewNode(self) -> Any:
        """Return the view node."""
        return self._view.mrmlPlotViewNode()

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Show what this node says."""
        self._view.setMRMLPlotViewNode(node)


def has_plot(layout: int) -> bool:
    """Return whether a layout (a number of ``vtkMRMLLayoutNode``) has a plot view."""
    return slicer.modules.plots.logic().GetLayoutWithPlot(layout) == layout
