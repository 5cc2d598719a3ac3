"""The model and the device that a parameter node names, with the widgets of a window that choose them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt

from synthct.scene.choosers import DeviceChooser, ModelChooser
from synthct.scene.session import Session


class ModelAndDevice:
    """Keeps the choosers and the parameter node alike, whichever of them is changed.

    Parameters
    ----------
    path_edit, card_label
        ``ctkPathLineEdit`` and ``QLabel`` of the model, see `ModelChooser`.
    combo_box, refresh_button
        ``QComboBox`` of the devices and ``QPushButton`` that asks for them again.
    session
        Where the devices are asked for.
    parameters
        Returns the parameter node, or None.
    read_card
        Returns the card of a model's path, or raises `UserError`.
    installed
        Returns the folders of the installed models.
    on_model
        Called when the parameter node has another model: with True where the user chose it, False where it came with
        the scene.
    names
        Of the parameters for model and device.

    Attributes
    ----------
    models, devices
        The choosers.
    """

    def __init__(
        self,
        path_edit: ctk.ctkPathLineEdit,
        card_label: qt.QLabel,
        combo_box: qt.QComboBox,
        refresh_button: qt.QPushButton,
        session: Session,
        parameters: Callable[[], Any],
        read_card: Callable[[str], dict[str, Any]],
        installed: Callable[[], list[Path]],
        on_model: Callable[[bool], None],
        names: tuple[str, str] = ("model", "device"),
    ) -> None:
        self._parameters, self._on_model = parameters, on_model
        self._model, self._device = names
        self._asked_for_devices = False
        self.models = ModelChooser(path_edit, card_label, read_card, self._on_path, installed)
        self.devices = DeviceChooser(combo_box, session, self._on_device)
        refresh_button.connect("clicked(bool)", self._on_refresh)

    def update(self) -> None:
        """Show what the parameter node names; one without a model takes the one that is shown."""
        node = self._parameters()
        if node is None:
            return
        path, device = getattr(node, self._model), getattr(node, self._device)
        if not path:
            setattr(node, self._model, self.models.path)
        elif path != self.models.path:
            self.models.path = path
        if device != self.devices.device:
            self.devices.device = device

    def enter(self) -> None:
        """List what was installed meanwhile; at the first time ask for the devices."""
        self.models.offer_installed()
        if not self._asked_for_devices:
            self._asked_for_devices = True
            self.devices.refresh()

    def close(self) -> None:
        """Forget a question that is still open."""
        self.devices.close()

    def _on_path(self) -> None:
        node = self._parameters()
        if node is not None:
            by_user = getattr(node, self._model) != self.models.path
            setattr(node, self._model, self.models.path)
            self._on_model(by_user)

    def _on_device(self) -> None:
        node = self._parameters()
        if node is not None:
            setattr(node, self._device, self.devices.device)

    def _on_refresh(self, _clicked: bool = False) -> None:
        self.devices.refresh()
