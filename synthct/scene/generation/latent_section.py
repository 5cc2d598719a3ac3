"""Between two seeds: a slider whose pair is made while it moves, and the way from one to the other as a sequence."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ctk
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.exchange import job_error
from synthct.scene.following import Following
from synthct.scene.generation.folder import GeneratedFolder
from synthct.scene.generation.latent_preview import LatentPreview
from synthct.scene.generation.latent_sequence import load_sequence
from synthct.scene.generation.pair_nodes import is_shown, put_pair, show_pair
from synthct.scene.jobs import Job
from synthct.scene.progress import show_progress
from synthct.scene.session import Session

NAME = "Between seeds"
_TITLE = "Between two seeds"


class LatentSection:
    """Everything inside the collapsible button "Between two seeds" of the section "Generate pairs".

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Its warm worker makes the preview; it is ended before the sequence is made.
    parameters
        Returns the parameter node (``pairsSeedA``, ``pairsSeedB``, ``pairsPlace``, ``pairsSteps``, ``pairsPreview``),
        or None.
    choices
        Returns the options of ``synthct generate`` that say how a pair is made, or raises `UserError`.

    Attributes
    ----------
    preview
        What makes the pair under the slider.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        parameters: Callable[[], Any],
        choices: Callable[[], dict[str, Any]],
    ) -> None:
        self._session = session
        self._parameters = parameters
        self._choices = choices
        self._owner: Any = None  # the parameter node of this scene, also while another module is shown
        self._ends = ["", ""]  # of the sequence that is made
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("latent_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.preview = LatentPreview(session, self._on_pair, self._on_preview)
        self._following = Following(self._on_end, self._on_look)
        self.ui.placeSlider.connect("valueChanged(int)", self._on_place)
        for box in (self.ui.seedASpinBox, self.ui.seedBSpinBox):
            box.connect("valueChanged(int)", self._on_seed)
        self.ui.previewButton.connect("clicked(bool)", self._on_preview_button)
        self.ui.sequenceButton.connect("clicked(bool)", self._on_sequence)
        self.ui.latentProgressBar.setVisible(False)
        self.ui.latentStatusLabel.setVisible(False)

    @property
    def job(self) -> Job | None:
        """What makes the sequence, or None."""
        return self._following.job

    def update(self) -> None:
        """Show what can be pressed, and why not."""
        self._owner = self._parameters() or self._owner
        try:
            self._choices()
            lacking = ""
        except UserError as error:
            lacking = error.what
        ui, job, busy = self.ui, self.job, self.preview.busy
        ui.placeTextLabel.text = f"{ui.placeSlider.value} %"
        ui.previewButton.text = _("Cancel") if busy else _("Preview")
        ui.previewButton.enabled = busy or (job is None and not lacking)
        ui.previewButton.toolTip = lacking or _("Make the pair at this place and show it.")
        ui.sequenceButton.text = _("Cancel") if job is not None else _("Make sequence")
        ui.sequenceButton.enabled = job.state != "cancelling" if job is not None else not lacking
        ui.sequenceButton.toolTip = lacking or _("Load the pairs from A to B as a sequence.")
        ui.latentProgressBar.setVisible(busy or job is not None)

    def follow(self) -> None:
        """Make the preview anew, where there is one: what it is made of was changed."""
        node = self._parameters()
        if node is not None and node.pairsPreview is not None:
            self._ask()

    def scene_closing(self) -> None:
        """Let go of everything that belongs to the scene."""
        self._owner = None
        self.preview.drop()
        if self.job is not None:
            self.job.cancel()
        self._say("")

    def close(self) -> None:
        """End what runs: the window closes."""
        self.preview.close()
        self._following.cancel()

    def _on_place(self, _value: int = 0) -> None:
        self.ui.placeTextLabel.text = f"{self.ui.placeSlider.value} %"
        if self._parameters() is not None:  # else a scene is being loaded
            self._ask()

    def _on_seed(self, _value: int = 0) -> None:
        self.follow()

    def _on_preview_button(self, _clicked: bool = False) -> None:
        if self.preview.busy:
            self.preview.drop()
            return
        try:
            if not packages.ensure(_TITLE):
                self._say(_("Nothing was installed, nothing was made."))
                return
        except UserError as error:
            self._say_error(error)
            return
        self._ask()

    def _ask(self) -> None:
        """Have the pair under the slider made; what cannot be made is said, but not by a dialog for each movement."""
        if self.job is not None:
            return
        try:
            if packages.missing():
                raise UserError("Python packages are missing.", todo="Press Preview once: it asks to install them.")
            choices = self._choices()
            options = {
                "model": choices["model"],
                "class_name": choices["class"],
                "threshold": choices["threshold"],
                "minimum_mm3": choices["minimum_volume"],
                "largest_only": choices["largest_only"],
                "truncation": choices["truncation"],
                "device": choices["device"],
                "seed": int(self.ui.seedASpinBox.value),
                "between": int(self.ui.seedBSpinBox.value),
                "share": self.ui.placeSlider.value / 100,
            }
            self.preview.ask(options)
        except UserError as error:
            self._say(error_html(error))

    def _on_preview(self, error: UserError | None) -> None:
        if error is not None:
            self._say(error_html(error))
        elif self.preview.busy:
            self.ui.latentProgressBar.setRange(0, 0)
        self.update()

    def _on_pair(self, image: sitk.Image, mask: sitk.Image | None, model: str, options: Mapping[str, Any]) -> None:
        node = self._owner
        if node is None:
            return
        seeds = f"{options['seed']} and {options['between']}"
        place = f"{100 * options['share']:g} %"
        before = node.pairsPreview
        size = before.GetImageData().GetDimensions() if before is not None and before.GetImageData() else None
        volume = put_pair(image, mask, NAME, model, f"seeds {seeds}, {place}", before)
        if before is None or not is_shown(volume) or size != tuple(image.GetSize()):
            show_pair(volume)
        node.pairsPreview = volume
        self._say(html.escape(_("Between the seeds {seeds}, at {place}.").format(seeds=seeds, place=place)))

    def _on_sequence(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self.job.cancel()
            self.update()
            return
        try:
            self._choices()
            if not packages.ensure(_TITLE):
                self._say(_("Nothing was installed, nothing was made."))
                return
        except UserError as error:
            self._say_error(error)
            return
        self.preview.after(self._start_sequence)

    def _start_sequence(self) -> None:
        ends = [str(int(box.value)) for box in (self.ui.seedASpinBox, self.ui.seedBSpinBox)]
        try:
            self._session.release_device()
            folder = self._session.new_folder()
            options = {**self._choices(), "steps": int(self.ui.stepsSpinBox.value), "output": folder / "pairs"}
            self._ends = ends
            self._following.follow(Job.start("generate", options, folder / "job", words=["--interpolate", *ends]))
        except (UserError, OSError) as error:
            self._say_error(error if isinstance(error, UserError) else UserError(f"{error}.", todo="Free space."))
            return
        self.ui.latentStatusLabel.setVisible(True)
        show_progress(self.ui.latentProgressBar, self.ui.latentStatusLabel, None, _("Starting"))
        self.update()

    def _on_look(self, job: Job) -> None:
        cancelling = job.state == "cancelling"
        waiting = _("Cancelling") if cancelling else _("Starting")
        event = None if cancelling else job.progress
        show_progress(self.ui.latentProgressBar, self.ui.latentStatusLabel, event, waiting)

    def _on_end(self, job: Job) -> None:
        try:
            self._receive(job)
        except UserError as error:
            self._say_error(error)
        shutil.rmtree(job.folder.parent, ignore_errors=True)
        self.update()

    def _receive(self, job: Job) -> None:
        """Put the sequence into the scene, unless the scene that it was made for has gone."""
        if job.error is not None:
            raise job_error(job.error, {})
        if job.result is None or self._owner is None:
            self._say("" if self._owner is None else _("Cancelled. The scene is as it was."))
            return
        made = GeneratedFolder.at(Path(job.options["output"]))
        if made is None:
            raise UserError("The sequence was not found.", "Its folder is empty.", "Make it again.")
        name = _("Seeds {a} to {b}").format(a=self._ends[0], b=self._ends[1])
        nodes = load_sequence(made, name)
        names = nodes[0].GetName() if len(nodes) == 1 else f"{nodes[0].GetName()} … {nodes[-1].GetName()}"
        self._say(_("{n} pairs are in the scene: {names}.").format(n=len(made.pairs), names=html.escape(names)))

    def _say(self, text: str) -> None:
        self.ui.latentStatusLabel.text = text
        self.ui.latentStatusLabel.setVisible(bool(text))

    def _say_error(self, error: UserError) -> None:
        self._say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=_(_TITLE))
