"""``slicer.app`` and the layout manager."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .facade import Facade
from .io_manager import CoreIOManager
from .modules import ModuleManager
from .plot_views import has_plot
from .pythonqt import unwrap, wrap


class LayoutManager(Facade):
    """``slicer.app.layoutManager()``: the three slice views, and a plot view in the layouts that have one."""

    FACTS = "slicer.app.layoutManager()"

    def __init__(self, slice_widgets: dict[str, Any], plot_widget: Any, logic: Any):
        self._slice_widgets = slice_widgets
        self._plot_widget = plot_widget
        self._logic = logic
        self.threeDViewCount = 0
        self.tableViewCount = 0

    @property
    def layout(self) -> int:
        """The number of the layout shown."""
        return self._logic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        """Show another layout."""
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def layoutLogic(self) -> Any:
        """Return the logic that knows the layouts."""
        return self._logic

    @property
    def plotViewCount(self) -> int:
        """How many plot views the layout has."""
        return int(has_plot(self.layout))

    def plotWidget(self, index: int) -> Any:
        """Return a plot view with its bar, or None."""
        return wrap(self._plot_widget) if 0 <= index < self.plotViewCount else None

    def sliceViewNames(self) -> tuple[str, ...]:
        """Return the names of the slice views."""
        return tuple(self._slice_widgets)

    def sliceWidget(self, name: str) -> Any:
        """Return a slice view with its bar, or None."""
        return wrap(self._slice_widgets.get(name))

    def mrmlSliceLogics(self) -> Any:
        """Return the collection of slice logics."""
        return slicer.app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self) -> None:
        """Fit all slice views to their background volume."""
        for widget in self._slice_widgets.values():
            widget.fitSliceToBackground()


class CommandOptions:
    """``slicer.app.commandOptions()``."""

    runPythonAndExit = False


class Application(Facade):
    """``slicer.app``."""

    FACTS = "slicer.app"

    def __init__(self, application: QtWidgets.QApplication, logic: Any, temporary: Path, testing: bool):
        self._application = application
        self._logic = logic
        self._testing = testing
        self._io_manager = CoreIOManager()
        self._module_manager = ModuleManager()
        self._command_options = CommandOptions()
        self._layout_manager: LayoutManager | None = None
        self._exit_code: int | None = None
        version = slicer.slicer_version if hasattr(slicer, "slicer_version") else "5.13.0"
        self.applicationName = "Slicer"
        self.mainApplicationName = "Slicer"
        self.applicationVersion = version
        self.majorVersion, self.minorVersion = (int(part) for part in version.split(".")[:2])
        self.temporaryPath = str(temporary)
        self.slicerHome = str(temporary)
        self.startupWorkingPath = str(Path.cwd())
        self.os = {"linux": "linux", "darwin": "macosx", "win32": "win"}.get(sys.platform, sys.platform)
        self.arch = platform.machine()

    def applicationLogic(self) -> Any:
        """Return the application logic."""
        return self._logic

    def mrmlScene(self) -> Any:
        """Return the scene."""
        return slicer.mrmlScene

    def layoutManager(self) -> LayoutManager | None:
        """Return the layout manager, None without a main window."""
        return self._layout_manager

    def coreIOManager(self) -> CoreIOManager:
        """Return what reads and writes files."""
        return self._io_manager

    def ioManager(self) -> CoreIOManager:
        """Return what reads and writes files."""
        return self._io_manager

    def moduleManager(self) -> ModuleManager:
        """Return what knows the modules."""
        return self._module_manager

    def moduleLogic(self, name: str) -> Any:
        """Return the logic of a module."""
        return self._logic.GetModuleLogic(name)

    def processEvents(self) -> None:
        """Let Qt deliver what waits."""
        self._application.processEvents()
        self._application.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)

    def userSettings(self) -> Any:
        """Return the user's settings."""
        return wrap(QtCore.QSettings())

    def settings(self) -> Any:
        """Return the settings."""
        return wrap(QtCore.QSettings())

    def testingEnabled(self) -> bool:
        """Return whether dialogs are skipped, as with ``Slicer --testing``."""
        return self._testing

    def commandOptions(self) -> CommandOptions:
        """Return the command line's options."""
        return self._command_options

    def arguments(self) -> tuple[str, ...]:
        """Return the words of the command line."""
        return tuple(sys.argv)

    def applicationPid(self) -> int:
        """Return the number of this process."""
        return os.getpid()

    def translate(self, context: str, text: str) -> str:
        """Return the text in the user's language."""
        return text

    def topLevelWidgets(self) -> tuple[Any, ...]:
        """Return all windows."""
        return wrap(self._application.topLevelWidgets())

    def setOverrideCursor(self, cursor: Any) -> None:
        """Show another cursor."""
        shape = QtCore.Qt.CursorShape(cursor) if isinstance(cursor, int) else unwrap(cursor)
        self._application.setOverrideCursor(QtGui.QCursor(shape))

    def restoreOverrideCursor(self) -> None:
        """Show the cursor from before."""
        self._application.restoreOverrideCursor()

    def overrideCursor(self) -> Any:
        """Return the cursor shown instead of the normal one, or None."""
        return wrap(self._application.overrideCursor())

    def startupEnvironment(self) -> dict[str, str]:
        """Return the environment that the application was started in."""
        return dict(os.environ)

    def pauseRender(self) -> None:
        """Hold back rendering; slice pictures are only made in the event loop anyway."""

    def resumeRender(self) -> None:
        """Render again."""

    def setRenderPaused(self, paused: bool) -> None:
        """Hold back rendering or render again."""

    def exit(self, code: int = 0) -> None:
        """End the application with an exit code at the next turn of its event loop."""
        self._exit_code = code

    def quit(self) -> None:
        """End the application."""
        self._exit_code = 0


def default_style(application: QtWidgets.QApplication) -> None:
    """Give the application the same look on every machine: Fusion and the DejaVu font that matplotlib brings."""
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    for name in (font.name, "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSansMono.ttf"):
        QtGui.QFontDatabase.addApplicationFont(str(font.with_name(name)))
    application.setFont(QtGui.QFont("DejaVu Sans", 9))
    application.setStyle("Fusion")
