"""The section "Sets of images" of SynthEval: does the distribution match? By ``synthct distribution``."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import warning_lines
from synthct.scene.display import set_ct_window
from synthct.scene.evaluation.embedding_chart import draw_points, points_of, take_points
from synthct.scene.evaluation.report import open_file
from synthct.scene.evaluation.tables import TableView, fill_table, rows_of, short
from synthct.scene.evaluation.views import CompareViews
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.nodes import node_from_image, update_node_from_image
from synthct.scene.path_parameters import PathParameters
from synthct.scene.plots import show_chart
from synthct.scene.session import Session
from synthct.volumes.read import read_image

STATISTICS, MODEL, WEIGHTS = "statistics", "model", "weights"
"""What looks at the images, as the parameter ``distributionKind`` says it."""
KINDS = {
    STATISTICS: "simple statistics, no network",
    MODEL: "a network of your own",
    WEIGHTS: "weights of a ResNet, as a file",
}
RESNETS = ["resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200"]
"""What a file of weights can be of."""
NUMBERS, PAGE, PLACES = "distribution.json", "report.html", "places.csv"
"""In the folder of the results."""
_SCORES = {
    "fid": "Fréchet distance",
    "kid": "Kernel distance",
    "mmd": "MMD",
    "precision": "Precision",
    "recall": "Recall",
    "inception_score": "IS, synthetic",
    "inception_score_real": "IS, real",
}
_REPORT, _WORDS = "SyntheticCT.Page", "SyntheticCT.Words"
"""Attributes of the table of numbers: the page of the comparison; its sentences and its notes."""


class EvaluationDistributionSection:
    """Everything inside the collapsible button "Sets of images" of SynthEval.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where jobs run.
    views
        The compare layout of the module: it hears which point is clicked.
    parameters
        Returns the parameter node (``distribution...``), or None.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        views: CompareViews,
        parameters: Callable[[], Any],
    ) -> None:
        self._session, self._views, self._parameters = session, views, parameters
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("distribution_section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        for kind, text in KINDS.items():
            self.ui.kindComboBox.addItem(text, kind)
        edits = {
            "distributionReal": self.ui.realPathEdit,
            "distributionSynthetic": self.ui.syntheticPathEdit,
            "distributionModel": self.ui.modelPathEdit,
            "distributionWeights": self.ui.weightsPathEdit,
            "distributionOutput": self.ui.outputPathEdit,
        }
        folders = tuple(name for name in edits if name != "distributionWeights")
        self._paths = PathParameters(edits, folders, parameters, self.update)
        self.ui.weightsPathEdit.nameFilters = ["safetensors (*.safetensors)"]
        self._scores = TableView(self.ui.scoresTable)
        self._images = TableView(self.ui.imagesTable, self._on_image)
        widgets = (self.ui.compareButton, self.ui.progressBar, self.ui.statusLabel)
        kept = "What was seen of the images stays in the folder: next time goes on."
        self._line = JobLine(*widgets, "Sets of images", self._start, self._take, self.update, kept=kept)
        views.point_listeners.append(self._on_point)
        self.ui.kindComboBox.connect("activated(int)", self._on_kind)
        self.ui.showPlotButton.connect("clicked(bool)", self._on_plot)
        self.ui.openReportButton.connect("clicked(bool)", self._on_report)
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._line.job

    def update(self) -> None:
        """Show what was found, and what can be pressed."""
        self._paths.update()
        node, ui = self._parameters(), self.ui
        kind = node.distributionKind if node is not None else STATISTICS
        ui.kindComboBox.setCurrentIndex(max(ui.kindComboBox.findData(kind), 0))
        for widget in (ui.modelPathEdit, ui.modelPathEditLabel):
            widget.setVisible(kind == MODEL)
        for widget in (ui.weightsPathEdit, ui.weightsPathEditLabel, ui.networkComboBox, ui.networkComboBoxLabel):
            widget.setVisible(kind == WEIGHTS)
        what = _("Look at every image and compare both sets.")
        self._line.show_button(_("Compare the sets"), self._lacking(kind), what)
        scores = node.distributionScores if node is not None else None
        points = node.distributionPoints if node is not None else None
        self._show_scores(scores)
        self._show_images(points)
        for widget in (ui.resultsTabs, ui.showPlotButton, ui.openReportButton):
            widget.setVisible(scores is not None)
        ui.showPlotButton.enabled = node is not None and node.distributionChart is not None
        ui.resultsTabs.setTabEnabled(1, points is not None)

    def poll(self) -> None:
        """See how far the job is; in a script Slicer's timers may never fire."""
        self._line.look()

    def scene_closing(self) -> None:
        """End the job: nothing of it comes into the scene that follows."""
        self._line.drop()

    def close(self) -> None:
        """End a job that runs."""
        self._line.drop()

    def _lacking(self, kind: str) -> str:
        if not (self._parameters() and self._paths["distributionReal"] and self._paths["distributionSynthetic"]):
            return _("Choose a folder of real and one of synthetic images.")
        if kind == MODEL and not self._paths["distributionModel"]:
            return _("Choose the network that looks at the images.")
        if kind == WEIGHTS and not self._paths["distributionWeights"]:
            return _("Choose the file of the weights.")
        return "" if self._paths["distributionOutput"] else _("Choose a folder for the results.")

    def _show_scores(self, table: slicer.vtkMRMLTableNode | None) -> None:
        rows = rows_of(table)
        shown = [
            [
                _SCORES[row["score"]],
                short(row["value"]),
                _between(row),
                short(row["at equal numbers"]),
            ]
            for row in rows
        ]
        heads = [
            "",
            _("Of both sets as they are."),
            _("What two halves of the real set give, mean ± SD: the best that can be reached."),
            _("Synthetic against real with as many images as in such a half."),
        ]
        titles = ["", _("Value"), _("Real/real"), _("Synth./real")]
        self._scores.show(titles, shown, [row["definition"] for row in rows], heads)
        said = json.loads((table.GetAttribute(_WORDS) if table is not None else None) or '{"words": [], "notes": []}')
        lines = [html.escape(line) for line in said["words"]]
        lines += [line for note in said["notes"] for line in warning_lines([note])]
        self.ui.wordsLabel.text = "".join(f"<p style='margin:0 0 4px 0'>{line}</p>" for line in lines)
        self.ui.wordsLabel.setVisible(bool(lines))

    def _show_images(self, table: slicer.vtkMRMLTableNode | None) -> None:
        points = points_of(table)
        shown = [[point.case, point.kind] for point in points]
        self._images.show([_("Image"), _("From")], shown, [str(point.image) for point in points])

    def _on_kind(self, _index: int = 0) -> None:
        node = self._parameters()
        if node is not None:
            node.distributionKind = str(self.ui.kindComboBox.currentData)
            self.update()

    def _start(self) -> None:
        node, output = self._parameters(), Path(self._paths["distributionOutput"]).absolute()
        kind = node.distributionKind
        features = {
            STATISTICS: STATISTICS,
            MODEL: Path(self._paths["distributionModel"]).absolute(),
            WEIGHTS: Path(self._paths["distributionWeights"]).absolute(),
        }[kind]
        options: dict[str, Any] = {
            "real": Path(self._paths["distributionReal"]).absolute(),
            "synthetic": Path(self._paths["distributionSynthetic"]).absolute(),
            "features": features,
            "network": node.distributionNetwork if kind == WEIGHTS else None,
            "by": node.distributionBy,
            "output": output / NUMBERS,
            "report": output / PAGE,
            "places": output / PLACES,
        }
        if any(options[key].exists() for key in ("output", "report", "places")):
            question = _("{folder} holds a comparison. Replace it?").format(folder=output)
            if not slicer.util.confirmOkCancelDisplay(question, _("Sets of images")):
                return
            options["overwrite"] = True
        self._line.follow(Job.start("distribution", options, self._session.new_folder()))

    def _take(self, job: Job) -> str:
        job.warnings.clear()  # they are the notes of the result, which stay with the numbers
        parameters = self._parameters()
        if parameters is None:
            return ""
        options = job.options
        content = json.loads(Path(options["output"]).read_text(encoding="utf-8"))
        name = f"{Path(options['synthetic']).name} against {Path(options['real']).name}"
        points = take_points(Path(options["places"]), parameters.distributionPoints, f"{name}: images")
        title = f"Features of {content['by']}: {content['features']['name']}"
        parameters.distributionPoints = points
        parameters.distributionChart = draw_points(parameters.distributionChart, points, title)
        table = fill_table(parameters.distributionScores, f"{name}: numbers", _columns(content))
        table.SetAttribute(_REPORT, str(options["report"]))
        words = [*content["words"], content["features"]["definition"], content["embedding"]]
        table.SetAttribute(_WORDS, json.dumps({"words": words, "notes": content["notes"]}))
        parameters.distributionScores = table
        counts = [content[which]["images"] for which in ("real", "synthetic")]
        return _("{real} real and {synthetic} synthetic images.").format(real=counts[0], synthetic=counts[1])

    def _on_plot(self, _clicked: bool = False) -> None:
        show_chart(self._parameters().distributionChart)
        self._views.listen()

    def _on_point(self, series: slicer.vtkMRMLPlotSeriesNode, row: int) -> None:
        node = self._parameters()
        points = node.distributionPoints if node is not None else None
        if points is not None and series.GetTableNode() is points:
            self._on_image(row)

    def _on_image(self, row: int) -> None:
        """Show an image in place of the one before."""
        parameters = self._parameters()
        point = points_of(parameters.distributionPoints)[row]
        try:
            with slicer.util.WaitCursor():
                image = read_image(point.image, point.series, single_slice=True)
        except UserError as error:
            self._line.say_error(error)
            return
        name = f"{point.case} ({point.kind})"
        volume = parameters.distributionImage
        if volume is None:
            volume = node_from_image(image, name)
            set_ct_window(volume, "Lung")
            parameters.distributionImage = volume
        else:
            update_node_from_image(volume, image)
        volume.SetName(name)
        self._views.back()
        slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, fit=True)
        self._line.say(_("<b>{name}</b> is shown.").format(name=html.escape(name)))

    def _on_report(self, _clicked: bool = False) -> None:
        try:
            open_file(Path(self._parameters().distributionScores.GetAttribute(_REPORT) or ""))
        except UserError as error:
            self._line.say_error(error)


def _columns(content: dict[str, Any]) -> dict[str, Any]:
    """Columns of the table of numbers: value, what halves of the real set give, and the definition."""
    found, meant = content["scores"], content["definitions"]
    equal = content["at_equal_numbers"] or {}
    names = [name for name in _SCORES if name in found]

    def at_equal(which: str, part: str) -> list[float]:
        return [_number((equal.get(which, {}).get(name) or {}).get(part)) for name in names]

    return {
        "score": names,
        "value": [_number(found[name]) for name in names],
        "real against real": at_equal("real_against_real", "mean"),
        "its SD": at_equal("real_against_real", "sd"),
        "at equal numbers": at_equal("synthetic_against_real", "mean"),
        "definition": [meant.get(name.removesuffix("_real"), "") for name in names],
    }


def _between(row: dict[str, str]) -> str:
    mean, spread = short(row["real against real"], "{:.3g}"), short(row["its SD"], "{:.2g}")
    return mean if mean == "–" else f"{mean} ± {spread}"


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
