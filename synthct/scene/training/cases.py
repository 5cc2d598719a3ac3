"""The cases of a training: found in a folder, listed in a manifest or picked in the scene, checked, shown, chosen.

A child process finds and checks them (``synthct cohort``); this widget shows what it says and takes the user's choice.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.exchange import job_error
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.pairs import KINDS, PairKind, add_pair
from synthct.scene.path_edits import remember
from synthct.scene.progress import show_progress
from synthct.scene.session import Session
from synthct.whole_file import write_whole

FOLDER, MANIFEST, SCENE = range(3)
"""Where cases come from: entries of the combo box."""
LEFT_OUT = "left out by the user"
_COLUMNS = ("Use", "{input} and CT", "Check")
_COLOURS = {"ok": "#1e8449", "warning": "#b9770e", "error": "#c0392b"}
_ROW, _MOST_ROWS = 60, 4
"""Pixels of a row, as in the .ui file, and rows that are seen without scrolling."""
_BUTTONS = ("Find cases", "Check cases", "Add pair")


class TrainingCases:
    """A chooser for the cases of a training with a table of their checks.

    Parameters
    ----------
    layout
        ``QVBoxLayout`` that the widget is put into.
    session
        Where the child process writes manifest and pictures.
    task
        What the cases are for, ``mr-to-ct`` or ``label-to-ct``.
    changed
        Called without arguments when other cases are chosen.

    Attributes
    ----------
    manifest
        The checked manifest, or None before there is one.
    """

    def __init__(self, layout: qt.QVBoxLayout, session: Session, task: str, changed: Callable[[], None]) -> None:
        self.manifest: Path | None = None
        self._task = task
        self._kind = KINDS[task]
        self._session = session
        self._changed = changed
        self._following = Following(self._on_end, self._on_look)
        self._filling = False
        self._usable: list[bool] = []
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("cases.ui")))
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        layout.addWidget(self.widget)
        folders = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.NoDotAndDotDot
        self.ui.folderPathEdit.filters = folders
        self.ui.pairsPathEdit.filters = folders
        self.ui.manifestPathEdit.filters = ctk.ctkPathLineEdit.Files
        self.ui.manifestPathEdit.nameFilters = ["Lists of cases (*.json)"]
        if task != "mr-to-ct":
            self._show_kind(self._kind)
        self.ui.sourceComboBox.connect("currentIndexChanged(int)", self._on_source)
        self.ui.findButton.connect("clicked(bool)", self._on_button)
        self.ui.casesTable.connect("cellChanged(int,int)", self._on_cell)
        self._show_source()

    @property
    def source(self) -> int:
        """`FOLDER`, `MANIFEST` or `SCENE`."""
        return int(self.ui.sourceComboBox.currentIndex)

    @property
    def left_out(self) -> list[str]:
        """Ids of the cases that can be used and are not ticked."""
        boxes = zip(self._boxes(), self._usable, strict=True)
        return [box.text() for box, usable in boxes if usable and box.checkState() != qt.Qt.Checked]

    @property
    def lacking(self) -> str:
        """Why no training can start with these cases, or an empty text."""
        if self.manifest is None:
            return "Find the cases first."
        used = [item for item in self._boxes() if item.checkState() == qt.Qt.Checked]
        return "" if used else "Tick at least one case."

    def find(self) -> None:
        """Look for the cases of the chosen folder, or those of the chosen manifest, and check them.

        Raises
        ------
        UserError
            Nothing is chosen, or no process can be started.
        """
        edit = (self.ui.folderPathEdit, self.ui.manifestPathEdit, self.ui.pairsPathEdit)[self.source]
        path = Path(str(edit.currentPath).strip())
        if not str(edit.currentPath).strip() or not path.exists():
            what = ("folder with cases", "list of cases", "folder for the pairs")[self.source]
            raise UserError(
                f"The {what} {path} does not exist." if edit.currentPath else f"No {what} is chosen.",
                todo="Choose one by the button at the right of the line.",
            )
        remember(edit)
        self.check(path / "pairs.json" if self.source == SCENE else path)

    def check(self, path: Path) -> None:
        """Let a child process check the cases of a folder or manifest; the table is filled when it has."""
        self.close()
        self._show(None)
        folder = self._session.new_folder()
        options = {"output": folder / "cohort.json", "thumbnails": folder / "pictures", "task": self._task}
        self._following.follow(Job.start("cohort", options, folder / "check", words=[str(path.absolute())]))
        self._show_working()

    def write(self, path: Path) -> None:
        """Write the chosen cases as a manifest of their own; the files are named by their whole paths.

        Raises
        ------
        UserError
            The manifest cannot be written there.
        """
        assert self.manifest is not None
        content = json.loads(self.manifest.read_text(encoding="utf-8"))
        left_out = set(self.left_out)
        for case in content["cases"]:
            for name in (self._kind.key, "ct", "mask"):
                if name in case:
                    case[name] = str((self.manifest.parent / case[name]).resolve())
            if case["id"] in left_out:
                case["excluded"] = LEFT_OUT
        try:
            write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(
                f"The list of cases cannot be written to {path}.", f"{error.strerror}.", "Choose another run folder."
            ) from error

    def close(self) -> None:
        """End a check that is under way."""
        self._following.cancel()

    def _show_kind(self, kind: PairKind) -> None:
        """Say what the pairs are made of where it is no MR, and remember their folders apart."""
        name = kind.name[0].upper() + kind.name[1:]
        self.ui.sourceComboBox.toolTip = f"Where the pairs of {kind.name} and CT are that the network learns from."
        self.ui.folderPathEdit.toolTip = (
            "Folder with the cases: NIfTI, NRRD or MetaImage, "
            f"as p1_{kind.ending}.nii.gz beside p1_CT.nii.gz, or a folder per case."
        )
        self.ui.mrLabel.text = f"{name}:"
        self.ui.mrSelector.toolTip = f"{name} of the pair, on the grid of the CT."
        self.ui.ctSelector.toolTip = f"The CT in HU that the {kind.name} was made of."
        self.ui.mrSelector.nodeTypes = [kind.node_type]
        for edit in (self.ui.folderPathEdit, self.ui.manifestPathEdit, self.ui.pairsPathEdit):
            edit.currentPath = ""  # else the path of the other task would stay
            edit.settingKey = f"{edit.settingKey}/{self._task}"

    def _on_source(self, _index: int = 0) -> None:
        self._show_source()

    def _show_source(self) -> None:
        rows = {
            FOLDER: (self.ui.folderLabel, self.ui.folderPathEdit),
            MANIFEST: (self.ui.manifestLabel, self.ui.manifestPathEdit),
            SCENE: (
                *(self.ui.mrLabel, self.ui.mrSelector, self.ui.ctLabel, self.ui.ctSelector),
                *(self.ui.pairsLabel, self.ui.pairsPathEdit),
            ),
        }
        for source, widgets in rows.items():
            for widget in widgets:
                widget.setVisible(source == self.source)
        self._show_working()

    def _show_working(self) -> None:
        working = self._following.job is not None
        self.ui.findButton.text = "Cancel" if working else _BUTTONS[self.source]
        self.ui.sourceComboBox.enabled = not working
        self.ui.checkProgressBar.setVisible(working)

    def _on_button(self, _clicked: bool = False) -> None:
        if self._following.job is not None:
            self.close()
            self.ui.casesLabel.text = "Cancelled."
            self._show_working()
            return
        try:
            if not packages.ensure("Training"):
                self.ui.casesLabel.text = "Nothing was installed, nothing was looked for."
                return
            if self.source == SCENE:
                add_pair(
                    self.ui.mrSelector.currentNode(),
                    self.ui.ctSelector.currentNode(),
                    str(self.ui.pairsPathEdit.currentPath).strip(),
                    self._kind,
                )
            self.find()
        except UserError as error:
            self.ui.casesLabel.text = error_html(error)
            slicer.util.errorDisplay(str(error), windowTitle="Training")

    def _on_look(self, job: Job) -> None:
        show_progress(self.ui.checkProgressBar, self.ui.casesLabel, job.progress, "Looking for cases")

    def _on_end(self, job: Job) -> None:
        self._show_working()
        if job.result is not None:
            self.manifest = Path(job.result["output"])
            self._show(job.result)
        else:
            error = job_error(job.error, {})
            self.ui.casesLabel.text = error_html(error)
            slicer.util.errorDisplay(str(error), windowTitle="Training")

    def _show(self, result: Mapping[str, Any] | None) -> None:
        """Fill the table with a check's result; None empties it."""
        table = self.ui.casesTable
        checks = result["checks"] if result is not None else []
        if result is None:
            self.manifest = None
        self._filling = True
        self._usable = [check["level"] != "error" for check in checks]
        table.clear()
        table.setColumnCount(len(_COLUMNS))
        name = self._kind.name[0].upper() + self._kind.name[1:]
        table.setHorizontalHeaderLabels([column.format(input=name) for column in _COLUMNS])
        table.setRowCount(len(checks))
        for row, check in enumerate(checks):
            self._show_case(row, check)
        table.resizeColumnsToContents()
        table.setMinimumHeight(_ROW * min(len(checks), _MOST_ROWS) + _ROW // 2)
        table.setVisible(bool(checks))
        self._filling = False
        leftovers = result["leftovers"] if result is not None else []
        self.ui.casesLabel.toolTip = "<br>".join(html.escape(text) for text in leftovers)
        self._summarise(len(leftovers))
        self._changed()

    def _show_case(self, row: int, check: Mapping[str, Any]) -> None:
        table = self.ui.casesTable
        usable = self._usable[row]
        box = qt.QTableWidgetItem(check["id"])
        box.setFlags(qt.Qt.ItemIsUserCheckable | (qt.Qt.ItemIsEnabled if usable else 0))
        box.setCheckState(qt.Qt.Checked if usable else qt.Qt.Unchecked)
        picture = qt.QTableWidgetItem("")
        picture.setFlags(qt.Qt.ItemIsEnabled)
        if check["thumbnail"] is not None:
            picture.setIcon(qt.QIcon(check["thumbnail"]))
        words = qt.QTableWidgetItem(_finding(check))
        words.setFlags(qt.Qt.ItemIsEnabled)
        words.setForeground(qt.QBrush(qt.QColor(_COLOURS[check["level"]])))
        sentences = [f"{finding['file']}: {finding['what']} {finding['todo']}" for finding in check["findings"]]
        for column, item in enumerate((box, picture, words)):
            item.setToolTip("<br>".join(map(html.escape, sentences)) or "Nothing was found wrong.")
            table.setItem(row, column, item)

    def _summarise(self, leftovers: int = 0) -> None:
        boxes = self._boxes()
        used = sum(item.checkState() == qt.Qt.Checked for item in boxes)
        text = f"{used} of {len(boxes)} cases are used." if boxes else ""
        if leftovers:
            text += f" Without a partner or not understood: {leftovers} (see the tool tip)."
        self.ui.casesLabel.text = text

    def _on_cell(self, _row: int, column: int) -> None:
        if not self._filling and column == 0:
            self._summarise()
            self._changed()

    def _boxes(self) -> list[Any]:
        table = self.ui.casesTable
        return [table.item(row, 0) for row in range(table.rowCount)]


def _finding(check: Mapping[str, Any]) -> str:
    """Return the worst finding of a check and how many there are besides; ``ok`` where there is none."""
    findings = sorted(check["findings"], key=lambda finding: finding["level"] != "error")
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{check['level']}: {findings[0]['what']}{more}" if findings else "ok"
