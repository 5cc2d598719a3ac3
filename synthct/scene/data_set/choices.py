"""How a data set shall be made, read from the widgets of the section "Data set"."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import error_html
from synthct.scene.data_set.inputs import usable_cases, usable_templates
from synthct.scene.label_synthesis.models import label_card
from synthct.scene.path_parameters import PathParameters


class DataSetChoices:
    """The choices as options of ``synthct dataset``.

    Parameters
    ----------
    ui
        Widgets of ``section.ui``.
    paths
        The chosen paths, by parameter.
    read_card
        Returns the card of a model's path, or raises `UserError`.
    """

    def __init__(self, ui: Any, paths: PathParameters, read_card: Callable[[str], dict[str, Any]]) -> None:
        self._ui, self._paths = ui, paths
        self._looks: tuple[tuple[str, str, Callable[[str], str]], ...] = (
            ("dataSetCohort", _("a list of cases"), lambda path: _("{n} cases").format(n=usable_cases(Path(path)))),
            ("dataSetLibrary", _("a library"), lambda path: _("{n} templates").format(n=usable_templates(Path(path)))),
            ("dataSetModel", _("a model"), lambda path: html.escape(label_card(read_card, path)["name"])),
        )
        self._wrong = ""

    def look(self) -> str:
        """Look at the chosen files; return what is to be known of them, as HTML."""
        about, self._wrong = [], ""
        for name, what, look in self._looks:
            path = self._paths[name]
            try:
                if path:
                    about.append(look(path))
                else:
                    self._wrong = self._wrong or _("Choose {what}.").format(what=what)
            except UserError as error:
                about.append(error_html(error))
                self._wrong = self._wrong or error.what
        return "<br>".join(about)

    @property
    def lacking(self) -> str:
        """What is wrong with the choices, or an empty text; the files are as `look` has seen them."""
        if self._wrong:
            return self._wrong
        if self._ui.fewestSpinBox.value > self._ui.mostSpinBox.value:
            return _("The fewest nodules are more than the most.")
        if self._ui.smallestSpinBox.value > self._ui.largestSpinBox.value:
            return _("The smallest scale is above the largest.")
        return ""

    def options(self) -> dict[str, Any]:
        """Return the options, but for the device."""
        ui, surface = self._ui, self._ui.surfaceSpinBox.value
        files = {
            "cohort": "dataSetCohort",
            "library": "dataSetLibrary",
            "model": "dataSetModel",
            "output": "dataSetFolder",
            "split": "dataSetSplit",
        }
        chosen = {option: self._paths[name] for option, name in files.items()}
        return {
            **{option: Path(path).absolute() if path else None for option, path in chosen.items()},
            "count": int(ui.countSpinBox.value),
            "size": int(ui.sizeSpinBox.value),
            "seed": int(ui.seedSpinBox.value),
            "with_nodule": round(ui.shareSpinBox.value, 2),
            "templates_per_volume": f"{ui.fewestSpinBox.value},{ui.mostSpinBox.value}",
            "lung": round(ui.lungSpinBox.value, 2),
            "share": round(ui.tissueSpinBox.value, 2),
            "surface": round(surface, 1) if surface else "none",
            "rotate": int(ui.rotateSpinBox.value),
            "scale": f"{ui.smallestSpinBox.value:.2f},{ui.largestSpinBox.value:.2f}",
            "elastic": round(ui.elasticSpinBox.value, 1),
        }
