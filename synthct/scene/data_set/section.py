"""The section "Data set" of LabelToCT: volumes with planted nodules and their CTs, made by ``synthct dataset``."""

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
from synthct.scene.cards import error_html
from synthct.scene.choosers import DeviceChooser
from synthct.scene.data_set.choices import DataSetChoices
from synthct.scene.data_set.folder import DataSet, load_volume
from synthct.scene.folder_job import FolderJob
from synthct.scene.jobs import Job
from synthct.scene.path_edits import remember
from synthct.scene.path_parameters import PathParameters
from synthct.scene.session import Session

_FOLDERS = ("dataSetLibrary", "dataSetModel", "dataSetFolder")


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
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        devices: DeviceChooser,
        parameters: Callable[[], Any],
        read_card: Callable[[str], dict[str, Any]],
    ) -> None:
        self._devices = devices
        self._found: DataSet | None = None
        self._wrong_folder = ""
        self._seen: list[str] = []
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        for edit in (self.ui.cohortPathEdit, self.ui.splitPathEdit):
            edit.nameFilters = ["JSON (*.json)"]
        self._edits = {
            "dataSetCohort": self.ui.cohortPathEdit,
            "dataSetLibrary": self.ui.libraryPathEdit,
            "dataSetModel": self.ui.modelPathEdit,
            "dataSetSplit": self.ui.splitPathEdit,
            "dataSetFolder": self.ui.outputPathEdit,
        }
        self._paths = PathParameters(self._edits, _FOLDERS, parameters, self.update)
        self._choices = DataSetChoices(self.ui, self._paths, read_card)
        widgets = (self.ui.startButton, self.ui.progressBar, self.ui.statusLabel)
        self._work = FolderJob(*widgets, "Data set", session, self._start, _made_html, self._look)
        self.ui.openVolumeButton.connect("clicked(bool)", self._on_open_volume)
        self.ui.openFolderButton.connect("clicked(bool)", self._on_open_folder)
        button.connect("contentsCollapsed(bool)", self._on_collapsed)
        self._look()

    @property
    def job(self) -> Job | None:
        """What works in the chosen folder, or None."""
        return self._work.job

    def update(self) -> None:
        """Show the paths of the parameter node, and what can be pressed."""
        self._paths.update()
        if self._seen != [self._paths[name] for name in self._edits]:
            self._look()
        else:
            self._show()  # the files are looked at when others are chosen, and before the start

    def scene_closing(self) -> None:
        """Nothing of a data set belongs to the scene: the job goes on."""

    def close(self) -> None:
        """Let go of everything in this window; a job goes on and is found again by its folder."""
        self._work.close()

    def _on_collapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self._look()

    def _look(self) -> None:
        """See what is chosen: what is wrong with it, what is in the folder, and whether a process works there."""
        self._seen = [self._paths[name] for name in self._edits]
        about = self._choices.look()
        self.ui.aboutTextLabel.text = about
        for label in (self.ui.aboutLabel, self.ui.aboutTextLabel):
            label.setVisible(bool(about))
        self._find()
        self._show()

    def _find(self) -> None:
        """Look what lies in the chosen folder."""
        self._found, self._wrong_folder, text = None, "", ""
        folder = self._paths["dataSetFolder"]
        if not folder:
            self._wrong_folder = _("Choose a folder.")
        else:
            try:
                self._found = DataSet.at(Path(folder))
            except UserError as error:
                text, self._wrong_folder = error_html(error), error.what
            self._work.find(Path(folder))
        found = self._found
        if found is not None:
            text = _("{n} of {count} volumes are finished.").format(n=len(found.volumes), count=found.count)
            if not found.complete:
                text += " " + _("The data set was interrupted.")
            if found.begun_with:
                text += " " + _("Resume makes the rest with everything that it was begun with.")
        self.ui.folderTextLabel.text = text

    def _show(self) -> None:
        found, running = self._found, self.job is not None
        interrupted = found is not None and not found.complete and bool(found.volumes)
        what = _("Make the volumes that are missing in the folder; the work goes on when Slicer is closed.")
        self._work.show_button(_("Resume") if interrupted else _("Start"), self._lacking(), what)
        self.ui.folderTextLabel.setVisible(not running and bool(self.ui.folderTextLabel.text))
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
        return self._choices.lacking or self._wrong_folder

    def _start(self) -> None:
        self._look()  # files may have changed since they were chosen
        if self.job is not None:
            return  # somebody else's, found just now
        if self._lacking():
            raise UserError(self._lacking(), todo="Correct it, then start.")
        begun = self._found.begun_with if self._found is not None else {}
        self._work.begin("dataset", {**(begun or self._choices.options()), "device": self._devices.device})
        for name, edit in self._edits.items():
            if self._paths[name]:
                remember(edit)

    def _on_open_volume(self, _clicked: bool = False) -> None:
        self._work.attempt(self._open_volume)

    def _open_volume(self) -> None:
        if self._found is not None:
            nodes = load_volume(self._found.folder, str(self.ui.volumeComboBox.currentText))
            slicer.util.setSliceViewerLayers(background=nodes["image"], label=nodes["mask"], labelOpacity=0.5, fit=True)

    def _on_open_folder(self, _clicked: bool = False) -> None:
        if self._found is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._found.folder)))


def _made_html(job: Job) -> str:
    return _("The data set is finished: {folder}.").format(folder=html.escape(str((job.result or {})["output"])))
