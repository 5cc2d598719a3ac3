"""The recipe of a training: a preset or a file of the user's, what it is, and what it needs on this device."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.choosers import DeviceChooser
from synthct.scene.exchange import job_error
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.path_edits import connect_path
from synthct.scene.session import Session
from synthct.terminal import duration

FIRST = ("synthct-unet", "synthct-labels-unet")
"""The presets to try first, one of each task."""
_OWN = "own"


class TrainingRecipe:
    """A chooser for presets and recipe files, with overrides for steps and batch and a measurement of the need.

    Parameters
    ----------
    layout
        ``QVBoxLayout`` that the widget is put into.
    session
        Where the measurement runs; its warm worker makes room on the device first.
    devices
        Of the module.
    task
        Only presets of this task are listed, ``mr-to-ct`` say.
    changed
        Called without arguments when another recipe is chosen.
    """

    def __init__(
        self,
        layout: qt.QVBoxLayout,
        session: Session,
        devices: DeviceChooser,
        task: str,
        changed: Callable[[], None],
    ) -> None:
        self._session = session
        self._devices = devices
        self._task = task
        self._changed = changed
        self._sources: dict[str, str] = {}
        self._wrong = ""
        self._following = Following(self._on_end)
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("recipe.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        layout.addWidget(self.widget)
        self.ui.recipePathEdit.filters = ctk.ctkPathLineEdit.Files
        self.ui.recipePathEdit.nameFilters = ["Recipes (*.yaml *.yml)"]
        self.ui.presetComboBox.connect("currentIndexChanged(int)", self._on_change)
        connect_path(self.ui.recipePathEdit, self._on_change)
        self.ui.stepsSpinBox.connect("valueChanged(int)", self._on_change)
        self.ui.batchSpinBox.connect("valueChanged(int)", self._on_change)
        self.ui.measureButton.connect("clicked(bool)", self._on_measure)
        self._show()

    @property
    def preset(self) -> str:
        """Name of the chosen preset or path of the chosen file, or an empty text."""
        chosen = str(self.ui.presetComboBox.currentData or "")
        path = str(self.ui.recipePathEdit.currentPath).strip()
        return chosen if chosen != _OWN else str(Path(path).absolute()) if path else ""

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``synthct train`` that say what is trained and for how long."""
        options: dict[str, Any] = {"preset": self.preset, "device": self._devices.device}
        if self.ui.stepsSpinBox.value:
            options["steps"] = int(self.ui.stepsSpinBox.value)
        if self.ui.batchSpinBox.value:
            options["batch"] = int(self.ui.batchSpinBox.value)
        return options

    @property
    def lacking(self) -> str:
        """Why no training can start with this recipe, or an empty text."""
        return self._wrong or ("" if self.preset else "Choose a recipe.")

    def fill(self) -> None:
        """List the presets, once; nothing is listed while packages are missing that read them."""
        if self._sources or packages.missing():
            return
        from synthct.recipe import load_recipe, preset_names

        for name in preset_names():
            recipe = load_recipe(name)
            if recipe.task == self._task:
                self._sources[name] = recipe.source
        names = sorted(self._sources, key=lambda name: (name not in FIRST, name))
        for name in names:
            self.ui.presetComboBox.addItem(name, name)
        self.ui.presetComboBox.addItem("A file of your own", _OWN)
        self._show()

    def close(self) -> None:
        """End a measurement that is under way."""
        self._following.cancel()
        self.ui.measureButton.text = "Measure"

    def _on_change(self, _value: Any = None) -> None:
        self.close()
        self._show()
        self._changed()

    def _show(self) -> None:
        """Show what is chosen, where it comes from, and what is wrong with it."""
        own = self.ui.presetComboBox.currentData == _OWN
        self.ui.fileLabel.setVisible(own)
        self.ui.recipePathEdit.setVisible(own)
        self._wrong = ""
        text = html.escape(self._sources.get(self.preset, ""))
        if own and self.preset:
            text = self._own_source()
        elif not self._sources and packages.missing():
            text = "The recipes are listed once the missing Python packages are installed."
        self.ui.sourceTextLabel.text = text
        self._say_need("")
        self.ui.measureButton.enabled = not self.lacking

    def _own_source(self) -> str:
        from synthct.recipe import load_recipe

        try:
            recipe = load_recipe(self.preset)
        except UserError as error:
            self._wrong = error.what
            return error_html(error)
        if recipe.task != self._task:
            self._wrong = f"The recipe {recipe.name} is for {recipe.task}, not for {self._task}."
            return error_html(UserError(self._wrong, todo="Choose another."))
        return f"<b>{html.escape(recipe.name)}</b>: {html.escape(recipe.source)}"

    def _on_measure(self, _clicked: bool = False) -> None:
        if self._following.job is not None:
            self.close()
            self._say_need("")
            return
        try:
            if not packages.ensure("Training"):
                return
            self._session.release_device()
            folder = self._session.new_folder()
            self._following.follow(Job.start("train", {**self.options, "dry_run": True}, folder))
        except UserError as error:
            self._say_need(error_html(error))
            return
        self._say_need("A few steps on made-up images are taken …")
        self.ui.measureButton.text = "Cancel"

    def _on_end(self, job: Job) -> None:
        self.ui.measureButton.text = "Measure"
        if job.result is not None:
            self._say_need(html.escape(need_text(job.result)))
        else:
            self._say_need(error_html(job_error(job.error, {})))

    def _say_need(self, text: str) -> None:
        self.ui.needTextLabel.text = text
        self.ui.needTextLabel.setVisible(bool(text))


def need_text(measured: dict[str, Any]) -> str:
    """Return what ``train --dry-run`` measured in one line: memory, time per step, time of the whole training."""
    step_s, steps = measured["seconds_per_step"], measured.get("steps")
    text = f"{size_text(measured['peak_memory_mb'])} and {step_s:.2g} s per step on {measured['device']}"
    return f"{text}; {steps} steps: {duration(steps * step_s)}" if steps else f"{text}; steps depend on the cases"


def size_text(mb: float) -> str:
    """Return megabytes (10⁶ bytes) as a person would say them."""
    return f"{mb / 1000:.1f} GB" if mb >= 1000 else f"{mb:.0f} MB"
