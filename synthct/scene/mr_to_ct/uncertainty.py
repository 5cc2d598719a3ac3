"""The uncertainty of a synthetic CT in a module: what is asked for, what a model cannot give, how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt

from synthct.scene.display import show_over
from synthct.scene.studies import INPUT_REFERENCE

PARAMETERS = {"dropout": "uncertaintyDropout", "flips": "uncertaintyFlips", "planes": "uncertaintyPlanes"}
"""Modes of ``synthct synthesize --uncertainty`` to the parameters that ask for them."""
_OPACITY = 0.6


def impossible_modes(card: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the modes that a model's card rules out, each with the reason; a card that does not say rules out none."""
    reasons = {}
    if card is not None and card.get("dropout") is False:
        reasons["dropout"] = "The network of this model has no dropout. Choose mirror images or planes."
    if card is not None and len(card.get("size", [])) == 3:
        reasons["planes"] = "This is a 3D model: it works in no plane. Choose mirror images or dropout."
    return reasons


def chosen_modes(parameters: Any, card: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the modes that are ticked and that the model can give."""
    impossible = impossible_modes(card)
    return tuple(mode for mode, name in PARAMETERS.items() if getattr(parameters, name) and mode not in impossible)


def lacking_for(parameters: Any, card: Mapping[str, Any] | None) -> str:
    """Return what must be chosen before the uncertainty can be found, or an empty text."""
    planes = sum((parameters.axial, parameters.coronal, parameters.sagittal))
    wanted = "planes" in chosen_modes(parameters, card)
    return "Tick two planes or more for their uncertainty." if wanted and planes < 2 else ""


class UncertaintyChoice:
    """Boxes for the modes, greyed with the reason where the model cannot give one, and a box that shows the result.

    Parameters
    ----------
    dropout_box, flips_box, planes_box
        ``QCheckBox`` for each mode.
    samples_box
        ``QSpinBox``: predictions with dropout.
    show_box
        ``QCheckBox``: show the standard deviation over the synthetic CT.
    parameters
        Returns the parameter node (``outputVolume``, ``uncertaintyVolume`` and those of `PARAMETERS`), or None.
    """

    def __init__(
        self,
        dropout_box: qt.QCheckBox,
        flips_box: qt.QCheckBox,
        planes_box: qt.QCheckBox,
        samples_box: qt.QSpinBox,
        show_box: qt.QCheckBox,
        parameters: Callable[[], Any],
    ) -> None:
        self.show_box = show_box
        self.samples_box = samples_box
        self._boxes = {"dropout": dropout_box, "flips": flips_box, "planes": planes_box}
        self._tips = {mode: box.toolTip for mode, box in self._boxes.items()}
        self._parameters = parameters
        show_box.connect("clicked(bool)", self.show)

    def update(self, card: Mapping[str, Any] | None) -> None:
        """Grey what this model cannot give, and what there is nothing to show of."""
        parameters = self._parameters()
        impossible = impossible_modes(card)
        for mode, box in self._boxes.items():
            box.enabled = mode not in impossible
            box.toolTip = impossible.get(mode, self._tips[mode])
        self.samples_box.enabled = parameters is not None and "dropout" in chosen_modes(parameters, card)
        self.show_box.enabled = parameters is not None and parameters.uncertaintyVolume is not None

    def show(self, _clicked: bool = False) -> None:
        """Show the standard deviation over the synthetic CT, or the synthetic CT over its MR again."""
        parameters = self._parameters()
        if parameters is None:
            return
        synthetic, deviation = parameters.outputVolume, parameters.uncertaintyVolume
        if self.show_box.checked and deviation is not None:
            show_over(deviation, synthetic, _OPACITY)
        elif synthetic is not None:
            show_over(synthetic, synthetic.GetNodeReference(INPUT_REFERENCE))
