"""Widgets that choose a model and a device: what they show beside the choice, and where they get it from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt

from synthct.errors import UserError
from synthct.scene.cards import card_html, device_text, error_html
from synthct.scene.jobs import Job
from synthct.scene.packages import missing
from synthct.scene.path_edits import connect_path, quiet, remember
from synthct.scene.session import Session


class ModelChooser:
    """A path edit for a model folder or run folder, with the model's card shown below it.

    Parameters
    ----------
    path_edit
        ``ctkPathLineEdit``; it remembers the models used last under its ``settingKey``.
    label
        ``QLabel`` for the card, or for what is wrong with the model.
    read_card
        Returns the card of a path, or raises `UserError`.
    changed
        Called without arguments when another path was chosen.
    installed
        Returns the folders of the installed models; they are in the list too.
    """

    def __init__(
        self,
        path_edit: ctk.ctkPathLineEdit,
        label: qt.QLabel,
        read_card: Callable[[str], dict[str, Any]],
        changed: Callable[[], None],
        installed: Callable[[], list[Path]] = list,
    ) -> None:
        self.path_edit = path_edit
        self.label = label
        self.card: dict[str, Any] | None = None
        self._read_card = read_card
        self._changed = changed
        self._installed = installed
        path_edit.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.NoDotAndDotDot
        connect_path(path_edit, self._on_path)
        self.offer_installed()
        self.show()

    @property
    def path(self) -> str:
        """The chosen path, or an empty text."""
        return str(self.path_edit.currentPath)

    @path.setter
    def path(self, path: str) -> None:
        if path != self.path:
            self.path_edit.currentPath = path
        self.show()

    def show(self) -> None:
        """Read the card and show it; ``card`` is None where the model cannot be used."""
        self.card = None
        if not self.path:
            self.label.text = "Choose the folder of a model, or of a training run."
            return
        try:
            self.card = self._read_card(self.path)
            self.label.text = card_html(self.card)
        except UserError as error:
            self.label.text = error_html(error)

    def offer_planes(self, parameters: Any) -> None:
        """Tick the first plane that the model was trained on, where no plane is ticked that it knows."""
        known = self.card["planes"] if self.card is not None else []
        if known and not any(getattr(parameters, plane) for plane in known):
            for plane in ("axial", "coronal", "sagittal"):
                setattr(parameters, plane, plane == known[0])

    def offer_installed(self) -> None:
        """Put the installed models into the list, below those used last; the choice stays as it is."""
        box = self.path_edit.comboBox()
        for folder in self._installed():
            if box.findText(str(folder)) < 0:
                with quiet(self.path_edit):
                    chosen = box.currentText
                    box.addItem(str(folder))
                    box.setEditText(chosen)  # the first item of an empty list would be chosen by itself

    def remember(self) -> None:
        """Put the model into the list of those used last."""
        remember(self.path_edit)
        self.offer_installed()  # the list was made anew

    def _on_path(self, _signal: object = None) -> None:
        self.show()
        self._changed()


class DeviceChooser:
    """A combo box of the devices that can compute, asked of a child process: Slicer itself imports no torch.

    Parameters
    ----------
    combo_box
        ``QComboBox``; the data of an item is the device's name.
    changed
        Called without arguments when another device was chosen.
    """

    def __init__(self, combo_box: qt.QComboBox, session: Session, changed: Callable[[], None]) -> None:
        self.combo_box = combo_box
        self._session = session
        self._changed = changed
        self._job: Job | None = None
        self._filling = False
        self._timer = qt.QTimer()
        self._timer.setInterval(200)
        self._timer.connect("timeout()", self._on_timer)
        self._fill([("Automatic: the fastest free", "auto")])
        combo_box.connect("currentIndexChanged(int)", self._on_index)

    @property
    def device(self) -> str:
        """Name of the chosen device: auto, cpu, cuda:0, ..."""
        return str(self.combo_box.currentData or "auto")

    @device.setter
    def device(self, name: str) -> None:
        index = self.combo_box.findData(name)
        if index < 0:
            self._filling = True
            self.combo_box.addItem(name, name)
            self._filling = False
            index = self.combo_box.findData(name)
        self.combo_box.setCurrentIndex(index)

    def refresh(self) -> None:
        """Ask again which devices there are and how much memory is free; the list is filled when the answer comes."""
        if self._job is not None or missing():
            return
        try:
            self._job = Job.start("devices", {}, self._session.new_folder())
        except UserError as error:  # what is to be computed says so, too
            self.combo_box.toolTip = str(error)
            return
        self._timer.start()

    def close(self) -> None:
        """Forget a question that is still open."""
        self._timer.stop()
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _on_timer(self) -> None:
        if self._job is None:
            return
        self._job.poll()
        if self._job.finished:
            self._timer.stop()
            answer, self._job = self._job.result or {}, None
            items = [("Automatic: the fastest free", "auto")]
            items += [(device_text(device), device["name"]) for device in answer.get("devices", [])]
            if len(items) > 1:
                self._fill(items)

    def _fill(self, items: list[tuple[str, str]]) -> None:
        chosen = self.device
        self._filling = True
        self.combo_box.clear()
        for text, name in items:
            self.combo_box.addItem(text, name)
        self.combo_box.setCurrentIndex(max(self.combo_box.findData(chosen), 0))
        self._filling = False
        if self.device != chosen:
            self._changed()

    def _on_index(self, _index: int = 0) -> None:
        self.combo_box.toolTip = self.combo_box.currentText
        if not self._filling:
            self._changed()
