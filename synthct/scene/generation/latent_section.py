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
from synthct.scene.folder_job import FolderJob
from synthct.scene.generation.folder import GeneratedFolder
from synthct.scene.generation.latent_preview import LatentPreview
from synthct.scene.generation.latent_sequence import load_sequence
from synthct.scene.generation.pair_nodes import is_shown, put_pair, show_pair
from synthct.scene.jobs import Job
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
        self._folder: Path | None = None  # that it is made in
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("latent_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.preview = LatentPreview(session, self._on_pair, self._on_preview)
        widgets = (self.ui.sequenceButton, self.ui.latentProgressBar, self.ui.latentStatusLabel)
        kept = "The scene is as it was."
        self._work = FolderJob(*widgets, _TITLE, session, self._start, self._received, self._on_change, kept)
        self.ui.placeSlider.connect("valueChanged(int)", self._on_place)
        for box in (self.ui.seedASpinBox, self.ui.seedBSpinBox):
            box.connect("valueChanged(int)", self._on_seed)
        self.ui.previewButton.connect("clicked(bool)", self._on_preview_button)
        self.ui.latentProgressBar.setVisible(False)

    @property
    def job(self) -> Job | None:
        """What makes the sequence, or None."""
        return self._work.job

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
        self._work.show_button(_("Make sequence"), lacking, _("Load the pairs from A to B as a sequence."))
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
        self._work.cancel()
        self._work.say("")

    def close(self) -> None:
        """End what runs: the window closes."""
        self.preview.close()
        self._work.cancel()
        self._work.close()

    def _on_place(self, _value: int = 0) -> None:
        self.ui.placeTextLabel.text = f"{self.ui.placeSlider.value} %"
        if self._parameters() is not None:  # else a scene is being loaded
            self._ask()

    def _on_seed(self, _value: int = 0) -> None:
        self.follow()

    def _on_preview_button(self, _clicked: bool = False) -> None:
        if self.preview.busy:
            self.preview.drop()
        else:
            self._work.ensure_and(self._ask)

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
            self._work.say(error_html(error))

    def _on_preview(self, error: UserError | None) -> None:
        if error is not None:
            self._work.say(error_html(error))
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
        self._work.say(html.escape(_("Between the seeds {seeds}, at {place}.").format(seeds=seeds, place=place)))

    def _start(self) -> None:
        self._choices()
        self.preview.after(lambda: self._work.attempt(self._begin))

    def _begin(self) -> None:
        self._ends = [str(int(box.value)) for box in (self.ui.seedASpinBox, self.ui.seedBSpinBox)]
        self._folder = self._session.new_folder()
        options = {**self._choices(), "steps": int(self.ui.stepsSpinBox.value), "output": self._folder}
        self._work.begin("generate", options, words=["--interpolate", *self._ends])

    def _on_change(self) -> None:
        if self.job is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self.update()

    def _received(self, job: Job) -> str:
        """Put the sequence into the scene, unless the scene that it was made for has gone."""
        if self._owner is None:
            return ""
        made = GeneratedFolder.at(Path(job.options["output"]))
        if made is None:
            raise UserError("The sequence was not found.", "Its folder is empty.", "Make it again.")
        nodes = load_sequence(made, _("Seeds {a} to {b}").format(a=self._ends[0], b=self._ends[1]))
        names = nodes[0].GetName() if len(nodes) == 1 else f"{nodes[0].GetName()} … {nodes[-1].GetName()}"
        return _("{n} pairs are in the scene: {names}.").format(n=len(made.pairs), names=html.escape(names))
