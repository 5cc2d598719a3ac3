"""A synthetic CT of the scene examined without a CT (``synthct qa``): findings in sentences, a report to keep."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.exchange import hand_over, job_error, remove_images
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.mr_to_ct.dicom_export import new_path_in
from synthct.scene.session import Session
from synthct.scene.studies import INPUT_REFERENCE, MODEL_ATTRIBUTE

_COLOURS = {"warning": "#c0392b", "unchecked": "#b9770e", "note": "#2e6da4"}
_WORDS = {"warning": "warning", "unchecked": "not checked", "note": "note"}


@dataclass(frozen=True)
class Result:
    """A synthetic CT with what it was made from, to be examined; ``lacking`` says why it cannot be, where it cannot."""

    mr: slicer.vtkMRMLScalarVolumeNode | None = None
    synthetic: slicer.vtkMRMLScalarVolumeNode | None = None
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None = None
    model: str = ""
    lacking: str = ""

    @classmethod
    def from_parameters(cls, parameters: Any, card: Mapping[str, Any] | None) -> Result:
        """Read the parameter node of MRtoCT (None: nothing is chosen) beside the card of the chosen model."""
        synthetic = parameters.outputVolume if parameters is not None else None
        if synthetic is None or synthetic.GetImageData() is None:
            return cls(lacking=_("There is no synthetic CT yet."))
        made_by = synthetic.GetAttribute(MODEL_ATTRIBUTE)
        mr = synthetic.GetNodeReference(INPUT_REFERENCE)
        if not made_by or mr is None:
            return cls(lacking=_("The MR that this volume was made from is not in the scene."))
        if card is None or card["name"] != made_by:
            return cls(lacking=_("Choose the model that made it: {name}.").format(name=made_by))
        return cls(mr, synthetic, parameters.uncertaintyVolume, parameters.model)


def findings_html(result: Mapping[str, Any]) -> str:
    """Return the findings of ``synthct qa``: what needs a look first and in full, what is good in one line."""
    findings: Sequence[Mapping[str, Any]] = result["findings"]
    warnings = sum(finding["severity"] == "warning" for finding in findings)
    unchecked = sum(finding["severity"] == "unchecked" for finding in findings)
    counted = [f"{warnings} warning{'s' * (warnings != 1)}"] if warnings else []
    counted += [f"{unchecked} not checked"] if unchecked else []
    lines = [f"<b>Check without a CT: {', '.join(counted) or 'nothing found'}.</b>"]
    for severity, colour in _COLOURS.items():
        lines += [
            f"<span style='color:{colour}'>{_WORDS[severity].capitalize()}, {html.escape(finding['topic'])}:</span> "
            f"{html.escape(finding['sentence'])}"
            for finding in findings
            if finding["severity"] == severity
        ]
    good = dict.fromkeys(html.escape(finding["topic"]) for finding in findings if finding["severity"] == "good")
    if good:
        lines.append(f"<span style='color:#1e8449'>Good:</span> {', '.join(good)}.")
    return "<br>".join(lines)


class ResultCheck:
    """A button that examines the result, a label with the findings, and a button that saves the report.

    Parameters
    ----------
    button, report_button, label
        ``QPushButton`` (Cancel while it works), ``QPushButton`` and ``QLabel``.
    session
        Where files are exchanged and the report waits.
    chosen
        Returns what to examine.
    """

    def __init__(
        self,
        button: qt.QPushButton,
        report_button: qt.QPushButton,
        label: qt.QLabel,
        session: Session,
        chosen: Callable[[], Result],
    ) -> None:
        self.button, self.report_button, self.label = button, report_button, label
        self.report: Path | None = None
        self._session, self._chosen = session, chosen
        self._names: dict[Path, str] = {}
        self._following = Following(self._on_end)
        button.connect("clicked(bool)", self._on_button)
        report_button.connect("clicked(bool)", self._on_report)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._following.job

    def start(self) -> None:
        """Examine the chosen result; what cannot be examined is said by the label."""
        self.forget()
        result = self._chosen()
        if result.lacking:
            self.label.text = html.escape(result.lacking)
            return
        try:
            self._following.follow(self._start(result))
        except UserError as error:
            self.label.text = error_html(error)
        else:
            self.label.text = _("The result is being checked without a CT …")
        self.update()

    def forget(self) -> None:
        """End an examination that is under way and take what was found off the window: another result is coming."""
        job = self._following.cancel()
        if job is not None:
            remove_images(job.folder.parent)
        self.report = None
        self.label.text = ""
        self.update()

    def update(self) -> None:
        """Show what can be pressed."""
        lacking = self._chosen().lacking if self.job is None else ""
        self.button.text = _("Check the result") if self.job is None else _("Cancel check")
        self.button.enabled = not lacking
        self.button.toolTip = lacking or _("Examine the synthetic CT where there is no CT: findings in sentences.")
        self.report_button.enabled = self.report is not None
        self.label.setVisible(bool(self.label.text))

    def _start(self, result: Result) -> Job:
        folder = self._session.new_folder()
        nodes = {"mr": result.mr, "synthetic": result.synthetic, "uncertainty": result.uncertainty}
        options: dict[str, Any] = {"model": Path(result.model).absolute()}
        self._names = {}
        for key, node in nodes.items():
            if node is None:
                continue
            options[key] = hand_over(node, new_path_in(folder, f"{node.GetName()}.nrrd"))  # the report names the files
            self._names[options[key]] = node.GetName()
        options["output"] = folder / "report.html"
        return Job.start("qa", options, folder / "check")

    def _on_button(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self.forget()
            self.label.text = _("Cancelled, the result was not checked.")
            self.update()
            return
        try:
            if packages.ensure("MR to CT"):
                self.start()
        except UserError as error:
            self.label.text = error_html(error)
            self.update()

    def _on_end(self, job: Job) -> None:
        remove_images(job.folder.parent)  # the report, which holds pictures of them, goes with the session
        if job.state == "done" and job.result is not None:
            self.report = Path(job.options["output"])
            self.label.text = findings_html(job.result)
        else:
            error = error_html(job_error(job.error, self._names))
            self.label.text = _("The result was not checked.") + "<br>" + error
        self.update()

    def _on_report(self, _clicked: bool = False) -> None:
        if self.report is None:
            return
        chosen = str(
            qt.QFileDialog.getSaveFileName(
                slicer.util.mainWindow(), _("Save the report"), "check.html", _("Web page (*.html)")
            )
        )
        if not chosen:
            return
        target = Path(chosen) if Path(chosen).suffix else Path(f"{chosen}.html")
        try:
            shutil.copyfile(self.report, target)
        except OSError as error:
            slicer.util.errorDisplay(f"{target} cannot be written. {error.strerror}.", windowTitle=_("Save the report"))
