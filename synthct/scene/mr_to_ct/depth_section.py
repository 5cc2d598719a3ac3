"""Water-equivalent depth of a CT and its synthetic CT along a beam (``synthct depth``), in Slicer's plot view."""

from __future__ import annotations

import csv
import html
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
import vtk
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene import packages
from synthct.scene.cards import error_html
from synthct.scene.exchange import hand_over, job_error, remove_images, renamed
from synthct.scene.following import Following
from synthct.scene.jobs import Job
from synthct.scene.mr_to_ct.table_choice import TableChoice
from synthct.scene.plots import add_line, column, show_chart
from synthct.scene.session import Session
from synthct.scene.studies import place_beside

_DEPTH = "depth behind the skin, mm"
_FILES = {"ct": "reference CT.nrrd", "synthetic": "synthetic CT.nrrd"}
_COLOURS = ((0.15, 0.15, 0.15), (0.84, 0.15, 0.16))


class DepthSection:
    """A button that plots the depths of the reference CT and of the synthetic CT at an angle.

    Parameters
    ----------
    angle_box
        ``QSpinBox``, degrees of the gantry.
    table_edit
        ``ctkPathLineEdit`` of a table from HU to density; empty: the shipped generic one.
    button, label
        ``QPushButton`` (Cancel while it works) and ``QLabel`` for what is said.
    session
        Where files are exchanged.
    parameters
        Returns the parameter node (``referenceVolume``, ``outputVolume``, ``densityTable``, ``depthChart``), or None.
    """

    def __init__(
        self,
        angle_box: qt.QSpinBox,
        table_edit: ctk.ctkPathLineEdit,
        button: qt.QPushButton,
        label: qt.QLabel,
        session: Session,
        parameters: Callable[[], Any],
    ) -> None:
        self.table = TableChoice(table_edit, parameters, "densityTable")
        self.angle_box, self.button, self.label = angle_box, button, label
        self._session, self._parameters = session, parameters
        self._nodes: list[slicer.vtkMRMLScalarVolumeNode] = []
        self._names: dict[Path, str] = {}
        self._following = Following(self._on_end)
        button.connect("clicked(bool)", self._on_button)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._following.job

    def update(self) -> None:
        """Show the table, whether there are two CTs to compare, and whether a job runs."""
        self.table.update()
        parameters = self._parameters()
        both = parameters is not None and parameters.referenceVolume is not None and _has_image(parameters.outputVolume)
        self.button.text = _("Plot depth") if self.job is None else _("Cancel")
        self.button.enabled = both or self.job is not None
        self.button.toolTip = _("Water-equivalent depth along the beam.") if both else _("Choose both CTs first.")
        self.label.setVisible(bool(self.label.text))

    def close(self) -> None:
        """End a job that runs; nothing of it comes into the scene."""
        job = self._following.cancel()
        if job is not None:
            remove_images(job.folder.parent)
        self._say("")

    def _on_button(self, _clicked: bool = False) -> None:
        if self.job is not None:
            self.close()
            return
        try:
            if packages.ensure("MR to CT"):
                self._following.follow(self._start())
                self._say(_("The rays are being followed …"))
        except UserError as error:
            self._say_error(error)

    def _start(self) -> Job:
        parameters = self._parameters()
        self._nodes = [parameters.referenceVolume, parameters.outputVolume]
        self._names = {}
        folder = self._session.new_folder()
        options: dict[str, Any] = {"table": Path(self.table.path).absolute() if self.table.path else None}
        for (key, name), node in zip(_FILES.items(), self._nodes, strict=True):
            options[key] = hand_over(node, folder / name)
            self._names[options[key]] = node.GetName()
        options |= {"angles": int(self.angle_box.value), "output": folder / "depth.csv"}
        return Job.start("depth", options, folder / "depth")

    def _on_end(self, job: Job) -> None:
        if job.state == "done" and job.result is not None:
            self._show(job)
        else:
            self._say_error(job_error(job.error, self._names))
        shutil.rmtree(job.folder.parent, ignore_errors=True)  # patients' images

    def _show(self, job: Job) -> None:
        """Draw the curves and say the numbers."""
        angle, found = next(iter((job.result or {})["angles"].items()))
        rows = list(csv.reader(Path(job.options["output"]).read_text(encoding="utf-8").splitlines()))
        names = [node.GetName() for node in self._nodes]
        curves = [[float(value) for value in column] for column in zip(*rows[1:], strict=True)][1:]
        parameters = self._parameters()
        if parameters is None:
            return
        chart = depth_chart(f"Water-equivalent depth at {angle}°", curves, names, parameters.depthChart)
        parameters.depthChart = chart
        if self._nodes[1].GetScene() is not None:
            place_beside(chart.GetNthPlotSeriesNode(0).GetTableNode(), self._nodes[1])
        show_chart(chart)
        lines = [depth_text(angle, found)]
        lines += [renamed(text, self._names) for text in job.warnings]
        if not self.table.path:
            lines.append(_("By a generic table of 120 kV: choose your scanner's calibration for planning studies."))
        self._say("<br>".join(html.escape(line) for line in lines))

    def _say_error(self, error: UserError) -> None:
        self._say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=_("Water-equivalent depth"))

    def _say(self, text: str) -> None:
        self.label.text = text
        self.update()


def depth_chart(
    title: str,
    curves: Sequence[Sequence[float]],
    names: Sequence[str],
    chart: slicer.vtkMRMLPlotChartNode | None = None,
) -> slicer.vtkMRMLPlotChartNode:
    """Draw water-equivalent depths against the depth behind the skin into a chart, in place of what it held.

    Parameters
    ----------
    curves
        The depth behind the skin, those of the CT and of the synthetic CT; all in mm.
    names
        Of the two, for the legend.
    chart
        None: a new one. Chart, lines and table are saved with the scene.
    """
    table = None
    if chart is None:
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Water-equivalent depth")
    for series in [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]:
        table = series.GetTableNode()
        slicer.mrmlScene.RemoveNode(series)
    if table is None:
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Water-equivalent depth")
    content = vtk.vtkTable()
    titles = [f"{kind}, water-equivalent mm" for kind in ("CT", "synthetic CT")]
    for heading, values in zip([_DEPTH, *titles], curves, strict=True):
        content.AddColumn(column(heading, values))
    table.SetAndObserveTable(content)
    chart.SetTitle(title)
    chart.SetXAxisTitle(_DEPTH)
    chart.SetYAxisTitle("water-equivalent depth, mm")
    chart.SetGridVisibility(True)
    for name, heading, colour in zip(names, titles, _COLOURS, strict=True):
        add_line(chart, table, name, (_DEPTH, heading), colour)
    return chart


def depth_text(angle: str, found: dict[str, Any]) -> str:
    """Return the numbers of one angle in words."""
    ct, synthetic = (value for key, value in found["central_ray"].items() if key.endswith("water-equivalent_mm"))
    text = f"Gantry {angle}°, ray through the centre of the body: {ct:.1f} mm of water in the CT, {synthetic:.1f} mm in"
    rays = found["all_rays"]
    if rays["mean_mm"] is None:
        return f"{text} the synthetic CT."
    return (
        f"{text} the synthetic CT. Synthetic CT − CT over {rays['rays']} parallel rays: "
        f"mean {rays['mean_mm']:+.1f} mm, SD {rays['sd_mm']:.1f} mm, largest {rays['max_abs_mm']:.1f} mm."
    )


def _has_image(node: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    return node is not None and node.GetImageData() is not None
