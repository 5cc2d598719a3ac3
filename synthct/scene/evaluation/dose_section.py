"""The section "Dose" of SynthEval: two doses compared by ``synthct dose``: gamma, histograms, difference map."""

from __future__ import annotations

import csv
import html
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ctk
import numpy as np
import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.display import show_over
from synthct.scene.evaluation.charts import Line, draw
from synthct.scene.evaluation.error_maps import NOT_JUDGED, show_as_difference, show_as_gamma
from synthct.scene.evaluation.regions import hand_over_regions
from synthct.scene.evaluation.tables import TableView, fill_table, rows_of, short
from synthct.scene.exchange import hand_over, remove_images
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.mr_to_ct.dicom_export import new_path_in
from synthct.scene.nodes import node_from_image, update_node_from_image
from synthct.scene.path_parameters import PathParameters
from synthct.scene.plots import show_chart
from synthct.scene.session import Session
from synthct.volumes.geometry import image_from_array

_TITLE = "Dose"
_DOSE = "dose, Gy"
_METRICS = ("d98_gy", "d95_gy", "d50_gy", "d2_gy", "mean_gy")
CRITERIA = {"1 %/1 mm": (1.0, 1.0), "2 %/2 mm": (2.0, 2.0), "3 %/3 mm": (3.0, 3.0)}
"""Percent and mm of gamma, by what the user chooses the map by."""
_COLOURS = (
    (0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74),
    (0.55, 0.34, 0.29), (0.89, 0.47, 0.76), (0.5, 0.5, 0.5),
)  # fmt: skip


class EvaluationDoseSection:
    """Everything inside the collapsible button "Dose" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where files are exchanged.
    parameters
        Returns the parameter node (``dose...``), or None.
    """

    def __init__(self, button: ctk.ctkCollapsibleButton, session: Session, parameters: Callable[[], Any]) -> None:
        self._session, self._parameters = session, parameters
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("dose_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        edits = {
            "doseReferenceFile": self.ui.referencePathEdit,
            "doseEvaluatedFile": self.ui.evaluatedPathEdit,
            "doseStructuresFile": self.ui.structuresPathEdit,
        }
        self._paths = PathParameters(edits, (), parameters, self.update)
        for edit in (self.ui.referencePathEdit, self.ui.evaluatedPathEdit, self.ui.structuresPathEdit):
            edit.nameFilters = ["DICOM (*.dcm)", _("All files (*)")]
        self._gamma = TableView(self.ui.gammaTable)
        self._structures = TableView(self.ui.structuresTable)
        widgets = (self.ui.compareButton, self.ui.progressBar, self.ui.statusLabel)
        self._line = JobLine(*widgets, _TITLE, self._start, self._take, self.update, "Comparing")
        self.ui.showDifferenceButton.connect("clicked(bool)", self._on_difference)
        self.ui.showGammaButton.connect("clicked(bool)", self._on_gamma)
        self.ui.showCurvesButton.connect("clicked(bool)", self._on_curves)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._line.job

    def update(self) -> None:
        """Show what was found, and what can be pressed."""
        self._paths.update()
        node, ui = self._parameters(), self.ui
        reference = node is not None and (node.doseReference or self._paths["doseReferenceFile"])
        evaluated = node is not None and (node.doseEvaluated or self._paths["doseEvaluatedFile"])
        lacking = "" if reference and evaluated else _("Choose both doses.")
        what = _("Gamma, differences and dose-volume histograms.")
        self._line.show_button(_("Compare the doses"), lacking, what)
        ui.referencePathEdit.setVisible(node is None or node.doseReference is None)
        ui.evaluatedPathEdit.setVisible(node is None or node.doseEvaluated is None)
        ui.structuresPathEdit.setVisible(node is None or node.doseStructures is None)
        found = node is not None and node.doseGamma is not None
        for widget in (ui.resultsTabs, ui.showDifferenceButton, ui.showGammaButton, ui.showCurvesButton):
            widget.setVisible(found)
        ui.showGammaButton.enabled = found and node.doseGammaMap is not None
        ui.showDifferenceButton.enabled = found and node.doseDifference is not None
        ui.showCurvesButton.enabled = found and node.doseChart is not None
        self._show_tables(node)

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._line.look()

    def scene_closing(self) -> None:
        """End the job: nothing of it comes into the scene that follows."""
        self._line.drop()

    def close(self) -> None:
        """End a job that runs."""
        self._line.drop()

    def _show_tables(self, node: Any) -> None:
        gamma = rows_of(node.doseGamma) if node is not None else []
        columns = ("criterion", "passing, %", "mean gamma", "voxels")
        shown = [[row[columns[0]], *(short(row[name]) for name in columns[1:])] for row in gamma]
        self._gamma.show(["Criterion", "Passing, %", "Mean", "Voxels"], shown)
        rows = rows_of(node.doseMetrics) if node is not None else []
        names = [name[:-3].upper() if name != "mean_gy" else "Mean" for name in _METRICS]
        shown = [
            [
                row["structure"],
                short(row["volume_ml"]),
                *(short(row[f"{name} difference"], "{:+.2f}") for name in _METRICS),
            ]
            for row in rows
        ]
        self._structures.show(["Structure", "ml", *(f"Δ{name}, Gy" for name in names)], shown)
        self.ui.resultsTabs.setTabEnabled(1, bool(rows))

    def _start(self) -> None:
        folder = self._session.new_folder()
        names: dict[Path, str] = {}
        try:
            with slicer.util.WaitCursor():
                job = self._begin(self._parameters(), folder, names)
        except UserError:
            remove_images(folder)
            raise
        self._line.follow(job, names, folder)

    def _begin(self, parameters: Any, folder: Path, names: dict[Path, str]) -> Job:
        options: dict[str, Any] = {}
        for key, node, file in (
            ("reference", parameters.doseReference, self._paths["doseReferenceFile"]),
            ("evaluated", parameters.doseEvaluated, self._paths["doseEvaluatedFile"]),
        ):
            if node is None:
                options[key] = Path(file).absolute()
                continue
            options[key] = hand_over(node, new_path_in(folder, f"{key} {node.GetName()}.nrrd"))
            names[options[key]] = node.GetName()
            options["unit"] = parameters.doseUnit.lower()
        if parameters.doseReference is not None and parameters.doseReference is parameters.doseEvaluated:
            raise UserError(f"Both doses are {parameters.doseReference.GetName()}.", todo="Choose the other dose.")
        if parameters.doseStructures is not None:
            options["structures"] = folder / "structures.seg.nrrd"
            hand_over_regions(parameters.doseStructures, options["structures"])
            names[options["structures"]] = parameters.doseStructures.GetName()
        elif self._paths["doseStructuresFile"]:
            options["structures"] = Path(self._paths["doseStructuresFile"]).absolute()
        options |= {
            "threshold": round(parameters.doseThreshold, 1),
            "local": parameters.doseLocal,
            "output": folder / "dose.json",
            "dvh": folder / "dvh.csv" if "structures" in options else None,
            "difference": folder / "difference.nrrd",
            "gamma_map": folder / "gamma.nrrd",
        }
        first = CRITERIA[parameters.doseCriterion]  # the map is of the first
        ordered = [first, *(each for each in CRITERIA.values() if each != first)]
        words = [word for pair in ordered for word in ("--criterion", *(f"{value:g}" for value in pair))]
        return Job.start("dose", options, folder / "job", words=words)

    def _take(self, job: Job) -> str:
        """Put what was found into the scene, and say the differences."""
        parameters = self._parameters()
        if parameters is None:
            return ""
        content = json.loads(Path(job.options["output"]).read_text(encoding="utf-8"))
        node = parameters.doseEvaluated
        name = node.GetName() if node is not None else Path(job.options["evaluated"]).stem
        criterion = next(iter(content["gamma"]))
        gamma = dict(sorted(content["gamma"].items()))
        columns: dict[str, Any] = {"criterion": list(gamma)}
        for title, key in (("passing, %", "pass_percent"), ("mean gamma", "mean"), ("voxels", "voxels")):
            columns[title] = [_number(found[key]) for found in gamma.values()]
        parameters.doseGamma = fill_table(parameters.doseGamma, f"{name} gamma", columns)
        self._take_structures(job, content["structures"], parameters, name)
        image = sitk.ReadImage(str(job.options["difference"]))
        if parameters.doseDifference is None:
            parameters.doseDifference = node_from_image(image, f"{name} dose difference")
        else:
            update_node_from_image(parameters.doseDifference, image)
        self._take_gamma(job, criterion, parameters, name)
        most = max(abs(content["largest_difference_gy"]), 0.01)
        show_as_difference(parameters.doseDifference, most, "evaluated − reference, Gy")
        kind = content["gamma_kind"]
        text = _(
            "Above {threshold:g} % of {highest:.4g} Gy: mean difference {mean:+.3g} Gy ({percent:+.2f} %), largest "
            "{largest:+.3g} Gy; gamma {kind}."
        ).format(
            threshold=content["threshold_percent"],
            highest=content["normalisation_gy"],
            mean=content["mean_difference_gy"],
            percent=content["mean_difference_percent"],
            largest=content["largest_difference_gy"],
            kind=kind,
        )
        parameters.doseGamma.SetDescription(text)
        return html.escape(text)

    def _take_gamma(self, job: Job, criterion: str, parameters: Any, name: str) -> None:
        image = sitk.ReadImage(str(job.options["gamma_map"]))
        judged = sitk.GetArrayFromImage(image)
        judged[~np.isfinite(judged)] = NOT_JUDGED
        image = image_from_array(judged, image)
        if parameters.doseGammaMap is None:
            parameters.doseGammaMap = node_from_image(image, f"{name} gamma map")
        else:
            update_node_from_image(parameters.doseGammaMap, image)
        parameters.doseGammaMap.SetDescription(f"Gamma {criterion}; {NOT_JUDGED:g}: the dose is too low to be judged.")
        show_as_gamma(parameters.doseGammaMap, criterion)

    def _take_structures(self, job: Job, found: Mapping[str, Any], parameters: Any, name: str) -> None:
        if not found:
            parameters.doseMetrics = parameters.doseChart = None
            return
        columns: dict[str, Any] = {"structure": list(found), "volume_ml": [row["volume_ml"] for row in found.values()]}
        for metric in _METRICS:
            for which in ("reference", "evaluated", "difference"):
                columns[f"{metric} {which}"] = [_number(row[metric][which]) for row in found.values()]
        parameters.doseMetrics = fill_table(parameters.doseMetrics, f"{name} structures", columns)
        rows = list(csv.reader(Path(job.options["dvh"]).read_text(encoding="utf-8").splitlines()))
        curves: dict[str, Any] = {
            title: [float(value) for value in values]
            for title, values in zip([_DOSE, *rows[0][1:]], zip(*rows[1:], strict=True), strict=True)
        }
        lines = []
        for number, structure in enumerate(found):
            colour = _COLOURS[number % len(_COLOURS)]
            lines.append(Line(f"{structure} reference", colour, structure))
            lines.append(Line(f"{structure} evaluated", colour, f"{structure}, evaluated", dashed=True))
        parameters.doseChart = draw(
            parameters.doseChart, f"{name}: dose-volume histograms", curves, lines, (_DOSE, "volume, %")
        )

    def _on_difference(self, _clicked: bool = False) -> None:
        self._show_map(self._parameters().doseDifference)

    def _on_gamma(self, _clicked: bool = False) -> None:
        self._show_map(self._parameters().doseGammaMap)

    def _show_map(self, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        show_over(volume, self._parameters().doseReference, 0.8)
        if slicer.app.layoutManager() is not None:
            slicer.util.resetSliceViews()

    def _on_curves(self, _clicked: bool = False) -> None:
        show_chart(self._parameters().doseChart)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
