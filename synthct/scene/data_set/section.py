"""The section "Data set" of LabelToCT: volumes with planted nodules and their CTs, made by ``synthct dataset``.

The job is a process of its own that goes on when Slicer or the scene is closed; it is known by its folder alone.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.choosers import DeviceChooser
from synthct.scene.data_set.folder import JOB, DataSet, load_volume
from synthct.scene.data_set.inputs import usable_cases, usable_templates
from synthct.scene.jobs import Job
from synthct.scene.label_synthesis.models import label_card
from synthct.scene.progress import show_progress
from synthct.scene.session import Session

POLL_MS = 250
_PATHS = {
    "dataSetCohort": "cohortPathEdit",
    "dataSetLibrary": "libraryPathEdit",
    "dataSetModel": "modelPathEdit",
    "dataSetSplit": "splitPathEdit",
    "dataSetFolder": "outputPathEdit",
}
"""Parameters that are paths, and where they are shown."""
_TITLE = "Data set"
_MOST_WARNINGS = 5


class DataSetSection:
    """Everything inside the collapsible button "Data set" of LabelToCT.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Of the module; its warm worker is ended before a data set is begun.
    devices
        Of the module: the data set is made on the device chosen there.
    parameters
        Returns the parameter node (``dataSet...``), or None.
    read_card
        Returns the card of a model's path, or raises `UserError`.

    Attributes
    ----------
    job
        What works in the chosen folder, or None.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        devices: DeviceChooser,
        parameters: Callable[[], Any],
        read_card: Callable[[str], dict[str, Any]],
    ) -> None:
        self.job: Job | None = None
        self._session = session
        self._devices = devices
        self._parameters = parameters
        self._read_card = read_card
        self._found: DataSet | None = None
        self._wrong = ""
        self._filling = False
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        folders = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.NoDotAndDotDot
        for edit in (self.ui.libraryPathEdit, self.ui.modelPathEdit, self.ui.outputPathEdit):
            edit.filters = folders
        for edit in (self.ui.cohortPathEdit, self.ui.splitPathEdit):
            edit.filters = ctk.ctkPathLineEdit.Files
            edit.nameFilters = ["JSON (*.json)"]
        self._edits = {name: getattr(self.ui, widget) for name, widget in _PATHS.items()}
        for edit in self._edits.values():
            edit.connect("currentPathChanged(QString)", self._on_path)
            edit.connect("validInputChanged(bool)", self._on_path)  # a path that does not exist changes only this
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.poll)
        self.ui.startButton.connect("clicked(bool)", self._on_start)
        self.ui.openVolumeButton.connect("clicked(bool)", self._on_open_volume)
        self.ui.openFolderButton.connect("clicked(bool)", self._on_open_folder)
        button.connect("contentsCollapsed(bool)", self._on_collapsed)
        self._look()

    def update(self) -> None:
        """Show the paths of the parameter node, and what can be pressed."""
        node = self._parameters()
        if node is None or self._filling:
            return
        paths = {name: str(getattr(node, name) or "") for name in self._edits}
        other = [name for name, path in paths.items() if path != self._path(name)]
        self._filling = True
        for name in other:
            self._edits[name].currentPath = paths[name]
        self._filling = False
        if not other:
            self._show()  # the files are looked at when others are chosen, and before the start

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        job = self.job
        if job is None:
            return
        job.poll()
        if not job.finished:
            cancelling = job.state == "cancelling"
            waiting = _("Cancelling") if cancelling else _("Starting")
            event = None if cancelling else job.progress
            show_progress(self.ui.progressBar, self.ui.statusLabel, event, waiting)
            return
        self._timer.stop()
        self.job = None
        self._find()
        self.ui.statusLabel.text = self._ended_html(job)
        self._show()

    def scene_closing(self) -> None:
        """Nothing of a data set belongs to the scene: the job goes on."""

    def close(self) -> None:
        """Let go of everything in this window; a job goes on and is found again by its folder."""
        self._timer.stop()
        self.job = None

    def _path(self, name: str) -> str:
        return str(self._edits[name].currentPath).strip()

    def _on_path(self, _signal: object = None) -> None:
        node = self._parameters()
        if node is not None and not self._filling:
            self._filling = True
            for name in self._edits:
                setattr(node, name, self._path(name))
            self._filling = False
        self._look()

    def _on_collapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self._look()

    def _look(self) -> None:
        """See what is chosen: what is wrong with it, what is in the folder, and whether a process works there."""
        about, self._wrong = [], ""
        looks = (
            ("dataSetCohort", _("a list of cases"), lambda path: _("{n} cases").format(n=usable_cases(Path(path)))),
            ("dataSetLibrary", _("a library"), lambda path: _("{n} templates").format(n=usable_templates(Path(path)))),
            ("dataSetModel", _("a model"), lambda path: html.escape(label_card(self._read_card, path)["name"])),
        )
        for name, what, look in looks:
            path = self._path(name)
            try:
                if path:
                    about.append(look(path))
                else:
                    self._wrong = self._wrong or _("Choose {what}.").format(what=what)
            except UserError as error:
                about.append(error_html(error))
                self._wrong = self._wrong or error.what
        self.ui.aboutTextLabel.text = "<br>".join(about)
        self._find()
        self._show()

    def _find(self) -> None:
        """Look what lies in the chosen folder; a job of an earlier Slicer that still works there is followed."""
        self._found = None
        folder = self._path("dataSetFolder")
        self.ui.folderTextLabel.text = ""
        if not folder:
            self._wrong = self._wrong or _("Choose a folder.")
            return
        try:
            self._found = DataSet.at(Path(folder))
        except UserError as error:
            self.ui.folderTextLabel.text = error_html(error)
            self._wrong = self._wrong or error.what
        if self.job is None:
            earlier = Job.find(Path(folder) / JOB)
            if earlier is not None and not earlier.finished:
                self.job = earlier
                self._timer.start()
        found = self._found
        if found is not None:
            text = _("{n} of {count} volumes are finished.").format(n=len(found.volumes), count=found.count)
            if not found.complete:
                text += " " + _("The data set was interrupted.")
                if found.begun_with:
                    text += " " + _("Resume makes the rest with everything that it was begun with.")
            self.ui.folderTextLabel.text = text

    def _show(self) -> None:
        job, found = self.job, self._found
        running = job is not None
        interrupted = found is not None and not found.complete and bool(found.volumes)
        lacking = self._lacking()
        button = self.ui.startButton
        button.text = _("Cancel") if running else _("Resume") if interrupted else _("Start")
        button.enabled = job.state != "cancelling" if job is not None else not lacking
        button.toolTip = _("End the work; finished volumes stay.") if running else lacking
        self.ui.folderTextLabel.setVisible(not running and bool(self.ui.folderTextLabel.text))
        self.ui.progressBar.setVisible(running)
        self.ui.outputPathEdit.enabled = not running
        names = list(found.volumes) if found is not None else []
        box = self.ui.volumeComboBox
        if names != [box.itemText(number) for number in range(box.count)]:
            chosen = box.currentText
            box.clear()
            for name in names:
                box.addItem(name)
            box.setCurrentIndex(max(box.findText(chosen), 0))
        self.ui.openVolumeButton.enabled = bool(names)
        self.ui.openFolderButton.enabled = found is not None

    def _lacking(self) -> str:
        """Why nothing can be started, or an empty text."""
        if self._found is not None and self._found.begun_with:
            return ""
        if self._wrong:
            return self._wrong
        if self.ui.fewestSpinBox.value > self.ui.mostSpinBox.value:
            return _("The fewest nodules are more than the most.")
        if self.ui.smallestSpinBox.value > self.ui.largestSpinBox.value:
            return _("The smallest scale is above the largest.")
        return ""

    def _options(self) -> dict[str, Any]:
        """Options of ``synthct dataset``."""
        ui = self.ui
        surface = ui.surfaceSpinBox.value
        return {
            "cohort": Path(self._path("dataSetCohort")).absolute(),
            "library": Path(self._path("dataSetLibrary")).absolute(),
            "model": Path(self._path("dataSetModel")).absolute(),
            "output": Path(self._path("dataSetFolder")).absolute(),
            "split": Path(self._path("dataSetSplit")).absolute() if self._path("dataSetSplit") else None,
            "count": int(ui.countSpinBox.value),
            "size": int(ui.sizeSpinBox.value),
            "seed": int(ui.seedSpinBox.value),
            "with_nodule": round(ui.shareSpinBox.value, 2),
            "templates_per_volume": f"{ui.fewestSpinBox.value},{ui.mostSpinBox.value}",
            "lung": round(ui.lungSpinBox.value, 2),
            "share": round(ui.tissueSpinBox.value, 2),
            "surface": round(surface, 1) if surface else "none",
            "rotate": int(ui.rotateSpinBox.value),
            "scale": f"{ui.smallestSpinBox.value:.2f},{ui.largestSpinBox.value:.2f}",
            "elastic": round(ui.elasticSpinBox.value, 1),
            "device": self._devices.device,
        }

    def _on_start(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self.job.cancel()
            self._show()
            return
        try:
            self._look()  # files may have changed since they were chosen
            if self._lacking():
                raise UserError(self._lacking(), todo="Correct it, then start.")
            if not packages.ensure(_TITLE):
                self.ui.statusLabel.text = _("Nothing was installed, nothing was started.")
                return
            self._session.release_device()
            begun = self._found.begun_with if self._found is not None else {}
            options = {**begun, "device": self._devices.device} if begun else self._options()
            folder = Path(options["output"]) / JOB
            (folder / "events.jsonl").unlink(missing_ok=True)  # of the run that was interrupted
            self.job = Job.start("dataset", options, folder)
        except (UserError, OSError) as error:
            self._say_error(error)
            return
        for edit in self._edits.values():
            if str(edit.currentPath).strip():
                edit.addCurrentPathToHistory()
        show_progress(self.ui.progressBar, self.ui.statusLabel, None, _("Starting"))
        self._timer.start()
        self._show()

    def _say_error(self, error: Exception) -> None:
        said = error if isinstance(error, UserError) else UserError(f"{error}.", todo="Choose another folder.")
        self.ui.statusLabel.text = error_html(said)
        slicer.util.errorDisplay(str(said), windowTitle=_(_TITLE))

    def _ended_html(self, job: Job) -> str:
        lines = []
        if job.result is not None:
            lines.append(_("The data set is finished: {folder}.").format(folder=html.escape(str(job.result["output"]))))
        elif job.error is not None:
            said = UserError(*(str(job.error.get(key) or "") for key in ("what", "why", "todo")))
            lines.append(error_html(said))
        else:
            lines.append(_("Cancelled. The volumes that are finished stay."))
        warnings = [html.escape(text) for text in job.warnings[-_MOST_WARNINGS:]]
        return "<br>".join(lines + [f"<span style='color:#b9770e'>{text}</span>" for text in warnings])

    def _on_open_volume(self, _clicked: bool = False) -> None:
        if self._found is None:
            return
        try:
            nodes = load_volume(self._found.folder, str(self.ui.volumeComboBox.currentText))
        except UserError as error:
            self._say_error(error)
            return
        slicer.util.setSliceViewerLayers(background=nodes["image"], label=nodes["mask"], labelOpacity=0.5, fit=True)

    def _on_open_folder(self, _clicked: bool = False) -> None:
        if self._found is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._found.folder)))
