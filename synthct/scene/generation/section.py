"""The section "Generate pairs" of LabelToCT: images with their masks, made from noise by ``synthct generate``."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import error_html
from synthct.scene.folder_job import FolderJob
from synthct.scene.generation.folder import training_cases
from synthct.scene.generation.latent_section import LatentSection
from synthct.scene.generation.made_pairs import MadePairs
from synthct.scene.generation.models import noise_card, noise_models
from synthct.scene.generation.pair_choices import PairChoices
from synthct.scene.jobs import Job
from synthct.scene.model_and_device import ModelAndDevice
from synthct.scene.path_edits import remember
from synthct.scene.path_parameters import PathParameters
from synthct.scene.session import Session


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
        self._parameters = parameters
        self._wrong_cohort = ""
        self._seen: list[str] = []
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.ui.cohortPathEdit.nameFilters = ["JSON (*.json)"]
        self._edits = {"pairsCohort": self.ui.cohortPathEdit, "pairsFolder": self.ui.outputPathEdit}
        self._paths = PathParameters(self._edits, ("pairsFolder",), parameters, self.update)
        self._choice = ModelAndDevice(
            self.ui.modelPathEdit,
            self.ui.modelCardLabel,
            self.ui.deviceComboBox,
            self.ui.refreshDevicesButton,
            session,
            parameters,
            lambda path: noise_card(read_card, path),
            lambda: noise_models(read_card, installed()),
            lambda by_user: self.update(),
            ("pairsModel", "pairsDevice"),
        )
        self.models, self.devices = self._choice.models, self._choice.devices
        self._choices = PairChoices(self.ui, self.models, self.devices, parameters, self._on_how)
        self.latent = LatentSection(self.ui.latentButton, session, parameters, self._choices.how)
        widgets = (self.ui.startButton, self.ui.progressBar, self.ui.statusLabel)
        self._work = FolderJob(*widgets, "Generate pairs", session, self._start, _made_html, self._look)
        self._made = MadePairs(self.ui, self._work, self._look)
        button.connect("contentsCollapsed(bool)", self._on_collapsed)
        self._look()

    @property
    def job(self) -> Job | None:
        """What works in the chosen folder, or None."""
        return self._work.job

    def update(self) -> None:
        """Show what no widget is connected to by itself, and what can be pressed."""
        self._choice.update()
        self._paths.update()
        if self._seen != [self._paths[name] for name in self._edits]:
            self._look()
        else:
            self._show()

    def scene_closing(self) -> None:
        """End what runs for this scene; the pairs that are finished stay in their folder."""
        self.latent.scene_closing()
        self._work.cancel()
        self._work.say("")

    def close(self) -> None:
        """Let go of everything in this window; a set that is being made is found again by its folder."""
        self._work.close()
        self._made.close()
        self.latent.close()
        self._choice.close()

    def _on_how(self) -> None:
        self.latent.follow()

    def _on_collapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self._choice.enter()
            self._look()

    def _look(self) -> None:
        """See what is chosen: the cases to check against, what is in the folder, and whether a process works there."""
        self._seen = [self._paths[name] for name in self._edits]
        about, self._wrong_cohort = "", ""
        if self._paths["pairsCohort"]:
            try:
                about = _("{n} cases").format(n=training_cases(Path(self._paths["pairsCohort"])))
            except UserError as error:
                about, self._wrong_cohort = error_html(error), error.what
        self.ui.cohortTextLabel.text = about
        for widget in (self.ui.cohortTextCaptionLabel, self.ui.cohortTextLabel):
            widget.setVisible(bool(about))
        self._made.look(self._paths["pairsFolder"])
        self._show()

    def _show(self) -> None:
        ui, found, running = self.ui, self._made.found, self.job is not None
        unfinished = found is not None and bool(found.unfinished_options)
        lacking = self._lacking()
        what = _("Make the pairs that are missing in the folder.")
        self._work.show_button(_("Resume") if unfinished else _("Apply"), lacking, what)
        unfit = found is not None and self.models.card is not None and not self._made.wrong
        ui.folderTextLabel.text = " ".join(filter(None, (self._made.about, html.escape(lacking) if unfit else "")))
        for widget in (ui.folderCaptionLabel, ui.folderTextLabel):
            widget.setVisible(not running and bool(ui.folderTextLabel.text))
        ui.outputPathEdit.enabled = not running
        self._choices.show()
        self.latent.update()

    def _lacking(self) -> str:
        """Why nothing can be started, or an empty text."""
        found = self._made.found
        if self._made.wrong or (found is not None and found.unfinished_options):
            return self._made.wrong
        try:
            self._choices.how()
            return self._wrong_cohort or ("" if found is None else self._choices.unfit_for(found))
        except UserError as error:
            return error.what

    def _start(self) -> None:
        self._look()  # files may have changed since they were chosen
        if self.job is not None:
            return  # somebody else's, found just now
        if self._lacking():
            raise UserError(self._lacking(), todo="Correct it, then press Apply.")
        if self.latent.preview.busy:
            self._work.say(_("Waiting for the preview."))
        self.latent.preview.after(lambda: self._work.attempt(self._begin))

    def _begin(self) -> None:
        found = self._made.found
        begun = found.unfinished_options if found is not None else {}
        options = {**(begun or self._choices.options()), "device": self.devices.device}
        results = 2 if options.get("check_against") else 1  # the leak check reports one of its own
        self._work.begin("generate", options, results)
        self.models.remember()
        for name, edit in self._edits.items():
            if self._paths[name]:
                remember(edit)


def _made_html(job: Job) -> str:
    result = job.result or {}
    folder = html.escape(str(job.options["output"]))
    lines = [_("{n} pairs are in {folder}.").format(n=result["pairs"], folder=folder)]
    if "flagged" in result and not result["flagged"]:
        lines.append(_("None comes too close to a training case."))
    return "<br>".join(lines)
