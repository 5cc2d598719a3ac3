"""The section "Segmentation experiment" of SynthEval: does a network find more with synthetic data?

The experiment is a process of its own that outlives Slicer; what is shown is read from its folder.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html, warning_lines
from synthct.scene.choosers import DeviceChooser
from synthct.scene.evaluation.key_values import key_values
from synthct.scene.evaluation.report import open_file
from synthct.scene.evaluation.tables import TableView
from synthct.scene.path_parameters import PathParameters
from synthct.scene.progress import show_progress
from synthct.scene.segmentation.experiment_run import RECIPE, REPORT, ArmState, ExperimentRun
from synthct.scene.segmentation.experiment_table import RUN, ArmsView, take_table
from synthct.scene.segmentation.recipes import packaged, sets_of
from synthct.scene.session import Session

_TITLE = "Segmentation experiment"
WORKING_MS, RESTING_MS = 500, 3000
"""How often the folder is looked at while a process works in it, and while none does."""
_OWN = ""
"""In place of a packaged recipe's name: a file."""


class ExperimentSection:
    """Everything inside the collapsible button "Segmentation experiment" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Of the module.
    parameters
        Returns the parameter node (``experiment...``), or None.
    """

    job = None
    """No job of this window: an experiment goes on without it."""

    def __init__(self, button: ctk.ctkCollapsibleButton, session: Session, parameters: Callable[[], Any]) -> None:
        self.run: ExperimentRun | None = None
        self._parameters = parameters
        self._said = ""
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("experiment_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        for name in packaged():
            self.ui.recipeComboBox.addItem(name, name)
        self.ui.recipeComboBox.addItem(_("a file of your own:"), _OWN)
        edits = {
            "experimentFile": self.ui.recipePathEdit,
            "experimentReal": self.ui.realPathEdit,
            "experimentSynthetic": self.ui.syntheticPathEdit,
            "experimentGan": self.ui.ganPathEdit,
            "experimentRun": self.ui.runPathEdit,
        }
        folders = tuple(name for name in edits if name != "experimentFile")
        self._paths = PathParameters(edits, folders, parameters, self.update)
        self.ui.recipePathEdit.nameFilters = ["Recipes (*.yaml *.yml)"]
        self._devices = DeviceChooser(self.ui.deviceComboBox, session, lambda: None)
        self._arms = TableView(self.ui.armsTable)
        self._table = ArmsView(self.ui.resultsTable)
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self.poll)
        button.connect("contentsCollapsed(bool)", self._on_collapsed)
        self.ui.recipeComboBox.connect("activated(int)", self._on_recipe)
        self.ui.checkButton.connect("clicked(bool)", self._on_check)
        self.ui.startButton.connect("clicked(bool)", self._on_start)
        self.ui.pauseButton.connect("clicked(bool)", self._on_pause)
        self.ui.openReportButton.connect("clicked(bool)", self._on_report)
        self.update()

    def update(self) -> None:
        """Follow the folder that is chosen, and show how it stands."""
        self._paths.update()
        node = self._parameters()
        if node is not None:
            name = node.experimentRecipe
            self.ui.recipeComboBox.setCurrentIndex(max(self.ui.recipeComboBox.findData(name), 0))
        folder = self._paths["experimentRun"]
        if not folder:
            self.run = None
        elif self.run is None or str(self.run.folder) != folder:
            self._said = ""
            self.run = None if packages.missing() else ExperimentRun(folder)
        if self.run is None:
            self._timer.stop()
        elif not self._timer.active:
            self._timer.start(self._pace())
        self._show()

    def poll(self) -> None:
        """See how far the experiment is; in a script Slicer's timers may never fire."""
        run = self.run
        if run is None:
            return
        before = run.state
        run.poll()
        if run.state != before:
            self._said = ""
            self._timer.start(self._pace())
        self._show()

    def scene_closing(self) -> None:
        """The experiment goes on; another scene may name another one."""
        self.run, self._said = None, ""
        self._timer.stop()

    def close(self) -> None:
        """Let go of everything in this window; an experiment goes on."""
        self._timer.stop()
        self._devices.close()

    def _pace(self) -> int:
        return WORKING_MS if self.run is not None and self.run.active else RESTING_MS

    def _on_collapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self._devices.refresh()

    def _on_recipe(self, _index: int = 0) -> None:
        node = self._parameters()
        if node is not None:
            node.experimentRecipe = str(self.ui.recipeComboBox.currentData or "")
            self._show()

    def _recipe(self) -> str:
        """The chosen recipe's name or path, or an empty text."""
        chosen = str(self.ui.recipeComboBox.currentData or "")
        path = self._paths["experimentFile"]
        return chosen or (str(Path(path).absolute()) if path else "")

    def _options(self) -> dict[str, Any]:
        """What is asked for here, for a folder in which nothing has begun; `UserError` where a key cannot be."""
        sets = sets_of(self._recipe())
        options: dict[str, Any] = {"recipe": self._recipe()}
        for name, key, part in (
            ("experimentReal", sets.real, "path"),
            ("experimentSynthetic", sets.synthetic, "path"),
            ("experimentGan", sets.synthetic, "gan"),
        ):
            if self._paths[name] and key is not None:
                options[f"sets.{key}.{part}"] = Path(self._paths[name]).absolute()
        return options | key_values(self._parameters().experimentKeys, _("Other keys"))

    def _on_check(self, _clicked: bool = False) -> None:
        self._start(dry_run=True)

    def _on_start(self, _clicked: bool = False) -> None:
        self._start(dry_run=False)

    def _start(self, dry_run: bool) -> None:
        run, folder = self.run, self._paths["experimentRun"]
        try:
            if not packages.ensure("SynthEval"):
                return
            run = run or ExperimentRun(folder)
            begun = run.options or {"recipe": run.folder.absolute() / RECIPE}  # by a shell
            options = begun if run.begun else self._options()
            run.start({**options, "device": self._devices.device, "dry_run": dry_run})
        except UserError as error:
            self._say_error(error)
            return
        self.run, self._said = run, ""
        self.ui.runPathEdit.addCurrentPathToHistory()
        self._timer.start(WORKING_MS)
        self._show()

    def _on_pause(self, _clicked: bool = False) -> None:
        if self.run is not None:
            try:
                self.run.pause()
            except UserError as error:
                self._say_error(error)
            self.poll()

    def _on_report(self, _clicked: bool = False) -> None:
        table = self._parameters().experimentTable
        try:
            open_file(Path(table.GetAttribute(RUN) or "") / REPORT)
        except UserError as error:
            self._say_error(error)

    def _say_error(self, error: UserError) -> None:
        self._said = error_html(error)
        self._show()
        slicer.util.errorDisplay(str(error), windowTitle=_(_TITLE))

    def _show(self) -> None:
        """Show how the experiment stands: words, progress, arms, table, and what can be pressed."""
        node, ui, run = self._parameters(), self.ui, self.run
        self._take_table(node)
        table = node.experimentTable if node is not None else None
        self._show_choices(run)
        self._show_words(run, table)
        arms = run.arms if run is not None else []
        self._arms.show([_("Arm"), _("Networks"), _("Stands")], [_row(arm) for arm in arms])
        self._table.show(table)
        ui.resultsTabs.setVisible(bool(arms) or table is not None)
        ui.resultsTabs.setTabEnabled(0, bool(arms))
        ui.resultsTabs.setTabEnabled(1, table is not None)
        ui.openReportButton.setVisible(table is not None)
        self._show_buttons(node, run)

    def _take_table(self, node: Any) -> None:
        """Put the table into the scene as soon as it is there, and again where the experiment was done anew."""
        run = self.run
        if node is None or run is None or run.state != "done" or run.table is None:
            return
        stamp = f"{run.table.stat().st_mtime:.3f}"
        table = node.experimentTable
        if table is not None and (table.GetAttribute(RUN), table.GetAttribute("written")) == (str(run.folder), stamp):
            return
        try:
            table = take_table(run.folder, table)
        except UserError as error:
            self._said = error_html(error)
            return
        table.SetAttribute("written", stamp)
        node.experimentTable = table
        self.ui.resultsTabs.setCurrentIndex(1)

    def _show_choices(self, run: ExperimentRun | None) -> None:
        """Show what can be chosen; in a folder where an experiment has begun, all is known."""
        ui = self.ui
        known = run is not None and run.begun
        own = str(ui.recipeComboBox.currentData or "") == _OWN
        sets = sets_of(self._recipe()) if not known and self._recipe() else None
        given = sets is not None and sets.synthetic is not None
        for widget, label, wanted in (
            (ui.recipeComboBox, ui.recipeComboBoxLabel, not known),
            (ui.recipePathEdit, ui.recipePathEditLabel, not known and own),
            (ui.realPathEdit, ui.realPathEditLabel, sets is not None and sets.real is not None),
            (ui.syntheticPathEdit, ui.syntheticPathEditLabel, given),
            (ui.ganPathEdit, ui.ganPathEditLabel, given),
            (ui.keysEdit, ui.keysEditLabel, not known),
        ):
            widget.setVisible(wanted)
            label.setVisible(wanted)

    def _show_words(self, run: ExperimentRun | None, table: slicer.vtkMRMLTableNode | None) -> None:
        ui = self.ui
        working = run is not None and run.active
        ui.progressBar.setVisible(working)
        if run is not None and working:
            waiting = _("Pausing: a checkpoint is written") if run.state == "ending" else _("Looking at the cases")
            event = None if run.state == "ending" else run.progress
            show_progress(ui.progressBar, ui.statusLabel, event, waiting)
            lines = [str(ui.statusLabel.text)]
        else:
            lines = [self._said or (standing_html(run) if run is not None else "")]
            if run is not None and run.state == "done" and table is not None:
                lines.append(html.escape(table.GetDescription() or ""))
        lines += warning_lines(run.warnings if run is not None else [])
        ui.statusLabel.text = "<br>".join(filter(None, lines))
        ui.statusLabel.setVisible(bool(ui.statusLabel.text))

    def _show_buttons(self, node: Any, run: ExperimentRun | None) -> None:
        ui = self.ui
        working = run is not None and run.active
        begun = run is not None and run.begun
        done = run is not None and run.state == "done"
        lacking = "" if self._paths["experimentRun"] else _("Choose a folder for the experiment.")
        lacking = lacking or ("" if self._recipe() or begun else _("Choose a recipe."))
        for button in (ui.checkButton, ui.startButton):
            button.enabled = not (working or done or lacking or node is None)
        ui.startButton.text = _("Resume") if begun and not done else _("Start")
        ui.startButton.toolTip = lacking or _("Train, test and compare every arm. It goes on when Slicer is closed.")
        ui.runPathEdit.enabled = not working
        ending = run is not None and run.state == "ending"
        ui.pauseButton.text = _("End at once") if ending else _("Pause")
        ui.pauseButton.enabled = run is not None and run.state in ("starting", "running", "ending", "elsewhere")
        ui.pauseButton.toolTip = (
            _("Do not wait for the checkpoint: what came after the last one is lost.")
            if ending
            else _("End the process with a checkpoint; Resume goes on from there, also after a restart.")
        )


def standing_html(run: ExperimentRun) -> str:
    """Return how an experiment stands that no process of ours works in."""
    if run.state == "failed" and run.error is not None:
        more = _("Resume goes on from what is finished.") if run.begun else ""
        return error_html(run.error) + (f"<br>{more}" if more else "")
    if run.state == "elsewhere":
        return _("A process that was not started here works in this folder.")
    if run.state == "done":
        return _("Finished: every arm was trained, tested and compared.")
    if run.state in ("checked", "paused"):
        done = sum(arm.tested for arm in run.arms)
        text = _("{done} of {arms} arms are tested. Resume goes on, also after a restart.")
        said = text.format(done=done, arms=len(run.arms)) if run.state == "paused" else _("Nothing is trained yet.")
        return "<br>".join([said, *map(_checked, run.checked)])
    return _("There is no experiment in this folder yet.")


def _checked(line: str) -> str:
    return warning_lines([line])[0] if "NOT CHECKED" in line else html.escape(line)


def _row(arm: ArmState) -> list[str]:
    whole = arm.trained == arm.networks
    waiting = _("trained") if whole else _("waits")
    working = _("is tested") if whole else _("is trained")
    stands = _("tested") if arm.tested else working if arm.at_work else waiting
    return [arm.name, f"{arm.trained} / {arm.networks}", stands]
