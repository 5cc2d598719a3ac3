"""The section "Cohort" of SynthEval: many pairs judged by a job, each shown by a click."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import SCORES
from synthct.scene.evaluation.cases import LIST, RESULTS, load_case, read_cases, show_slices, take_scores, write_list
from synthct.scene.evaluation.regions import slice_places
from synthct.scene.evaluation.report import open_file
from synthct.scene.evaluation.tables import TableView, rows_of, saved, short
from synthct.scene.evaluation.views import CompareViews
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.nodes import image_from_node
from synthct.scene.path_parameters import PathParameters
from synthct.scene.plots import show_chart
from synthct.scene.session import Session

_TITLE = "Evaluation of a cohort"
_COLUMNS = ("mae_hu", "me_hu", "mae_bone_hu", "dice_bone", "ssim_synthrad2023")
_SHORT = {
    "mae_hu": "MAE",
    "me_hu": "ME",
    "mae_bone_hu": "MAE bone",
    "dice_bone": "Dice bone",
    "ssim_synthrad2023": "SSIM",
}


class EvaluationCohortSection:
    """Everything inside the collapsible button "Cohort" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where jobs run.
    views
        The compare layout of the module.
    parameters
        Returns the parameter node (``cohort...``, ``case...``), or None.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        views: CompareViews,
        parameters: Callable[[], Any],
    ) -> None:
        self._session, self._views, self._parameters = session, views, parameters
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("cohort_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._paths = PathParameters(
            {
                "cohortList": self.ui.listPathEdit,
                "cohortOutput": self.ui.outputPathEdit,
                "cohortReferences": self.ui.referencesPathEdit,
                "cohortSynthetics": self.ui.syntheticsPathEdit,
            },
            ("cohortOutput", "cohortReferences", "cohortSynthetics"),
            parameters,
            self.update,
        )
        self.ui.listPathEdit.nameFilters = ["JSON (*.json)"]
        self._cases = TableView(self.ui.casesTable, self._on_case)
        widgets = (self.ui.evaluateButton, self.ui.progressBar, self.ui.statusLabel)
        kept = "The pages that are finished stay in the folder."
        self._line = JobLine(*widgets, _TITLE, self._start, self._take, self.update, kept=kept)
        views.point_listeners.append(self._on_point)
        self.ui.makeButton.connect("clicked(bool)", self._on_make)
        self.ui.openReportButton.connect("clicked(bool)", self._on_report)
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
        lacking = "" if node is not None and self._paths["cohortList"] else _("Choose a list of pairs, or make one.")
        lacking = lacking or ("" if self._paths["cohortOutput"] else _("Choose a folder for the results."))
        self._line.show_button(_("Evaluate all"), lacking, _("Judge every case of the list."))
        both = self._paths["cohortReferences"] and self._paths["cohortSynthetics"]
        where = self._paths["cohortList"] or self._paths["cohortOutput"]
        ui.makeButton.enabled = bool(both and where)
        to_choose = "" if where else _("Choose the folder of the results: the list is written there.")
        ui.makeButton.toolTip = to_choose or _(
            "Add the files of the same name to the list; a new one if none is chosen."
        )
        rows = rows_of(node.cohortScores) if node is not None else []
        for widget in (ui.casesTable, ui.openReportButton, ui.backButton):
            widget.setVisible(bool(rows))
        ui.backButton.enabled = self._views.shown
        self._show_cases(rows)

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._line.look()

    def scene_closing(self) -> None:
        """End the job: nothing of it comes into the scene that follows."""
        self._line.drop()

    def close(self) -> None:
        """End a job that runs."""
        self._line.drop()

    def _show_cases(self, rows: list[dict[str, str]]) -> None:
        names = [name for name in _COLUMNS if rows and name in rows[0]]
        titles = ["Case", "Group", *(_SHORT.get(name, SCORES[name][0]) for name in names)]
        patterns = ["{:.3f}" if "dice" in name or "ssim" in name else "{:.1f}" for name in names]
        shown = [
            [row["case"], row["group"], *(short(row[name], each) for name, each in zip(names, patterns, strict=True))]
            for row in rows
        ]
        self._cases.show(titles, shown)

    def _on_make(self, _clicked: bool = False) -> None:
        listed, output = self._paths["cohortList"], self._paths["cohortOutput"]
        chosen = Path(listed) if listed else Path(output) / "pairs.json"
        folders = (Path(self._paths["cohortReferences"]), Path(self._paths["cohortSynthetics"]))
        group = str(self.ui.groupEdit.text).strip()
        try:
            count = write_list(*folders, chosen, group, bool(self.ui.makeBodyCheckBox.checked))
        except UserError as error:
            self._line.say_error(error)
            return
        self.ui.listPathEdit.currentPath = str(chosen)
        self._line.say(html.escape(_("{count} pairs were written to {file}.").format(count=count, file=chosen)))

    def _start(self) -> None:
        parameters = self._parameters()
        output = Path(self._paths["cohortOutput"]).absolute()
        options: dict[str, Any] = {
            "cohort": Path(self._paths["cohortList"]).absolute(),
            "output": output,
            "other_grid": "resample" if parameters.cohortResample else "refuse",
            "no_numbers": "leave-out" if parameters.cohortLeaveOut else "refuse",
        }
        if (output / "scores.json").exists():
            question = _("{folder} holds an evaluation. Replace it?").format(folder=output)
            if not slicer.util.confirmOkCancelDisplay(question, _(_TITLE)):
                return
            options["overwrite"] = True
        self._line.follow(Job.start("evaluate", options, self._session.new_folder()))

    def _take(self, job: Job) -> str:
        parameters = self._parameters()
        if parameters is not None:
            listed, output = Path(job.options["cohort"]), Path(job.options["output"])
            parameters.cohortScores = take_scores(listed, output, parameters.cohortScores)
        return ""

    def _on_case(self, row: int) -> None:
        parameters = self._parameters()
        table = parameters.cohortScores
        chosen = rows_of(table)[row]
        name = f"{chosen['group']} {chosen['case']}".strip()
        try:
            cases = {saved(name): case for name, case in read_cases(Path(table.GetAttribute(LIST))).items()}
            if name not in cases:
                raise UserError(
                    f"{name} is no longer in {table.GetAttribute(LIST)}.", todo="Evaluate the cohort again."
                )
            with slicer.util.WaitCursor():
                load_case(cases[name], parameters)
            self._views.show(parameters.caseReference, parameters.caseSynthetic, parameters.caseError)
            place = show_slices(Path(table.GetAttribute(RESULTS)), cases[name], parameters)
        except UserError as error:
            self._line.say_error(error)
            return
        show_chart(parameters.caseChart)
        if place is not None:
            self._views.jump(place)
        self._line.say(_("<b>{name}</b> at its worst slice.").format(name=html.escape(name)))
        self.update()

    def _on_point(self, series: slicer.vtkMRMLPlotSeriesNode, row: int) -> None:
        """A point of the case's error by slice is a slice."""
        node = self._parameters()
        chart = node.caseChart if node is not None else None
        if chart is not None and node.caseReference is not None and chart.HasPlotSeriesNodeID(series.GetID()):
            self._views.jump(slice_places(image_from_node(node.caseReference))[row])

    def _on_report(self, _clicked: bool = False) -> None:
        try:
            open_file(Path(self._parameters().cohortScores.GetAttribute(RESULTS)) / "report.html")
        except UserError as error:
            self._line.say_error(error)

    def _on_back(self, _clicked: bool = False) -> None:
        self._views.back()
        self.update()
