"""The section "Generate pairs" of LabelToCT: images with their masks, made from noise by ``synthct generate``.

The set is known by its folder alone: what was begun there is found again, and gone on with.
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
from synthct.scene.choosers import DeviceChooser, ModelChooser
from synthct.scene.generation.folder import JOB, PICTURE, PROCESS, GeneratedFolder, training_cases
from synthct.scene.generation.latent_section import LatentSection
from synthct.scene.generation.models import has_truncation, noise_card, noise_models
from synthct.scene.generation.pair_choices import PairChoices
from synthct.scene.generation.pair_nodes import find_pair, put_pair, show_pair
from synthct.scene.generation.pair_table import MOST, PairTable
from synthct.scene.jobs import Job
from synthct.scene.progress import show_progress
from synthct.scene.session import Session
from synthct.volumes.read import read_image

POLL_MS = 200
_PATHS = {"pairsCohort": "cohortPathEdit", "pairsFolder": "outputPathEdit"}
"""Parameters that are paths, and where they are shown."""
_TITLE = "Generate pairs"
_MOST_WARNINGS = 5
_AMBER = "#b9770e"


class GenerateSection:
    """Everything inside the collapsible button "Generate pairs" of LabelToCT.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Of the module; its warm worker makes the preview and is ended before a set is begun.
    parameters
        Returns the parameter node (``pairs...``), or None.
    read_card
        Returns the card of a model's path, or raises `UserError`.
    installed
        Returns the folders of the installed models.

    Attributes
    ----------
    job
        What works in the chosen folder, or None.
    models, devices
        The choosers.
    latent
        The section "Between two seeds".
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        parameters: Callable[[], Any],
        read_card: Callable[[str], dict[str, Any]],
        installed: Callable[[], list[Path]],
    ) -> None:
        self.job: Job | None = None
        self._session = session
        self._parameters = parameters
        self._found: GeneratedFolder | None = None
        self._wrong_cohort = self._wrong_folder = self._about_folder = ""
        self._filling = False
        self._asked_for_devices = self._elsewhere = False
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.ui.outputPathEdit.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.NoDotAndDotDot
        self.ui.cohortPathEdit.filters = ctk.ctkPathLineEdit.Files
        self.ui.cohortPathEdit.nameFilters = ["JSON (*.json)"]
        self._edits = {name: getattr(self.ui, widget) for name, widget in _PATHS.items()}
        self.table = PairTable(self.ui.pairsTable, self._on_pair)
        self.ui.classComboBox.addItem(_("All classes in turn"), "")
        self.models = ModelChooser(
            self.ui.modelPathEdit,
            self.ui.modelCardLabel,
            lambda path: noise_card(read_card, path),
            self._on_model,
            lambda: noise_models(read_card, installed()),
        )
        self.devices = DeviceChooser(self.ui.deviceComboBox, session, self._on_device)
        self._choices = PairChoices(self.ui, self.models, self.devices)
        self.latent = LatentSection(self.ui.latentButton, session, parameters, self._choices.how)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.poll)
        for edit in self._edits.values():
            edit.connect("currentPathChanged(QString)", self._on_path)
            edit.connect("validInputChanged(bool)", self._on_path)  # a path that does not exist changes only this
        self.ui.classComboBox.connect("currentIndexChanged(int)", self._on_class)
        for box in (self.ui.thresholdSpinBox, self.ui.minimumSpinBox, self.ui.truncationSpinBox):
            box.connect("valueChanged(double)", self._on_how)
        self.ui.truncationCheckBox.connect("toggled(bool)", self._on_how)
        self.ui.startButton.connect("clicked(bool)", self._on_start)
        self.ui.refreshDevicesButton.connect("clicked(bool)", self._on_refresh)
        self.ui.openFolderButton.connect("clicked(bool)", self._on_open_folder)
        self.ui.openPictureButton.connect("clicked(bool)", self._on_open_picture)
        button.connect("contentsCollapsed(bool)", self._on_collapsed)
        self._offer_classes()
        self._look()

    def update(self) -> None:
        """Show what no widget is connected to by itself, and what can be pressed."""
        node = self._parameters()
        if node is None or self._filling:
            return
        node.pairsModel = node.pairsModel or self.models.path
        self._filling = True
        if node.pairsModel != self.models.path:
            self.models.path = node.pairsModel
        if node.pairsDevice != self.devices.device:
            self.devices.device = node.pairsDevice
        self._offer_classes()
        other = [name for name in self._edits if str(getattr(node, name) or "") != self._path(name)]
        for name in other:
            self._edits[name].currentPath = str(getattr(node, name) or "")
        self._filling = False
        if other:
            self._look()
        self._show()
        self.latent.update()

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        job = self.job
        if job is None:
            if self._elsewhere and not self._taken():
                self._timer.stop()
                self._look()
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
        self._look()
        self.ui.statusLabel.text = self._ended_html(job)
        self._show()

    def scene_closing(self) -> None:
        """End what runs for this scene; the pairs that are finished stay in their folder."""
        self.latent.scene_closing()
        if self.job is not None:
            self.job.cancel()
        self.ui.statusLabel.text = ""

    def close(self) -> None:
        """Let go of everything in this window; a set that is being made is found again by its folder."""
        self._timer.stop()
        self.job = None
        self.latent.close()
        self.devices.close()

    def _path(self, name: str) -> str:
        return str(self._edits[name].currentPath).strip()

    def _on_path(self, _signal: object = None) -> None:
        node = self._parameters()
        if node is not None and not self._filling:
            self._filling = True
            for name in self._edits:
                setattr(node, name, self._path(name))
            self._filling = False
        if not self._filling:
            self._look()

    def _on_model(self) -> None:
        node = self._parameters()
        if node is not None and not self._filling:
            node.pairsModel = self.models.path
        self._offer_classes()
        self._show()
        self.latent.show()

    def _on_device(self) -> None:
        node = self._parameters()
        if node is not None and not self._filling:
            node.pairsDevice = self.devices.device

    def _on_class(self, _index: int = 0) -> None:
        node = self._parameters()
        if node is not None and not self._filling:
            node.pairsClass = str(self.ui.classComboBox.currentData or "")
            self.latent.follow()

    def _on_how(self, _value: object = None) -> None:
        self.latent.follow()

    def _on_refresh(self, _clicked: bool = False) -> None:
        self.devices.refresh()

    def _on_collapsed(self, collapsed: bool) -> None:
        if collapsed:
            return
        self.models.offer_installed()
        if not self._asked_for_devices:
            self._asked_for_devices = True
            self.devices.refresh()
        self._look()

    def _offer_classes(self) -> None:
        """List the classes of the model; the one that was chosen stays chosen where the model has it."""
        node, box = self._parameters(), self.ui.classComboBox
        names = list(self.models.card["class_names"]) if self.models.card is not None else []
        before, self._filling = self._filling, True
        if names != [box.itemData(number) for number in range(1, box.count)]:
            while box.count > 1:
                box.removeItem(1)
            for name in names:
                box.addItem(name, name)
        if node is not None:
            box.setCurrentIndex(max(box.findData(node.pairsClass), 0))
        self._filling = before

    def _look(self) -> None:
        """See what is chosen: the cases to check against, what is in the folder, and whether a process works there."""
        self._wrong_cohort = ""
        about = ""
        if self._path("pairsCohort"):
            try:
                about = _("{n} cases").format(n=training_cases(Path(self._path("pairsCohort"))))
            except UserError as error:
                about, self._wrong_cohort = error_html(error), error.what
        self.ui.cohortTextLabel.text = about
        for widget in (self.ui.cohortTextCaptionLabel, self.ui.cohortTextLabel):
            widget.setVisible(bool(about))
        self._find()
        self._show()
        self.latent.show()

    def _find(self) -> None:
        """Look what lies in the chosen folder; a job of an earlier Slicer that still works there is followed."""
        self._found, self._wrong_folder, self._elsewhere = None, "", False
        text, folder = "", self._path("pairsFolder")
        if not folder:
            self._wrong_folder = _("Choose a folder.")
        else:
            try:
                self._found = GeneratedFolder.at(Path(folder))
            except UserError as error:
                text, self._wrong_folder = error_html(error), error.what
            if self.job is None:
                earlier = Job.find(Path(folder) / JOB)
                if earlier is not None and not earlier.finished:
                    self.job = earlier
                    self._timer.start()
                elif self._taken():
                    self._elsewhere = True
                    self._timer.start()  # until it has ended
                    self._wrong_folder = _("Another process makes pairs in this folder.")
                    text = html.escape(self._wrong_folder + " " + _("Wait for it, or choose another folder."))
        found = self._found
        if found is not None and not text:
            text = _("{n} pairs are finished.").format(n=len(found.pairs))
            if found.unfinished_options:
                text = _("{n} of {count} pairs are finished. Resume makes the rest with all that it was begun with.")
                text = text.format(n=len(found.pairs), count=found.asked)
            elif len(found.pairs) > MOST:
                text += " " + _("The list has the first {n}.").format(n=MOST)
            elif not found.complete:
                text += " " + _("The set was interrupted. With the same choices Apply goes on.")
        self._about_folder = text
        self.table.show(found.pairs if found is not None else ())

    def _taken(self) -> bool:
        """Whether a process that Slicer did not start works in the chosen folder."""
        claim = Path(self._path("pairsFolder")) / PROCESS
        if not self._path("pairsFolder") or not claim.exists():
            return False
        from synthct.locks import held_on, lock_holder  # they need psutil, which a folder in use shows to be installed

        return bool(lock_holder(claim) or held_on(claim))

    def _show(self) -> None:
        ui, job, found, card = self.ui, self.job, self._found, self.models.card
        running = job is not None
        unfinished = bool(found is not None and found.unfinished_options)
        lacking = self._lacking()
        button = ui.startButton
        button.text = _("Cancel") if running else _("Resume") if unfinished else _("Apply")
        button.enabled = job.state != "cancelling" if job is not None else not lacking
        button.toolTip = _("End the work; finished pairs stay.") if running else lacking
        fits = found is None or card is None or self._wrong_folder
        unfit = "" if fits else html.escape(lacking)
        ui.folderTextLabel.text = " ".join(filter(None, (self._about_folder, unfit)))
        for widget in (ui.folderCaptionLabel, ui.folderTextLabel):
            widget.setVisible(not running and bool(ui.folderTextLabel.text))
        ui.progressBar.setVisible(running)
        ui.statusLabel.setVisible(bool(ui.statusLabel.text))
        ui.outputPathEdit.enabled = not running
        classes = bool(card is not None and card["class_names"])
        truncation = card is not None and has_truncation(card)
        for widget in (ui.classLabel, ui.classComboBox):
            widget.setVisible(classes)
        for widget in (ui.truncationLabel, ui.truncationCheckBox, ui.truncationSpinBox):
            widget.setVisible(truncation)
        ui.truncationSpinBox.enabled = ui.truncationCheckBox.checked
        for widget in (ui.thresholdSpinBox, ui.minimumSpinBox):
            widget.enabled = card is None or card["masks"] != "none"
        ui.openFolderButton.setVisible(found is not None)
        ui.openPictureButton.setVisible(found is not None and (found.folder / PICTURE).is_file())

    def _lacking(self) -> str:
        """Why nothing can be started, or an empty text."""
        if self._wrong_folder:
            return self._wrong_folder
        found = self._found
        if found is not None and found.unfinished_options:
            return ""
        try:
            self._choices.how()
        except UserError as error:
            return error.what
        if self._wrong_cohort or found is None:
            return self._wrong_cohort
        return self._choices.unfit_for(found)

    def _on_start(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self.job.cancel()
            self._show()
            return
        try:
            self._look()  # files may have changed since they were chosen
            if self.job is not None:
                return  # somebody else's, found just now
            if self._lacking():
                raise UserError(self._lacking(), todo="Correct it, then press Apply.")
            if not packages.ensure(_TITLE):
                self._say(_("Nothing was installed, nothing was started."))
                return
        except UserError as error:
            self._say_error(error)
            return
        if self.latent.preview.busy:
            self._say(_("Waiting for the preview."))
        self.latent.preview.after(self._start)

    def _start(self) -> None:
        try:
            self._session.release_device()
            begun = self._found.unfinished_options if self._found is not None else {}
            options = {**begun, "device": self.devices.device} if begun else self._choices.options()
            folder = Path(options["output"]) / JOB
            (folder / "events.jsonl").unlink(missing_ok=True)  # of the job that was interrupted
            results = 2 if options.get("check_against") else 1  # the leak check reports one of its own
            self.job = Job.start("generate", options, folder, results=results)
        except (UserError, OSError) as error:
            self._say_error(error if isinstance(error, UserError) else UserError(f"{error}.", todo="Choose another."))
            return
        self.models.remember()
        for edit in self._edits.values():
            if str(edit.currentPath).strip():
                edit.addCurrentPathToHistory()
        show_progress(self.ui.progressBar, self.ui.statusLabel, None, _("Starting"))
        self._timer.start()
        self._show()

    def _say(self, text: str) -> None:
        self.ui.statusLabel.text = text
        self.ui.statusLabel.setVisible(bool(text))

    def _say_error(self, error: UserError) -> None:
        self._say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=_(_TITLE))

    def _ended_html(self, job: Job) -> str:
        lines = []
        if job.error is not None:
            lines.append(error_html(UserError(*(str(job.error.get(key) or "") for key in ("what", "why", "todo")))))
        elif job.result is not None and job.state == "done":
            lines.append(_("{n} pairs are in {folder}.").format(n=job.result["pairs"], folder=_text(job.options)))
            if "flagged" in job.result and not job.result["flagged"]:
                lines.append(_("None comes too close to a training case."))
        elif self._parameters() is None:
            return ""
        else:
            lines.append(_("Cancelled. The pairs that are finished stay."))
        warnings = [html.escape(text) for text in job.warnings[-_MOST_WARNINGS:]]
        return "<br>".join(lines + [f"<span style='color:{_AMBER}'>{text}</span>" for text in warnings])

    def _on_pair(self, number: int) -> None:
        """Show a pair of the list; one that is in the scene already is not loaded again."""
        found = self._found
        if found is None:
            return
        pair = found.pairs[number]
        origin = str(found.folder / pair.image)
        volume = find_pair(origin)
        try:
            if volume is None:
                image = read_image(found.folder / pair.image, single_slice=True)
                mask = None if pair.mask is None else read_image(found.folder / pair.mask, single_slice=True)
                volume = put_pair(image, mask, pair.id, found.model, origin)
        except UserError as error:
            self._say_error(error)
            return
        show_pair(volume)
        said = _("{name} is shown.").format(name=html.escape(volume.GetName()))
        remarks = f"<br><span style='color:{_AMBER}'>{html.escape(pair.remarks)}</span>" if pair.remarks else ""
        self._say(said + remarks)

    def _on_open_folder(self, _clicked: bool = False) -> None:
        if self._found is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._found.folder)))

    def _on_open_picture(self, _clicked: bool = False) -> None:
        if self._found is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._found.folder / PICTURE)))


def _text(options: dict[str, Any]) -> str:
    return html.escape(str(options["output"]))
