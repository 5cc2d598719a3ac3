"""The synthesis of MRtoCT: an MR becomes a CT, with its uncertainty, its scores and a check without a CT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from synthct.scene.display import CT_WINDOWS
from synthct.scene.model_and_device import ModelAndDevice
from synthct.scene.mr_to_ct.result_check import Result, ResultCheck
from synthct.scene.mr_to_ct.uncertainty import UncertaintyChoice, lacking_for
from synthct.scene.progress import result_html, show_scores
from synthct.scene.session import Session
from synthct.scene.studies import of_another
from synthct.scene.translation import Translation
from synthct.scene.translation_run import TranslationRun


class MrSynthesisSection:
    """What MRtoCT has around Apply.

    Parameters
    ----------
    ui
        The widgets of ``MRtoCT.ui`` by name.
    session
        Where files are exchanged and the worker runs.
    parameters
        Returns the parameter node of MRtoCT, or None.
    start
        Begins the translation that a parameter node, the card of its model and the name of a window describe.
    read_card
        Returns the card of a model's path, or raises `UserError`.
    installed
        Returns the folders of the installed models.
    changed
        Called without arguments when the window shall show anew what can be pressed (`update`).

    Attributes
    ----------
    models, devices
        The choosers; training uses them too.
    run
        What is under way, and the Apply button.
    uncertainty, check
        The boxes for the uncertainty, and the check of the result.
    """

    def __init__(
        self,
        ui: Any,
        session: Session,
        parameters: Callable[[], Any],
        start: Callable[[Any, dict[str, Any], str], Translation],
        read_card: Callable[[str], dict[str, Any]],
        installed: Callable[[], list[Path]],
        changed: Callable[[], None],
    ) -> None:
        self.ui = ui
        self._parameters, self._begin, self._changed = parameters, start, changed
        self._choice = ModelAndDevice(
            self.ui.modelPathEdit,
            self.ui.modelCardLabel,
            self.ui.deviceComboBox,
            self.ui.refreshDevicesButton,
            session,
            parameters,
            read_card,
            installed,
            self._on_model,
        )
        self.models, self.devices = self._choice.models, self._choice.devices
        self.uncertainty = UncertaintyChoice(
            self.ui.dropoutCheckBox,
            self.ui.flipsCheckBox,
            self.ui.uncertaintyPlanesCheckBox,
            self.ui.samplesSpinBox,
            self.ui.showUncertaintyCheckBox,
            parameters,
        )
        self.check = ResultCheck(
            self.ui.checkButton,
            self.ui.reportButton,
            self.ui.checkLabel,
            session,
            lambda: Result.from_parameters(parameters(), self.models.card),
        )
        widgets = (self.ui.applyButton, self.ui.progressBar, self.ui.statusLabel)
        self.run = TranslationRun(*widgets, "MR to CT", self._start, self._on_end, changed)
        for name in CT_WINDOWS:
            self.ui.windowComboBox.addItem(name)

    def update(self) -> None:
        """Show what no widget is connected to by itself, and what can be pressed."""
        node = self._parameters()
        if node is not None:
            self._choice.update()
            if of_another(node.outputVolume, node.inputVolume):
                self._forget_result()
                node.outputVolume = None
            if of_another(node.uncertaintyVolume, node.inputVolume):
                node.uncertaintyVolume = None
        running = self.run.translation is not None
        self.run.show_button(self._lacking(node))
        for inputs in (self.ui.inputsCollapsibleButton, self.ui.outputsCollapsibleButton):
            inputs.enabled = not running
        self.uncertainty.update(self.models.card)
        self.check.update()

    def enter(self) -> None:
        """List what was installed meanwhile; at the first time ask for the devices."""
        self._choice.enter()

    def scene_closing(self) -> None:
        """End what belongs to the scene."""
        self.run.cancel()
        self._forget_result()

    def close(self) -> None:
        """Look at nothing any more: the window closes."""
        self.run.close()
        self._choice.close()
        self.check.forget()

    def _forget_result(self) -> None:
        """Take off the window what was said of a result."""
        self.check.forget()
        show_scores(self.ui.scoresTable, None)
        self.ui.statusLabel.text = ""

    def _lacking(self, node: Any) -> str:
        if node is None or node.inputVolume is None:
            return _("Choose an MR volume.")
        if self.models.card is None:
            return _("Choose a model.")
        if not (node.axial or node.coronal or node.sagittal):
            return _("Tick a plane.")
        return lacking_for(node, self.models.card)

    def _start(self) -> Translation:
        assert self.models.card is not None  # Apply is grey without a model
        translation = self._begin(self._parameters(), self.models.card, self.ui.windowComboBox.currentText)
        self.models.remember()
        self._forget_result()
        return translation

    def _on_end(self, translation: Translation) -> None:
        node = self._parameters()
        if node is not None and translation.output_node is not None:
            node.outputVolume = translation.output_node
            node.uncertaintyVolume = translation.deviation_node
            self.uncertainty.show()
            if node.checkResult:
                self.check.start()
        show_scores(self.ui.scoresTable, translation.scores)
        self.ui.statusLabel.text = result_html(translation)
        self._changed()
        if translation.error is not None:
            self.run.show_error(translation.error)

    def _on_model(self, by_user: bool) -> None:
        if by_user:
            self.models.offer_planes(self._parameters())
        self._changed()
