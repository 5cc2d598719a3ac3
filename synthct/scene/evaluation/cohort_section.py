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
from synthct.scene import packages
from synthct.scene.cards import SCORES, error_html
from synthct.scene.evaluation.cases import LIST, RESULTS, load_case, read_cases, show_slices, take_scores, write_list
from synthct.scene.evaluation.regions import slice_places
from synthct.scene.evaluation.report import open_file
from synthct.scene.evaluation.tables import TableView, rows_of, saved, short
from synthct.scene.evaluation.views import CompareViews
from synthct.scene.exchange import job_error
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.nodes import image_from_node
from synthct.scene.path_parameters import PathParameters
from synthct.scene.plots import show_chart
from synthct.scene.progress import show_progress
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
_MOST_WARNINGS = 5


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
        self._following = Following(self._on_end, self._on_look)
        views.point_listeners.append(self._on_point)
        self.ui.makeButton.connect("clicked(bool)", self._on_make)
        self.ui.evaluateButton.connect("clicked(bool)", self._on_evaluate)
        self.ui.openReportButton.connect("clicked(bool)", self._on_report)
        self.ui.backButton.connect("clicked(bool)", self._on_back)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._following.job

    def update(self) -> None:
        """Show what was found, and what can be pressed."""
        self._paths.update()
        node, ui, running = self._parameters(), self.ui, self.job is not None
        lacking = "" if self._paths["cohortList"] else _("Choose a list of pairs, or make one.")
        lacking = lacking or ("" if self._paths["cohortOutput"] else _("Choose a folder for the results."))
        ui.evaluateButton.text = _("Cancel") if running else _("Evaluate all")
        ui.evaluateButton.enabled = running or not (lacking or node is None)
        ui.evaluateButton.toolTip = lacking or _("Judge every case of the list.")
        both = self._paths["cohortReferences"] and self._paths["cohortSynthetics"]
        where = self._paths["cohortList"] or self._paths["cohortOutput"]
        ui.makeButton.enabled = bool(both and where)
        to_choose = "" if where else _("Choose the folder of the results: the list is written there.")
        ui.makeButton.toolTip = to_choose or _(
            "Add the files of the same name to the list; a new one if none is chosen."
        )
        ui.progressBar.setVisible(running)
        ui.statusLabel.setVisible(bool(ui.statusLabel.text))
        rows = rows_of(node.cohortScores) if node is not None else []
        for widget in (ui.casesTable, ui.openReportButton, ui.backButton):
            widget.setVisible(bool(rows))
        ui.backButton.enabled = self._views.shown
        self._show_cases(rows)

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._following.look()

    def scene_closing(self) -> None:
        """End the job: nothing of it comes into the scene that follows."""
        self._following.cancel()
        self.ui.statusLabel.text = ""

    def close(self) -> None:
        """End a job that runs."""
        self._following.cancel()

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
            self._say_error(error)
            return
        self.ui.listPathEdit.currentPath = str(chosen)
        self._say(html.escape(_("{count} pairs were written to {file}.").format(count=count, file=chosen)))

    def _on_evaluate(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self._following.cancel()
            self._say(_("Cancelled. The pages that are finished stay in the folder."))
            return
        parameters = self._parameters()
        output = Path(self._paths["cohortOutput"]).absolute()
        options: dict[str, Any] = {
            "cohort": Path(self._paths["cohortList"]).absolute(),
            "output": output,
            "other_grid": "resample" if parameters.cohortResample else "refuse",
            "no_numbers": "leave-out" if parameters.cohortLeaveOut else "refuse",
        }
        try:
            if (output / "scores.json").exists():
                question = _("{folder} holds an evaluation. Replace it?").format(folder=output)
                if not slicer.util.confirmOkCancelDisplay(question, _(_TITLE)):
                    return
                options["overwrite"] = True
            if packages.ensure("SynthEval"):
                self._follow(Job.start("evaluate", options, self._session.new_folder()))
        except UserError as error:
            self._say_error(error)

    def _follow(self, job: Job) -> None:
        self._following.follow(job)
        show_progress(self.ui.progressBar, self.ui.statusLabel, None, _("Starting"))
        self.update()

    def _on_look(self, job: Job) -> None:
        show_progress(self.ui.progressBar, self.ui.statusLabel, job.progress, _("Starting"))

    def _on_end(self, job: Job) -> None:
        parameters = self._parameters()
        try:
            if job.state != "done":
                raise job_error(job.error, {})
            if parameters is not None:
                self._take_scores(job, parameters)
        except UserError as error:
            self._say_error(error)
            return
        except (OSError, ValueError, KeyError) as error:
            self._say_error(UserError("The result cannot be read.", f"{error}.", "Evaluate again."))
            return
        shown = [html.escape(text) for text in job.warnings[:_MOST_WARNINGS]]
        if len(job.warnings) > _MOST_WARNINGS:
            shown.append(_("… and {count} more; see the report.").format(count=len(job.warnings) - _MOST_WARNINGS))
        self._say("<br>".join(f"<span style='color:#b9770e'>{text}</span>" for text in shown))

    def _take_scores(self, job: Job, parameters: Any) -> None:
        listed, output = Path(job.options["cohort"]), Path(job.options["output"])
        table = take_scores(listed, output, parameters.cohortScores)
        parameters.cohortScores = table

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
            self._say_error(error)
            return
        show_chart(parameters.caseChart)
        if place is not None:
            self._views.jump(place)
        self._say(_("<b>{name}</b> at its worst slice.").format(name=html.escape(name)))

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
            self._say_error(error)

    def _on_back(self, _clicked: bool = False) -> None:
        self._views.back()
        self.update()

    def _say_error(self, error: UserError) -> None:
        self._say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=_(_TITLE))

    def _say(self, text: str) -> None:
        self.ui.statusLabel.text = text
        self.update()
