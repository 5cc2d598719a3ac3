"""The section "Training" of a module: cases, recipe, run; a training goes on when Slicer is closed, and is found again.

The training is a process of its own that is told to pause and resume; what is shown is read from its run folder.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.choosers import DeviceChooser
from synthct.scene.path_edits import connect_path, remember
from synthct.scene.progress import show_progress
from synthct.scene.session import Session
from synthct.scene.training.cases import TrainingCases
from synthct.scene.training.curves import GROUPS, CurvePlots
from synthct.scene.training.recipe import TrainingRecipe, size_text
from synthct.scene.training.run import TrainingRun
from synthct.terminal import duration

CASES_FILE = "chosen-cases.json"
"""In the run folder: the cases as chosen here."""
WORKING_MS, RESTING_MS = 500, 2000
"""How often a run is looked at while a process works in it, and while none does."""
_WAITING = {
    "starting": "Starting",
    "ending": "Pausing: the step under way is finished and a checkpoint is written",
}
_MOST_WARNINGS = 5


class TrainingSection:
    """Everything inside the collapsible button "Training" of a module.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Of the module; its warm worker is ended before a training starts.
    devices
        Of the module: a training runs on the device chosen there.
    task
        What is trained, ``mr-to-ct`` say.
    run_changed
        Called without arguments when another run folder is chosen.
    use_model
        Called with the path of a model that the user wants to apply.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        devices: DeviceChooser,
        task: str,
        run_changed: Callable[[], None],
        use_model: Callable[[str], None],
    ) -> None:
        self.run: TrainingRun | None = None
        self._session = session
        self._devices = devices
        self._run_changed = run_changed
        self._use_model = use_model
        self._letting_go = False
        self._picture: tuple[Path, float] | None = None
        self._plots = CurvePlots()
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.cases = TrainingCases(self.ui.casesGroupBox.layout(), session, task, self._show_buttons)
        self.recipe = TrainingRecipe(self.ui.recipeGroupBox.layout(), session, devices, task, self._show_buttons)
        for group, (title, _) in GROUPS.items():
            self.ui.curvesComboBox.addItem(title, group)
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self._on_timer)
        button.connect("contentsCollapsed(bool)", self._on_collapsed)
        self.ui.runPathEdit.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.NoDotAndDotDot
        self.ui.runPathEdit.settingKey = f"SyntheticCT/Runs/{task}"  # shows the run used last
        connect_path(self.ui.runPathEdit, self._on_path)
        self.ui.startButton.connect("clicked(bool)", self._on_start)
        self.ui.pauseButton.connect("clicked(bool)", self._on_pause)
        self.ui.stopButton.connect("clicked(bool)", self._on_stop)
        self.ui.curvesButton.connect("clicked(bool)", self._on_curves)
        self.ui.curvesComboBox.connect("activated(int)", self._on_curves_chosen)
        self.ui.useModelButton.connect("clicked(bool)", self._on_use_model)
        self._follow()

    @property
    def run_path(self) -> str:
        """The chosen run folder, or an empty text. Set it to follow another run; one that is at work is kept."""
        return str(self.ui.runPathEdit.currentPath).strip()

    @run_path.setter
    def run_path(self, path: str) -> None:
        if path != self.run_path and not (self.run is not None and self.run.active):
            self.ui.runPathEdit.currentPath = path

    def close(self) -> None:
        """Let go of everything in this window; a training goes on."""
        self._timer.stop()
        self.cases.close()
        self.recipe.close()
        self._plots.clear()

    def _on_collapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.recipe.fill()
            self._follow()

    def _on_path(self, _path: str = "") -> None:
        self._follow()
        self._run_changed()

    def _follow(self) -> None:
        """Look what is in the chosen run folder, and watch it while a process works there."""
        if self.run is None or str(self.run.folder) != self.run_path:
            self._plots.clear()
            self._letting_go = False
            watch = bool(self.run_path) and not packages.missing()
            self.run = TrainingRun(self.run_path) if watch else None
        elif not self.run.active:
            self.run.poll()
        self._watch()
        self._show()

    def _watch(self) -> None:
        """Look at the run regularly: often while it works, seldom while it does not (a shell may resume it)."""
        if self.run is None:
            self._timer.stop()
        else:
            self._timer.start(WORKING_MS if self.run.active else RESTING_MS)

    def _on_timer(self) -> None:
        run = self.run
        if run is None:
            return
        was_active = run.active
        run.poll()
        if not (was_active or run.active):
            return
        if was_active != run.active:
            self._watch()
        if self._letting_go and run.state in ("paused", "empty"):
            self._let_go(run)
        else:
            self._show()

    def _let_go(self, run: TrainingRun) -> None:
        """Leave a run that no process works in, and say how to come back to it."""
        self.ui.runPathEdit.currentPath = ""
        where = html.escape(str(run.folder))
        later = f"Choose {where} as the folder to go on with it." if run.resumable else ""
        self._say(f"Stopped at step {run.step}. {later}")

    def _on_start(self, _clicked: bool = False) -> None:
        self._try(self._start)

    def _start(self) -> None:
        if not packages.ensure("Training"):
            self._say("Nothing was installed, nothing was started.")
            return
        self._session.release_device()
        run = TrainingRun(self.run_path)
        cases = run.folder.absolute() / CASES_FILE
        self.cases.write(cases)
        run.start({**self.recipe.options, "cohort": cases})
        self._began(run)

    def _began(self, run: TrainingRun) -> None:
        self.run = run
        self._letting_go = False
        remember(self.ui.runPathEdit)
        self._watch()
        self._show()

    def _on_pause(self, _clicked: bool = False) -> None:
        run = self.run
        if run is None:
            return
        if run.active:
            self._try(run.pause)
            self._show()
        else:
            self._try(self._resume)

    def _resume(self) -> None:
        if self.run is None or not packages.ensure("Training"):
            return
        self._session.release_device()
        self.run.resume(self._devices.device)
        self._began(self.run)

    def _on_stop(self, _clicked: bool = False) -> None:
        run = self.run
        if run is None:
            return
        if run.state == "ending" and self._letting_go:
            self._try(run.end_now)
        elif run.active:
            if run.state != "ending":
                self._try(run.pause)
            self._letting_go = run.state == "ending"
        else:
            self._let_go(run)
            return
        self._show()

    def _on_curves(self, _clicked: bool = False) -> None:
        if self.run is not None:
            self._plots.show(str(self.ui.curvesComboBox.currentData), self.run.curves)

    def _on_curves_chosen(self, _index: int = 0) -> None:
        if self._plots.shown:
            self._on_curves()

    def _on_use_model(self, _clicked: bool = False) -> None:
        if self.run is not None and self.run.model is not None:
            self._use_model(str(self.run.model))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except UserError as error:
            self._say(error_html(error))
            slicer.util.errorDisplay(str(error), windowTitle="Training")

    def _say(self, text: str) -> None:
        self.ui.runStatusLabel.text = text
        self.ui.runStatusLabel.setVisible(True)

    def _show(self) -> None:
        """Show how the run stands: words, progress, warnings, picture, curves, and what can be pressed."""
        run = self.run
        self.ui.runProgressBar.setVisible(run is not None and run.active)
        if run is not None and run.active:
            waiting = _WAITING.get(run.state)
            event = None if waiting else run.progress
            show_progress(self.ui.runProgressBar, self.ui.runStatusLabel, event, waiting or "Starting")
            if event is not None and event.get("task") == "training":
                self.ui.runStatusLabel.text = html.escape(training_text(event, run.memory_mb))
        else:
            self.ui.runStatusLabel.text = standing_html(run) if run is not None else ""
        self.ui.runStatusLabel.setVisible(run is not None)
        warnings = run.warnings[-_MOST_WARNINGS:] if run is not None else []
        lines = "".join(f"<li>{html.escape(text)}</li>" for text in warnings)
        self.ui.warningsLabel.text = f"<ul style='color:#b9770e; margin-left:-24px'>{lines}</ul>" if lines else ""
        self.ui.warningsLabel.setVisible(bool(warnings))
        self._show_sample(run.sample if run is not None else None)
        if run is not None:
            self._plots.update(run.curves)
        self._show_buttons()

    def _show_sample(self, path: Path | None) -> None:
        label = self.ui.sampleLabel
        label.setVisible(path is not None)
        if path is None:
            self._picture = None
            return
        try:
            newest = (path, path.stat().st_mtime)
        except OSError:
            return
        if newest != self._picture:
            pixmap = qt.QPixmap(str(path))
            if not pixmap.isNull():
                label.setPixmap(pixmap.scaledToWidth(max(int(label.width), 200), qt.Qt.SmoothTransformation))
                self._picture = newest

    def _show_buttons(self) -> None:
        run = self.run
        active = run is not None and run.active
        resumable = run is not None and not active and run.resumable and run.state != "done"
        ending = run is not None and run.state == "ending"
        lacking = self._lacking()
        start, pause, stop = self.ui.startButton, self.ui.pauseButton, self.ui.stopButton
        start.enabled = not lacking
        start.toolTip = lacking or "Begin a new training in this folder. It goes on when Slicer is closed."
        pause.text = "Resume" if resumable else "Pause"
        pause.enabled = resumable or (active and not ending)
        pausing = "End the process with a checkpoint, to be resumed later."
        pause.toolTip = "Go on from the last checkpoint." if resumable else pausing
        stop.text = "End at once" if ending and self._letting_go else "Stop"
        stop.enabled = active or resumable
        stop.toolTip = (
            "Do not wait for the checkpoint: what came after the last one is lost."
            if ending and self._letting_go
            else "End the process with a checkpoint and leave the run: another one can be started."
        )
        self.ui.runPathEdit.enabled = not active
        for choice in (self.ui.casesGroupBox, self.ui.recipeGroupBox):  # after a restart they are not this run's
            choice.setVisible(not active)
        self.ui.curvesButton.enabled = run is not None and bool(run.curves)
        self.ui.useModelButton.enabled = run is not None and run.model is not None

    def _lacking(self) -> str:
        """Why no training can be started now, or an empty text."""
        run = self.run
        if run is not None and run.active:
            return "A training is under way in this folder."
        if run is not None and (run.resumable or run.model is not None):
            return "The folder holds a run: resume it, or choose a new folder."
        lacking = self.cases.lacking or self.recipe.lacking
        return lacking or ("" if self.run_path else "Choose a folder for the run.")


def standing_html(run: TrainingRun) -> str:
    """Return how a run stands that no process works in."""
    if run.state == "failed" and run.error is not None:
        more = f"<br>It stands at step {run.step}. Resume goes on from its last checkpoint." if run.resumable else ""
        return error_html(run.error) + more
    if run.state == "done":
        return html.escape(_finished(run.result or {}))
    if run.state == "paused":
        total = f" of {run.progress['total']:.10g}" if run.progress and run.step else ""
        return f"Paused at step {run.step}{total}. Resume goes on from its last checkpoint, also after a restart."
    return "Nothing has been trained in this folder yet."


def training_text(event: Mapping[str, Any], memory_mb: float | None) -> str:
    """Return where a training stands: epoch, step, time left, the most memory that it has held."""
    words = [str(event.get("message") or ""), f"step {event['done']:.10g} of {event['total']:.10g}"]
    if event.get("eta_s") is not None:
        words.append(f"{duration(event['eta_s'])} left")
    if memory_mb is not None:
        words.append(f"memory {size_text(memory_mb)}")
    text = ", ".join(filter(None, words))
    return text[0].upper() + text[1:]


def _finished(result: dict[str, Any]) -> str:
    text = f"Finished after {result.get('steps', '?')} steps."
    if result.get("best_mae_hu") is None:
        return text
    return f"{text} Best in validation: {result['best_mae_hu']:.1f} HU, at step {result.get('best_step')}."
