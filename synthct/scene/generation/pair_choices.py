"""How pairs shall be made, read from the widgets of the section "Generate pairs"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.choosers import DeviceChooser, ModelChooser
from synthct.scene.generation.folder import GeneratedFolder
from synthct.scene.generation.models import has_truncation

_THRESHOLD = 0.5
"""What `synthct generate` takes without being told; a folder says so by naming none."""
_SAID = {"minimum_mm3": "minimum volume", "between": "second seed", "largest_only": "choice of parts"}
"""Settings of pairs whose names say little."""


class PairChoices:
    """The choices as options of ``synthct generate``.

    Parameters
    ----------
    ui
        Widgets of ``section.ui``.
    models, devices
        The choosers.
    parameters
        Returns the parameter node (``pairsClass``), or None.
    changed
        Called without arguments when another class was chosen, or something else that each pair depends on.
    """

    def __init__(
        self,
        ui: Any,
        models: ModelChooser,
        devices: DeviceChooser,
        parameters: Callable[[], Any],
        changed: Callable[[], None],
    ) -> None:
        self._ui, self._models, self._devices = ui, models, devices
        self._parameters, self._changed = parameters, changed
        self._filling = False
        ui.classComboBox.addItem(_("All classes in turn"), "")
        ui.classComboBox.connect("currentIndexChanged(int)", self._on_class)
        for box in (ui.thresholdSpinBox, ui.minimumSpinBox, ui.truncationSpinBox):
            box.connect("valueChanged(double)", self._on_how)
        for check in (ui.truncationCheckBox, ui.largestCheckBox):
            check.connect("toggled(bool)", self._on_how)

    def show(self) -> None:
        """Offer what the model knows; the class that was chosen stays chosen where the model has it."""
        ui, card, node = self._ui, self._models.card, self._parameters()
        box, names = ui.classComboBox, list(card["class_names"]) if card is not None else []
        self._filling = True
        if names != [box.itemData(number) for number in range(1, box.count)]:
            while box.count > 1:
                box.removeItem(1)
            for name in names:
                box.addItem(name, name)
        if node is not None:
            box.setCurrentIndex(max(box.findData(node.pairsClass), 0))
        self._filling = False
        truncation = card is not None and has_truncation(card)
        for widget in (ui.classLabel, ui.classComboBox):
            widget.setVisible(bool(names))
        for widget in (ui.truncationLabel, ui.truncationCheckBox, ui.truncationSpinBox):
            widget.setVisible(truncation)
        ui.truncationSpinBox.enabled = ui.truncationCheckBox.checked
        for widget in (ui.thresholdSpinBox, ui.minimumSpinBox, ui.largestCheckBox):
            widget.enabled = card is None or card["masks"] != "none"

    def how(self) -> dict[str, Any]:
        """Return the options that say how a single pair is made.

        Raises
        ------
        UserError
            No model is chosen, or one that cannot be used.
        """
        ui, card = self._ui, self._models.card
        if card is None:
            raise UserError(_("The model cannot be used.") if self._models.path else _("Choose a model."))
        masks = card["masks"] != "none"
        threshold = round(ui.thresholdSpinBox.value, 2)
        truncated = has_truncation(card) and ui.truncationCheckBox.checked
        return {
            "model": Path(self._models.path).absolute(),
            "class": str(ui.classComboBox.currentData or "") or None,
            "threshold": threshold if masks and threshold != _THRESHOLD else None,
            "minimum_volume": round(ui.minimumSpinBox.value, 1) if masks else 0.0,
            "largest_only": masks and ui.largestCheckBox.checked,
            "truncation": round(ui.truncationSpinBox.value, 2) if truncated else None,
            "device": self._devices.device,
        }

    def options(self) -> dict[str, Any]:
        """Return the options that make a set of pairs.

        Raises
        ------
        UserError
            As `how`.
        """
        cohort = str(self._ui.cohortPathEdit.currentPath).strip()
        return {
            **self.how(),
            "count": int(self._ui.countSpinBox.value),
            "seed": int(self._ui.seedSpinBox.value),
            "output": Path(str(self._ui.outputPathEdit.currentPath).strip()).absolute(),
            "check_against": Path(cohort).absolute() if cohort else None,
        }

    def unfit_for(self, found: GeneratedFolder) -> str:
        """Return why pairs made so cannot join those of a folder, or an empty text.

        Raises
        ------
        UserError
            As `how`.
        """
        options, there = self.options(), len(found.pairs)
        other = found.differs(self._settings(options))
        if other:
            said = _("The folder holds pairs that were made otherwise (another {what}). Choose another folder.")
            return said.format(what=", ".join(_SAID.get(key, key) for key in other))
        if options["count"] < there:
            return _("The folder holds {n} pairs already. Give a larger number.").format(n=there)
        if options["check_against"] is None and found.checked:
            return _("These pairs were checked against training cases. Choose the cohort again, or another folder.")
        if options["check_against"] is None and found.complete and options["count"] == there:
            return _("All are there: a larger number adds to them.")
        return ""

    def _on_class(self, _index: int = 0) -> None:
        node = self._parameters()
        if node is not None and not self._filling:
            node.pairsClass = str(self._ui.classComboBox.currentData or "")
            self._changed()

    def _on_how(self, _value: object = None) -> None:
        self._changed()

    def _settings(self, options: dict[str, Any]) -> dict[str, Any]:
        """What pairs made so would have in common, as they say it themselves."""
        card = self._models.card or {}
        settings = {
            "model": {"name": card["name"], "weights_sha256": card.get("weights_sha256")},
            "seed": options["seed"],
            "class": options["class"],
            "threshold": options["threshold"],
            "minimum_mm3": options["minimum_volume"],
        }
        settings |= {"largest_only": True} if options["largest_only"] else {}
        return settings if options["truncation"] is None else {**settings, "truncation": options["truncation"]}
