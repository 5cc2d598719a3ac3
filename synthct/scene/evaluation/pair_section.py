"""The section "One pair" of SynthEval: a synthetic CT against its reference, in tables, curves and linked views."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import SCORES
from synthct.scene.display import show_over
from synthct.scene.evaluation.charts import HEIGHT, MAE, ME
from synthct.scene.evaluation.pair_job import PairJob, finish, start
from synthct.scene.evaluation.report import open_page, save_page
from synthct.scene.evaluation.tables import TableView, number_in, rows_of, short
from synthct.scene.evaluation.views import CompareViews
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.plots import show_chart
from synthct.scene.session import Session

_TITLE = "Evaluation"
_PLOTS = {
    "pairSliceChart": "Error by slice",
    "pairBoneChart": "Dice of bone by threshold",
    "pairLineChart": "HU along the line",
    "pairHistogram": "Joint histogram of HU",
}
"""Parameters with something to show beside the views, and what it is called."""
_REGION_COLUMNS = {"region": "Region", "volume_ml": "ml", "mae_hu": "MAE", "me_hu": "ME", "sd_hu": "SD"}


class EvaluationPairSection:
    """Everything inside the collapsible button "One pair" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where files are exchanged.
    views
        The compare layout of the module.
    parameters
        Returns the parameter node (``pair...``), or None.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        views: CompareViews,
        parameters: Callable[[], Any],
    ) -> None:
        self._session, self._views, self._parameters = session, views, parameters
        self._running: PairJob | None = None
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("pair_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._scores = TableView(self.ui.scoresTable)
        self._regions = TableView(self.ui.regionsTable, self._on_region)
        self._slices = TableView(self.ui.slicesTable, self._on_slice)
        for name, title in _PLOTS.items():
            self.ui.plotComboBox.addItem(title, name)
        widgets = (self.ui.evaluateButton, self.ui.progressBar, self.ui.statusLabel)
        self._line = JobLine(*widgets, _TITLE, self._start, self._take, self.update, "Measuring")
        views.point_listeners.append(self._on_point)
        self.ui.compareButton.connect("clicked(bool)", self._on_compare)
        self.ui.plotComboBox.connect("activated(int)", self._on_plot)
        self.ui.openReportButton.connect("clicked(bool)", self._on_open_report)
        self.ui.saveReportButton.connect("clicked(bool)", self._on_save_report)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._line.job

    def update(self) -> None:
        """Show what was found, and what can be pressed."""
        node, ui = self._parameters(), self.ui
        lacking = _("Choose both CTs.") if node is None or not (node.pairReference and node.pairSynthetic) else ""
        what = _("Measure how far the synthetic CT is from the reference, and where.")
        self._line.show_button(_("Evaluate"), lacking, what)
        ui.maskSelector.enabled = node is not None and not node.pairBody
        self._show_tables(node)
        found = node is not None and node.pairScores is not None
        ui.judgedLabel.text = html.escape(node.pairScores.GetDescription() or "") if found else ""
        ui.judgedLabel.setVisible(bool(ui.judgedLabel.text))
        both = node is not None and node.pairReference is not None and node.pairSynthetic is not None
        for widget in (ui.resultsTabs, ui.compareButton, ui.plotComboBox, ui.openReportButton, ui.saveReportButton):
            widget.setVisible(found)
        ui.compareButton.enabled = both
        ui.compareButton.checked = self._views.shown
        for button in (ui.openReportButton, ui.saveReportButton):
            button.enabled = found and node.pairReport is not None
        ui.resultsTabs.setTabEnabled(1, found and node.pairRegionScores is not None)

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._line.look()

    def scene_closing(self) -> None:
        """End the job: nothing of it comes into the scene that follows."""
        self._line.drop()
        self._running = None
        self._views.forget()

    def close(self) -> None:
        """End a job that runs, and let go of the plot."""
        self._line.drop()
        self._views.close()

    def _show_tables(self, node: Any) -> None:
        scores = rows_of(node.pairScores) if node is not None else []
        named = [SCORES.get(row["score"], (row["score"], "{:.4g}")) for row in scores]
        shown = [[name, short(row["value"], pattern)] for (name, pattern), row in zip(named, scores, strict=True)]
        self._scores.show(["Score", "Value"], shown, [row["definition"] for row in scores])
        regions = rows_of(node.pairRegionScores) if node is not None else []
        content = [[short(row[name], "{:.1f}") for name in _REGION_COLUMNS] for row in regions]
        self._regions.show(list(_REGION_COLUMNS.values()), content)
        slices = rows_of(node.pairSlices) if node is not None else []
        content = [
            [str(number), *(short(row[name], "{:.1f}") for name in (HEIGHT, MAE, ME))]
            for number, row in enumerate(slices, 1)
        ]
        self._slices.show(["Slice", "Height, mm", "MAE, HU", "ME, HU"], content)

    def _start(self) -> None:
        with slicer.util.WaitCursor():
            self._running = found = start(self._parameters(), self._session)
        self._line.follow(found.job, found.names, found.job.folder.parent)

    def _take(self, job: Job) -> str:
        found, self._running = self._running, None
        parameters = self._parameters()
        if not (parameters and found and found.synthetic.GetScene() and found.reference.GetScene()):
            return _("The volumes are no longer in the scene; nothing is shown.")
        with slicer.util.WaitCursor():
            finish(found, parameters)
        self._views.show(found.reference, found.synthetic, parameters.pairError)
        self._show_plot("pairSliceChart")
        return ""

    def _on_compare(self, _clicked: bool = False) -> None:
        node = self._parameters()
        if self._views.shown:
            self._views.back()
        else:
            self._views.show(node.pairReference, node.pairSynthetic, node.pairError, same_window=False)
            self._show_plot(self.ui.plotComboBox.currentData)
        self.update()

    def _on_plot(self, _index: int = 0) -> None:
        self._show_plot(self.ui.plotComboBox.currentData)

    def _show_plot(self, name: str) -> None:
        """Show a curve beside the views; the histogram in place of the difference."""
        node = self._parameters()
        what = getattr(node, name, None) if node is not None else None
        if what is None:
            if name == "pairLineChart":
                self._line.say(_("No line was chosen when this was evaluated."))
            return
        if what.IsA("vtkMRMLPlotChartNode"):
            self._show_volumes()
            show_chart(what)
        elif self._views.shown:
            self._views.show_picture(what)
        else:
            show_over(what, None, 1.0)

    def _show_volumes(self) -> None:
        """Show the volumes where the compare layout is shown already."""
        node = self._parameters()
        if self._views.shown and node.pairReference is not None and node.pairSynthetic is not None:
            self._views.show(node.pairReference, node.pairSynthetic, node.pairError, same_window=False)

    def _on_region(self, row: int) -> None:
        self._jump(rows_of(self._parameters().pairRegionScores)[row])

    def _on_point(self, series: slicer.vtkMRMLPlotSeriesNode, row: int) -> None:
        """A point of the error by slice is a slice, too."""
        node = self._parameters()
        if node is not None and node.pairSlices is not None and series.GetTableNode() is node.pairSlices:
            self._on_slice(row)

    def _on_slice(self, row: int) -> None:
        self._jump(rows_of(self._parameters().pairSlices)[row])

    def _jump(self, row: dict[str, str]) -> None:
        place = [number_in(row[axis]) for axis in "RAS"]
        if not any(math.isnan(value) for value in place):
            self._show_volumes()
            self._views.jump(place)

    def _on_open_report(self, _clicked: bool = False) -> None:
        try:
            open_page(self._parameters().pairReport.GetText(), self._session)
        except UserError as error:
            self._line.say_error(error)

    def _on_save_report(self, _clicked: bool = False) -> None:
        node = self._parameters().pairReport
        try:
            saved = save_page(node.GetText(), f"{node.GetName()}.html")
        except UserError as error:
            self._line.say_error(error)
            return
        if saved is not None:
            self._line.say(html.escape(_("Saved as {file}.").format(file=saved)))
