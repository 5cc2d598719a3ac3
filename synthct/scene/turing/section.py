"""The section "Visual Turing test" of SynthEval: items rated one by one, every answer on the disk at once.

Raters see ``Item 3`` and nothing else of it; which items are real is read by ``synthct turing score`` alone.
"""

from __future__ import annotations

import html
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.evaluation.tables import TableView, fill_table, rows_of, short
from synthct.scene.evaluation.views import CompareViews
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.path_parameters import PathParameters
from synthct.scene.session import Session
from synthct.scene.turing.items import remove_item, show_item
from synthct.turing_folder import Answer, TuringTest, open_test, raters, read_answers, save_answer

_TITLE = "Visual Turing test"
_MIDDLE = 5
_COLUMNS = {
    "rater": "Rater", "answered": "n", "mean_real": "Real", "mean_generated": "Gener.", "auc": "AUC",
    "auc_ci95": "95 %", "seconds_median": "s",
}  # fmt: skip
_MEAN = "mean of raters"


class TuringSection:
    """Everything inside the collapsible button "Visual Turing test" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where jobs run.
    views
        The compare layout of the module; a rating ends it.
    parameters
        Returns the parameter node (``turing...``), or None.

    Attributes
    ----------
    test
        What is being rated, or None.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        views: CompareViews,
        parameters: Callable[[], Any],
    ) -> None:
        self.test: TuringTest | None = None
        self._session, self._views, self._parameters = session, views, parameters
        self._rater = ""
        self._place = 0
        self._answers: dict[str, Answer] = {}
        self._since = 0.0
        self._setting = False
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._paths = PathParameters(
            {
                "turingTest": self.ui.testPathEdit,
                "turingReal": self.ui.realPathEdit,
                "turingGenerated": self.ui.generatedPathEdit,
            },
            ("turingTest", "turingReal", "turingGenerated"),
            parameters,
            self._on_paths,
        )
        self._results = TableView(self.ui.resultsTable)
        widgets = (self.ui.prepareButton, self.ui.progressBar, self.ui.statusLabel)
        kept = "The folder is not whole: choose another."
        self._line = JobLine(*widgets, _TITLE, self._prepare, self._take, self.update, "Working", kept)
        self.ui.beginButton.connect("clicked(bool)", self._on_begin)
        self.ui.ratingSlider.connect("valueChanged(int)", self._on_rating)
        self.ui.ratingSlider.connect("sliderReleased()", self._on_rating)
        self.ui.backButton.connect("clicked(bool)", self._on_back)
        self.ui.nextButton.connect("clicked(bool)", self._on_next)
        self.ui.resultsButton.connect("clicked(bool)", self._on_results)
        self.ui.exportButton.connect("clicked(bool)", self._on_export)
        self._on_paths()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._line.job

    def update(self) -> None:
        """Show where the rater is, and what can be pressed."""
        self._paths.update()
        node, ui, test = self._parameters(), self.ui, self.test
        running, rating = self.job is not None, test is not None
        preparing = self.job is not None and "real" in self.job.options
        sources = self._paths["turingReal"] and self._paths["turingGenerated"]
        lacking = "" if sources and self._paths["turingTest"] else _("Choose both sources and the folder of the test.")
        self._line.show_button(_("Prepare"), lacking, "")
        if running and not preparing:
            ui.prepareButton.text, ui.prepareButton.enabled = _("Prepare"), False
        ui.prepareGroupBox.setVisible(not rating)
        for widget in (ui.testPathEdit, ui.raterComboBox):
            widget.enabled = not rating
        ui.beginButton.text = _("End") if rating else _("Begin")
        ui.beginButton.enabled = rating or bool(self._paths["turingTest"] and not running)
        ui.ratingGroupBox.setVisible(rating)
        if test is not None:
            self._show_rating(test)
        ui.resultsButton.enabled = bool(self._paths["turingTest"] and not (running or rating))
        results = node.turingResults if node is not None and not rating else None
        self._show_results(results)
        ui.exportButton.enabled = ui.resultsButton.enabled

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._line.look()

    def scene_closing(self) -> None:
        """The item goes with the scene; every answer is on the disk."""
        self._line.drop()
        self._leave()

    def close(self) -> None:
        """End a job that runs."""
        self._line.drop()

    def _show_rating(self, test: TuringTest) -> None:
        ui, count = self.ui, len(test.items)
        item = test.items[self._place]
        done = sum(each.name in self._answers for each in test.items)
        text = _("<b>Item {number} of {count}</b>, {done} rated").format(number=self._place + 1, count=count, done=done)
        ui.itemLabel.text = text
        answered = item.name in self._answers
        ui.ratingLabel.text = f"<b>{ui.ratingSlider.value}</b>" if answered else _("not rated yet")
        ui.backButton.enabled = self._place > 0
        ui.nextButton.enabled = answered and self._place < count - 1
        ui.nextButton.toolTip = "" if answered else _("Move the slider, or press it where it is, to rate this item.")

    def _show_results(self, table: slicer.vtkMRMLTableNode | None) -> None:
        rows = rows_of(table)
        text = table.GetAttribute("definitions") if table is not None else None
        known = json.loads(text) if text else {}
        for row in rows:
            low, high = (short(row[name], "{:.2g}") for name in ("auc_low", "auc_high"))
            row["auc_ci95"] = "–" if "–" in (low, high) else f"{low} to {high}"
        shown = [[short(row[name], "{:.3g}") for name in _COLUMNS] for row in rows]
        self._results.show(list(_COLUMNS.values()), shown, heads=[known.get(name, "") for name in _COLUMNS])
        self.ui.resultsTable.setVisible(bool(rows))
        self.ui.resultsLabel.text = html.escape(table.GetDescription() or "") if table is not None else ""
        self.ui.resultsLabel.setVisible(bool(self.ui.resultsLabel.text))

    def _on_paths(self) -> None:
        """Offer those who have begun already; another test has other results."""
        folder = self._paths["turingTest"]
        box, name = self.ui.raterComboBox, self.ui.raterComboBox.currentText
        box.clear()
        if folder:
            box.addItems(raters(Path(folder)))
        box.setCurrentText(name)
        node = self._parameters()
        if node is not None and node.turingResults is not None and node.turingResults.GetAttribute("folder") != folder:
            node.turingResults = None
        self.update()

    def _on_begin(self, _clicked: bool = False) -> None:
        if self.test is not None:
            self._leave()
            remove_item()
            self._on_paths()
            return
        try:
            folder, rater = Path(self._paths["turingTest"]), str(self.ui.raterComboBox.currentText).strip()
            if not rater:
                raise UserError("No rater is named.", "The answers are kept by name.", "Write your name.")
            test = open_test(folder)
            self._answers = read_answers(folder, rater)
            places = range(len(test.items))
            self._rater = rater
            self._parameters().turingResults = None  # nobody sees them while rating
            self._views.back()
            self._go(test, next((place for place in places if test.items[place].name not in self._answers), 0))
        except UserError as error:
            self._leave()
            self._line.say_error(error)
            return
        self.test = test
        self._line.say("")
        self.update()

    def _leave(self) -> None:
        self.test, self._rater, self._answers, self._place = None, "", {}, 0
        self.update()

    def _go(self, test: TuringTest, place: int) -> None:
        """Show an item with the rating that it has, and start its clock."""
        show_item(test, place)
        self._place = place
        answer = self._answers.get(test.items[place].name)
        self._setting = True
        self.ui.ratingSlider.value = round(answer.rating) if answer is not None else _MIDDLE
        self._setting = False
        self._since = time.monotonic()

    def _on_rating(self, _value: int = 0) -> None:
        """Save the rating; the seconds add up where an item is looked at again."""
        test = self.test
        if test is None or self._setting:
            return
        name, now = test.items[self._place].name, time.monotonic()
        before = self._answers.get(name)
        rating = float(self.ui.ratingSlider.sliderPosition)  # of a slider just let go, the value follows
        if before is not None and before.rating == rating:
            return
        seconds = (before.seconds if before is not None else 0.0) + now - self._since
        try:
            self._answers = save_answer(test.folder, self._rater, name, rating, seconds)
        except UserError as error:
            self._line.say_error(error)
            return
        self._since = now
        done = sum(item.name in self._answers for item in test.items)
        whole = done == len(test.items)
        self._line.say(_("All {count} items are rated. Thank you.").format(count=done) if whole else "")
        self.update()

    def _on_back(self, _clicked: bool = False) -> None:
        self._step(-1)

    def _on_next(self, _clicked: bool = False) -> None:
        self._step(1)

    def _step(self, by: int) -> None:
        test = self.test
        if test is None or not 0 <= self._place + by < len(test.items):
            return
        try:
            self._go(test, self._place + by)
        except UserError as error:
            self._line.say_error(error)
        self.update()

    def _prepare(self) -> None:
        options = {
            "real": Path(self._paths["turingReal"]).absolute(),
            "generated": Path(self._paths["turingGenerated"]).absolute(),
            "count": int(self.ui.countSpinBox.value) or None,
            "seed": int(self.ui.seedSpinBox.value),
        }
        self._begin("prepare", options)

    def _on_results(self, _clicked: bool = False) -> None:
        question = _("The results show who can tell real from generated. Nobody who still rates should see them. Show?")
        if slicer.util.confirmOkCancelDisplay(question, _(_TITLE)):
            self._line.ensure_and(lambda: self._begin("score", {"output": self._session.new_folder() / "result.json"}))

    def _on_export(self, _clicked: bool = False) -> None:
        window = slicer.util.mainWindow()
        chosen = str(qt.QFileDialog.getSaveFileName(window, _("Export the ratings"), "ratings.csv", "CSV (*.csv)"))
        if chosen:
            self._line.ensure_and(lambda: self._begin("score", {"table": Path(chosen), "overwrite": True}))

    def _begin(self, action: str, options: dict[str, Any]) -> None:
        words = [action, str(Path(self._paths["turingTest"]).absolute())]
        self._line.follow(Job.start("turing", options, self._session.new_folder(), words=words))

    def _take(self, job: Job) -> str:
        options, parameters = job.options, self._parameters()
        if "real" in options:
            self._on_paths()
            text = _("{count} items are prepared. Keep key.json away from the raters.")
            return text.format(count=(job.result or {})["items"])
        if "table" in options:
            return html.escape(_("Exported to {file}.").format(file=options["table"]))
        if parameters is not None:
            self._take_results(Path(options["output"]), parameters)
        return ""

    def _take_results(self, path: Path, parameters: Any) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = dict(content["raters"])
        if _MEAN in content:
            rows[_MEAN] = content[_MEAN]
        columns: dict[str, Any] = {"rater": list(rows)}
        for name in ("answered", "mean_real", "mean_generated", "auc", "p_mann_whitney", "seconds_median"):
            columns[name] = [_number(row.get(name)) for row in rows.values()]
        for end, name in enumerate(("auc_low", "auc_high")):
            columns[name] = [_number(row["auc_ci95"][end]) for row in rows.values()]
        folder = self._paths["turingTest"]
        table = fill_table(parameters.turingResults, f"Turing test {Path(folder).name}", columns)
        table.SetAttribute("definitions", json.dumps(content["definitions"]))
        table.SetAttribute("folder", folder)
        agreed = content.get("agreement")
        text = _("Agreement: one rater alone.") if agreed is None else ""
        if agreed is not None:
            low, high = (short(str(_number(value)), "{:.2f}") for value in agreed["icc_ci95"])
            text = _("Agreement of {raters} raters on {items} items: ICC {icc} (95 %: {low} to {high}).").format(
                raters=agreed["raters"],
                items=agreed["items"],
                icc=short(str(_number(agreed["icc"])), "{:.2f}"),
                low=low,
                high=high,
            )
        table.SetDescription(text)
        parameters.turingResults = table


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
