"""The application's window: the module's panel at the left, the slice views, and a plot where the layout has one."""

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .modules import ScriptedModule
from .plot_views import has_plot, qMRMLPlotWidget
from .pythonqt import unwrap
from .slice_views import qMRMLSliceWidget

BESIDE = {"Red": (0, 0, 2, 1), "Yellow": (0, 1, 1, 1), "Green": (1, 1, 1, 1), "Plot": (2, 0, 1, 2)}
QUARTERS = {"Red": (0, 0, 1, 1), "Plot": (0, 1, 1, 1), "Green": (1, 0, 1, 1), "Yellow": (1, 1, 1, 1)}
"""Row, column, rows and columns of the views."""


class ModuleSelector(QtWidgets.QComboBox):
    """The list of modules in the tool bar."""

    def __init__(self, window: "qSlicerMainWindow"):
        super().__init__(window)
        self._window = window

    def selectModule(self, name: str) -> None:
        """Show a module."""
        self._window.show_module(getattr(slicer.modules, name.lower()))

    selectedModule = QtCore.Property(str, lambda self: self.currentText())


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """A window like Slicer's."""

    def __init__(self, application_logic: Any):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer (embedded host)")
        self.resize(1280, 800)
        self._frame: Any = None
        self._selector = ModuleSelector(self)
        bar = self.addToolBar("Module selection")
        bar.setMovable(False)
        bar.addWidget(QtWidgets.QLabel(" Modules: "))
        bar.addWidget(self._selector)
        self._scroll = QtWidgets.QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setMinimumWidth(460)
        self._dock = QtWidgets.QDockWidget(self)
        self._dock.setObjectName("PanelDockWidget")
        self._dock.setWidget(self._scroll)
        self._dock.setTitleBarWidget(QtWidgets.QWidget())
        self.addDockWidget(QtCore.Qt.DockWidgetArea.LeftDockWidgetArea, self._dock)
        views = QtWidgets.QWidget(self)
        grid = QtWidgets.QGridLayout(views)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        self.slice_widgets = {
            name: qMRMLSliceWidget(application_logic.GetSliceLogicByLayoutName(name), name, views)
            for name in ("Red", "Yellow", "Green")
        }
        self.plot_widget = qMRMLPlotWidget(views)
        self.plot_widget.hide()
        for row in range(2):
            grid.setRowStretch(row, 2)
        self._grid = grid
        self.setCentralWidget(views)
        self.statusBar()
        self._layout_node: Any = None

    def follow_layout(self, node: Any) -> None:
        """Show a plot view whenever the layout node asks for one; the slice views are always the same three.

        Four-up with a plot is laid out as in Slicer, everything else alike.
        """
        self._layout_node = node
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._show_layout())
        self._show_layout()

    def _show_layout(self):
        plot = has_plot(self._layout_node.GetViewArrangement())
        nodes = slicer.util.getNodesByClass("vtkMRMLPlotViewNode") if plot else []
        self.plot_widget.setMRMLPlotViewNode(nodes[0] if nodes else None)
        self.plot_widget.setVisible(bool(nodes))
        quarters = self._layout_node.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView
        widgets = {**self.slice_widgets, "Plot": self.plot_widget}
        for name, place in (QUARTERS if quarters else BESIDE).items():
            self._grid.addWidget(widgets[name], *place)
        self._grid.setRowStretch(2, 3 if nodes and not quarters else 0)
        self._grid.setColumnStretch(0, 3)
        self._grid.setColumnStretch(1, 3 if quarters else 2)

    def moduleSelector(self) -> QtWidgets.QComboBox:
        """Return the list of modules."""
        return self._selector

    def show_module(self, module: ScriptedModule) -> None:
        """Put a module's panel into the window, and tell it and the one before."""
        frame = unwrap(module.widgetRepresentation())
        if frame is self._frame:
            return
        if self._frame is not None:
            self._frame.exit()
            self._scroll.takeWidget().hide()
        self._frame = frame
        if self._selector.findText(module.title or module.name) < 0:
            self._selector.addItem(module.title or module.name)
        self._selector.setCurrentText(module.title or module.name)
        self._scroll.setWidget(frame)
        frame.show()
        frame.enter()
