"""The running host: start-up, and what tests and the demo do with it."""

import atexit
import logging
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from . import dialogs, qt_modules, signals
from .mrml_widgets import CLASSES, qSlicerScriptedLoadableModuleWidget
from .node_selector import qMRMLNodeComboBox
from .pythonqt import proxy_class, unwrap
from .scene import make_scene


class Host:
    """The embedded Slicer. Use :func:`host.start`."""

    def __init__(self, offscreen: bool, testing: bool, main_window: bool):
        if offscreen:
            os.environ["QT_QPA_PLATFORM"] = "offscreen"
        self.temporary = Path(tempfile.mkdtemp(prefix="embedded-slicer-"))
        self.vtk_log = self.temporary / "vtk.log"
        """What VTK, ITK and MRML have to say; Slicer shows it in its error log."""
        atexit.register(self._end)
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
        vtk.vtkLogger.LogToFile(str(self.vtk_log), vtk.vtkLogger.APPEND, vtk.vtkLogger.VERBOSITY_WARNING)
        QtCore.qInstallMessageHandler(_print_qt_message)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(self.temporary / "settings")
        )
        self._application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([sys.argv[0] or "Slicer"])
        self._application.setOrganizationName("NA-MIC")
        self._application.setApplicationName("Slicer")
        self._application.setQuitOnLastWindowClosed(False)
        self.installed: list[str] = []
        """What ``slicer.util.pip_install`` was asked for."""
        self.window: Any = None
        self._install_modules()
        _, logic = make_scene(self.temporary)
        from .application import Application, LayoutManager, default_style
        from .modules import Modules, ScriptedModule

        default_style(self._application)
        slicer.app = Application(self._application, logic, self.temporary, testing)
        slicer.modules = Modules(logic)
        slicer.qSlicerScriptedLoadableModule = ScriptedModule
        self._patch_util()
        if main_window:
            from .main_window import qSlicerMainWindow

            self.window = qSlicerMainWindow(logic)
            layout_logic = slicer.vtkMRMLLayoutLogic()
            layout_logic.SetMRMLScene(slicer.mrmlScene)
            slicer.app._layout_manager = LayoutManager(self.window.slice_widgets, self.window.plot_widget, layout_logic)
            slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
            self.window.follow_layout(layout_logic.GetLayoutNode())
            self.window.show()
        self.process_events()

    def _install_modules(self):
        qt_modules.install()
        slicer.selfTests = {}
        for kind in (*CLASSES.values(), qMRMLNodeComboBox, qSlicerScriptedLoadableModuleWidget):
            setattr(slicer, kind.__name__, proxy_class(kind))
        from . import translations

        sys.modules["slicer.i18n"] = slicer.i18n = translations
        from . import scripted_module

        sys.modules["slicer.ScriptedLoadableModule"] = slicer.ScriptedLoadableModule = scripted_module
        from . import parameter_nodes

        sys.modules["slicer.parameterNodeWrapper"] = slicer.parameterNodeWrapper = parameter_nodes

    def _patch_util(self):
        """Replace the few functions of ``slicer.util`` that need Qt's loader, a shell or a person."""
        from .ui_files import load_ui

        def delay_display(message, autoCloseMsec=1000, parent=None, **kwargs):
            logging.info(message)
            self.process_events()

        def pip_install(requirements, **kwargs):
            self.installed.extend([requirements] if isinstance(requirements, str) else list(requirements))

        def select_module(module):
            self.show(module if isinstance(module, str) else module.name)

        for function, name in (
            (load_ui, "loadUI"),
            (delay_display, "delayDisplay"),
            (pip_install, "pip_install"),
            (select_module, "selectModule"),
        ):
            setattr(slicer.util, name, function)

    # --- what tests and the demo do

    def open_module(self, path: str | Path) -> Any:
        """Load a scripted module from its file, show it and return the Python object of its widget."""
        from .modules import load_module

        return self.show(load_module(path).name)

    def show(self, name: str) -> Any:
        """Show a loaded module and return the Python object of its widget."""
        module = slicer.util.getModule(name)
        if self.window is not None:
            self.window.show_module(module)
        self.process_events()
        return module.widgetRepresentation().self()

    def process_events(self) -> None:
        """Let Qt deliver what waits."""
        slicer.app.processEvents()

    def wait_until(self, predicate: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """Run the event loop until ``predicate`` returns something true, and return that.

        Raises
        ------
        TimeoutError
            After ``timeout_s`` seconds; the message holds what went wrong in slots meanwhile.
        """
        end = time.monotonic() + timeout_s
        while not (result := predicate()):
            if time.monotonic() > end:
                raise TimeoutError(f"nothing after {timeout_s} s; errors in slots: {signals.errors}")
            self.process_events()
            time.sleep(0.01)
        return result

    def screenshot(self, path: str | Path, widget: Any = None, scale: float = 1.0) -> Path:
        """Save a picture of the window, or of one widget, as PNG."""
        real = self.window if widget is None else unwrap(widget)
        for _ in range(3):
            self.process_events()
        picture = real.grab()
        if scale != 1.0:
            mode = QtCore.Qt.TransformationMode.SmoothTransformation
            picture = picture.scaledToWidth(round(picture.width() * scale), mode)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not picture.save(str(path), "PNG"):
            raise OSError(f"{path} cannot be written")
        return path

    answer = staticmethod(dialogs.answer)

    @property
    def dialogs(self) -> list[dialogs.Shown]:
        """The dialogs that came up so far."""
        return dialogs.shown

    @property
    def errors(self) -> list[str]:
        """Exceptions in slots, wrong connections and dialogs without an answer."""
        return signals.errors

    def close_scene(self) -> None:
        """Close the scene, as the user does."""
        slicer.mrmlScene.Clear(0)
        self.process_events()

    def reset(self) -> None:
        """Close the scene and forget dialogs, answers, errors and settings: what a test starts from."""
        self.close_scene()
        if self.window is not None:
            slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        dialogs.forget()
        signals.errors.clear()
        self.installed.clear()
        QtCore.QSettings().clear()

    def provide_packaging(self, provided: bool = True) -> None:
        """Have ``slicer.packaging`` as from 5.11 on (its ``pip_install`` recorded too), or not have it."""
        sys.modules.pop("slicer.packaging", None)
        if provided:
            packaging = types.ModuleType("slicer.packaging")
            packaging.pip_install = slicer.util.pip_install
            sys.modules["slicer.packaging"] = slicer.packaging = packaging
        elif hasattr(slicer, "packaging"):
            del slicer.packaging

    def _end(self):
        modules = vars(slicer.modules) if hasattr(slicer, "modules") else {}
        for widget in [value for name, value in modules.items() if name.endswith("Widget")]:
            widget.cleanup()
        shutil.rmtree(self.temporary, ignore_errors=True)


def _print_qt_message(kind, context, message):
    if "propagateSizeHints" not in message:  # said by the offscreen platform for every window
        print(message, file=sys.stderr)
