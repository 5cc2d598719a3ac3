"""The section "Segmentations" of SynthEval: masks against reference masks, by ``synthct overlap``."""

from __future__ import annotations

import csv
import html
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.evaluation.tables import TableView, fill_table, number_in, rows_of, short
from synthct.scene.evaluation.views import CompareViews
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.path_parameters import PathParameters
from synthct.scene.segmentation.mask_case import NODES, load_masks
from synthct.scene.session import Session

_REFERENCE, _FOUND, _DEFINITIONS = "SyntheticCT.References", "SyntheticCT.Found", "definitions"
"""Attributes of the table of patients."""
_TEXTS = ("patient", "lesion_present")
_SCORES = {
    "dice_percent": "Dice",
    "sensitivity_percent": "Sensitivity",
    "precision_percent": "Precision",
    "f2_percent": "F2",
    "hausdorff95_mm": "HD95, mm",
    "surface_dice_percent": "Surface Dice",
    "volume_error_ml": "ΔV, ml",
}


class OverlapSection:
    """Everything inside the collapsible button "Segmentations" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where jobs run.
    views
        The compare layout of the module.
    parameters
        Returns the parameter node (``overlap...``), or None.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        views: CompareViews,
        parameters: Callable[[], Any],
    ) -> None:
        self._session, self._views, self._parameters = session, views, parameters
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("overlap_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        edits = {"overlapReferences": self.ui.referencePathEdit, "overlapPredicted": self.ui.predictedPathEdit}
        self._paths = PathParameters(edits, tuple(edits), parameters, self.update)
        self._patients = TableView(self.ui.patientsTable, self._on_patient)
        self._summary = TableView(self.ui.summaryTable)
        widgets = (self.ui.scoreButton, self.ui.progressBar, self.ui.statusLabel)
        self._line = JobLine(*widgets, "Segmentations", self._start, self._take, self.update, "Scoring")
        self.ui.backButton.connect("clicked(bool)", self._on_back)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._line.job

    def update(self) -> None:
        """Show what was found, and what can be pressed."""
        self._paths.update()
        node, ui = self._parameters(), self.ui
        both = node is not None and self._paths["overlapReferences"] and self._paths["overlapPredicted"]
        lacking = "" if both else _("Choose a folder of reference masks and one of the masks that were found.")
        what = _("Dice, sensitivity, precision, surfaces and volumes of every patient.")
        self._line.show_button(_("Score the masks"), lacking, what)
        scores = node.overlapScores if node is not None else None
        for widget in (ui.resultsTabs, ui.backButton):
            widget.setVisible(scores is not None)
        ui.backButton.enabled = self._views.shown
        self._show_patients(scores)
        self._show_summary(node.overlapSummary if node is not None else None)

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._line.look()

    def scene_closing(self) -> None:
        """End the job: nothing of it comes into the scene that follows."""
        self._line.drop()

    def close(self) -> None:
        """End a job that runs."""
        self._line.drop()

    def _show_patients(self, table: slicer.vtkMRMLTableNode | None) -> None:
        rows = rows_of(table)
        names = [name for name in _SCORES if rows and name in rows[0]]
        shown = [[row["patient"], *(short(row[name], "{:.1f}") for name in names)] for row in rows]
        tips = [_("No lesion in the reference.") if row["lesion_present"] == "no" else "" for row in rows]
        known = _definitions(table)
        heads = ["", *(known.get(name, "") for name in names)]
        self._patients.show([_("Patient"), *(_SCORES[name] for name in names)], shown, tips, heads)

    def _show_summary(self, table: slicer.vtkMRMLTableNode | None) -> None:
        rows, known = rows_of(table), _definitions(table)
        shown = [
            [
                _SCORES.get(row["score"], row["score"]),
                *(short(row[name]) for name in ("mean", "sd_sample", "median", "n")),
                row["patients"],
            ]
            for row in rows
            if row["score"] in _SCORES
        ]
        tips = [known.get(row["score"], "") for row in rows if row["score"] in _SCORES]
        self._summary.show([_("Score"), _("Mean"), "SD", _("Median"), "n", _("Of")], shown, tips)

    def _start(self) -> None:
        folder = self._session.new_folder()
        options = {
            "reference": Path(self._paths["overlapReferences"]).absolute(),
            "predicted": Path(self._paths["overlapPredicted"]).absolute(),
            "tolerance": round(self._parameters().overlapTolerance, 3),
            "output": folder / "scores.csv",
            "summary": folder / "summary.json",
        }
        self._line.follow(Job.start("overlap", options, folder / "job"))

    def _take(self, job: Job) -> str:
        parameters, options = self._parameters(), job.options
        if parameters is None:
            return ""
        rows = list(csv.DictReader(Path(options["output"]).read_text(encoding="utf-8").splitlines()))
        content = json.loads(Path(options["summary"]).read_text(encoding="utf-8"))
        columns: dict[str, Any] = {
            name: [row[name] if name in _TEXTS else number_in(row[name]) for row in rows] for name in rows[0]
        }
        table = fill_table(parameters.overlapScores, f"Masks of {Path(options['predicted']).name}", columns)
        table.SetAttribute(_REFERENCE, options["reference"])
        table.SetAttribute(_FOUND, options["predicted"])
        table.SetAttribute(_DEFINITIONS, json.dumps(content["definitions"]))
        summed = [(group, name, found) for group, scores in content["scores"].items() for name, found in scores.items()]
        columns = {"score": [name for _group, name, _found in summed], "patients": [group for group, *_rest in summed]}
        for key in ("n", "mean", "sd_sample", "sd_population", "median"):
            columns[key] = [number_in(str(found[key])) for *_rest, found in summed]
        summary = fill_table(parameters.overlapSummary, f"{table.GetName()}, summed up", columns)
        summary.SetAttribute(_DEFINITIONS, json.dumps(content["definitions"]))
        parameters.overlapSummary = summary
        parameters.overlapScores = table
        dice = content["scores"]["patients with a lesion"]["dice_percent"]
        text = _("{count} patients, {lesions} with a lesion; their Dice: mean {mean} %, median {median} %.")
        mean, median = (short(str(number_in(str(dice[key]))), "{:.1f}") for key in ("mean", "median"))
        lesions = content["with_a_lesion"]
        return html.escape(text.format(count=content["patients"], lesions=lesions, mean=mean, median=median))

    def _on_patient(self, row: int) -> None:
        parameters = self._parameters()
        table = parameters.overlapScores
        patient = rows_of(table)[row]["patient"]
        try:
            with slicer.util.WaitCursor():
                reference, found = (Path(table.GetAttribute(name) or "") for name in (_REFERENCE, _FOUND))
                place = load_masks(patient, reference, found, parameters)
        except UserError as error:
            self._line.say_error(error)
            return
        first, second, difference = (getattr(parameters, name) for name in NODES)
        self._views.show(first, second, difference, same_window=False)
        if not math.isnan(place[0]):
            self._views.jump(place)
        text = _("<b>{name}</b>: reference, found, and the difference: blue is missed, red is too much.")
        self._line.say(text.format(name=html.escape(patient)))
        self.update()

    def _on_back(self, _clicked: bool = False) -> None:
        self._views.back()
        self.update()


def _definitions(table: slicer.vtkMRMLTableNode | None) -> dict[str, str]:
    text = table.GetAttribute(_DEFINITIONS) if table is not None else None
    return json.loads(text) if text else {}
