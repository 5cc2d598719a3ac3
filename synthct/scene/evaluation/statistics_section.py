"""The section "Statistics" of SynthEval: whether groups of scores differ, case by case, by ``synthct statistics``."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from synthct.scene.evaluation.cases import RESULTS
from synthct.scene.evaluation.comparisons import GroupsView, TestsView, take_groups, take_tests
from synthct.scene.evaluation.key_values import key_values
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.path_parameters import PathParameters
from synthct.scene.session import Session

_TITLE = "Statistics"
_GROUPS, _UNITS = ("group", "training_set", "method", "arm"), ("case", "patient", "id")
"""What such columns are called where ``synthct`` wrote the table; the first that is there is chosen."""
_MOST_VALUES = 200
"""A column with more values than these names no groups."""


class EvaluationStatisticsSection:
    """Everything inside the collapsible button "Statistics" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where jobs run.
    parameters
        Returns the parameter node (``statistics...``; scores are offered of ``cohortScores`` and ``experimentRun``),
        or None.
    """

    def __init__(self, button: ctk.ctkCollapsibleButton, session: Session, parameters: Callable[[], Any]) -> None:
        self._session, self._parameters = session, parameters
        self._read: tuple[str, float] | None = None
        self._columns: dict[str, list[str]] = {}
        self._filling = False
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("statistics_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._paths = PathParameters({"statisticsScores": self.ui.scoresPathEdit}, (), parameters, self.update)
        self.ui.scoresPathEdit.nameFilters = ["CSV (*.csv)"]
        self._tests, self._groups = TestsView(self.ui.testsTable), GroupsView(self.ui.groupsTable)
        widgets = (self.ui.testButton, self.ui.progressBar, self.ui.statusLabel)
        self._line = JobLine(*widgets, _TITLE, self._start, self._take, self.update, "Testing")
        self.ui.takeCohortButton.connect("clicked(bool)", self._on_take_cohort)
        self.ui.takeExperimentButton.connect("clicked(bool)", self._on_take_experiment)
        self.ui.groupComboBox.connect("activated(int)", self._on_columns)
        self.ui.baselineComboBox.connect("activated(int)", self._on_columns)
        self.ui.unitComboBox.connect("activated(int)", self._on_columns)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._line.job

    def update(self) -> None:
        """Show what was found, and what can be pressed."""
        self._paths.update()
        node, ui = self._parameters(), self.ui
        self._show_columns(node)
        what = _("Compare every group with the baseline, paired; corrected after Holm.")
        self._line.show_button(_("Test"), self._lacking(node), what)
        ui.takeCohortButton.enabled = node is not None and self._cohort_scores(node) is not None
        ui.takeExperimentButton.enabled = node is not None and self._experiment_scores(node) is not None
        tests = node.statisticsTests if node is not None else None
        groups = node.statisticsGroups if node is not None else None
        ui.resultsTabs.setVisible(tests is not None or groups is not None)
        self._tests.show(tests)
        self._groups.show(groups)

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._line.look()

    def scene_closing(self) -> None:
        """End the job: nothing of it comes into the scene that follows."""
        self._line.drop()

    def close(self) -> None:
        """End a job that runs."""
        self._line.drop()

    def _lacking(self, node: Any) -> str:
        if node is None or not self._paths["statisticsScores"]:
            return _("Choose a table of scores.")
        if not self._columns:
            return _("The table cannot be read.")
        if not node.statisticsBaseline or node.statisticsGroup == node.statisticsUnit:
            return _("Choose the column of the groups, the baseline, and the column that pairs.")
        return ""

    def _show_columns(self, node: Any) -> None:
        """Offer the columns of the table, and the values of the one that names the groups."""
        path = self._paths["statisticsScores"]
        try:
            read = (path, Path(path).stat().st_mtime) if path else None
        except OSError:
            read = None
        if read != self._read:
            self._read, self._columns = read, read_columns(Path(path)) if read else {}
        if node is None or self._filling:
            return
        self._filling = True
        columns = list(self._columns)
        group = self._choose(node, "statisticsGroup", columns, _GROUPS)
        self._choose(node, "statisticsUnit", columns, _UNITS)
        self._choose(node, "statisticsBaseline", self._columns.get(group, []), ())
        boxes = {
            "statisticsGroup": (self.ui.groupComboBox, columns),
            "statisticsUnit": (self.ui.unitComboBox, columns),
            "statisticsBaseline": (self.ui.baselineComboBox, self._columns.get(group, [])),
        }
        for name, (box, texts) in boxes.items():
            _fill(box, texts, getattr(node, name))
        self._filling = False

    def _choose(self, node: Any, name: str, texts: list[str], usual: tuple[str, ...]) -> str:
        """Keep what is chosen where there is such a column or group, else choose what is usual."""
        chosen = str(getattr(node, name))
        if texts and chosen not in texts:
            chosen = next((each for each in usual if each in texts), texts[0])
            setattr(node, name, chosen)
        return chosen

    def _on_columns(self, _index: int = 0) -> None:
        node = self._parameters()
        if node is None or self._filling:
            return
        self._filling = True
        node.statisticsGroup = self.ui.groupComboBox.currentText
        node.statisticsUnit = self.ui.unitComboBox.currentText
        node.statisticsBaseline = self.ui.baselineComboBox.currentText
        self._filling = False
        self.update()

    def _cohort_scores(self, node: Any) -> Path | None:
        results = node.cohortScores.GetAttribute(RESULTS) if node.cohortScores is not None else None
        return Path(results) / "scores.csv" if results else None

    def _experiment_scores(self, node: Any) -> Path | None:
        path = Path(node.experimentRun) / "scores.csv"
        return path if node.experimentRun and path.is_file() else None

    def _on_take_cohort(self, _clicked: bool = False) -> None:
        self._offer(self._cohort_scores(self._parameters()))

    def _on_take_experiment(self, _clicked: bool = False) -> None:
        self._offer(self._experiment_scores(self._parameters()))

    def _offer(self, path: Path | None) -> None:
        if path is not None:
            self.ui.scoresPathEdit.currentPath = str(path)

    def _start(self) -> None:
        node = self._parameters()
        where = key_values(node.statisticsWhere, _("Only where"))
        folder = self._session.new_folder()
        options = {
            "scores": Path(self._paths["statisticsScores"]).absolute(),
            "group": node.statisticsGroup,
            "baseline": node.statisticsBaseline,
            "pair_by": node.statisticsUnit,
            "margin": round(node.statisticsMargin, 6) or None,
            "output": folder / "statistics.json",
        }
        words = [word for key, value in where.items() for word in ("--where", f"{key}={value}")]
        self._line.follow(Job.start("statistics", options, folder / "job", words=words))

    def _take(self, job: Job) -> str:
        parameters = self._parameters()
        if parameters is None:
            return ""
        content = json.loads(Path(job.options["output"]).read_text(encoding="utf-8"))
        against = str(job.options["baseline"])
        parameters.statisticsGroups = take_groups(content, parameters.statisticsGroups, "Groups")
        parameters.statisticsTests = take_tests(content, parameters.statisticsTests, f"Groups against {against}")
        tested = len(content["comparisons"])
        text = _("Against <b>{baseline}</b>; p corrected after Holm, comparisons: {tested}.")
        return text.format(tested=tested, baseline=html.escape(against))


def read_columns(path: Path) -> dict[str, list[str]]:
    """Return the columns of a CSV file with their different values, in order; nothing where it cannot be read."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    if len(lines) < 2:
        return {}
    columns = {}
    for place, title in enumerate(lines[0]):
        values = list(dict.fromkeys(line[place].strip() for line in lines[1:] if place < len(line)))
        columns[title.strip()] = values if len(values) <= _MOST_VALUES else []
    return columns


def _fill(box: qt.QComboBox, texts: list[str], chosen: str) -> None:
    if [box.itemText(place) for place in range(box.count)] != texts:
        box.clear()
        box.addItems(texts)
    if box.currentText != chosen:
        box.setCurrentText(chosen)
