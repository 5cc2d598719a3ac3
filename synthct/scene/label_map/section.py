"""The section "Label map" of a module: a CT, or another segmentation, as a label map of the classes of a table."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import error_html
from synthct.scene.display import set_ct_window
from synthct.scene.job_line import JobLine
from synthct.scene.jobs import Job
from synthct.scene.label_map.class_colours import set_outline, show_labels
from synthct.scene.label_map.class_table import ClassTableEditor
from synthct.scene.label_map.job import LabelRequest, check_output, finish, start
from synthct.scene.label_map.mapping_table import MappingTable
from synthct.scene.label_maps import label_names
from synthct.scene.session import Session


class LabelMapSection:
    """Everything inside the collapsible button "Label map".

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where files are exchanged.
    parameters
        Returns the parameter node (``ctVolume``, ``nodules``, ``segmentation``, ``classTable``, ``mapping``,
        ``labelMap``, ``outline``, ``labelOpacity``), or None.

    Attributes
    ----------
    ui
        Its widgets, to connect to the parameter node.
    """

    def __init__(self, button: ctk.ctkCollapsibleButton, session: Session, parameters: Callable[[], Any]) -> None:
        self._session, self._parameters = session, parameters
        self._owner: Any = None  # the parameter node of this scene, also while another module is shown
        self._request: LabelRequest | None = None
        self._shown = ""
        self._appearance: tuple[Any, ...] = ()
        self._listed: tuple[Any, ...] = ()
        self._labels: dict[int, str] = {}
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        button.layout().addWidget(self.widget)
        widgets = (self.ui.makeButton, self.ui.labelsProgressBar, self.ui.labelsStatusLabel)
        kept = "The scene is as it was."
        self._line = JobLine(*widgets, "Label map", self._start, self._take, self.update, kept=kept)
        self.classes: ClassTableEditor | None = None
        self.mapping = MappingTable(self.ui.mappingTable, self._on_mapping)
        self._make_editor()
        self.update()

    @property
    def job(self) -> Job | None:
        """What runs now, or None."""
        return self._line.job

    def close(self) -> None:
        """End a job that is under way; nothing of it comes into the scene."""
        self._line.drop()
        self._request = None

    def scene_closing(self) -> None:
        """Forget what belongs to the scene."""
        self.close()
        self._owner = None

    def update(self) -> None:
        """Show what the parameter node says, and what can be pressed."""
        node = self._parameters()
        self._owner = node or self._owner
        running = self.job is not None
        if node is not None and self.classes is not None and node.classTable != self._shown:
            self._shown = node.classTable
            self.classes.text = node.classTable
        segmentation = node.segmentation if node is not None else None
        self.ui.mappingTable.setVisible(segmentation is not None)
        if segmentation is not None:
            self._show_mapping(segmentation, node.mapping)
        if node is not None:
            self._show_labels(node)
        lacking = "" if running else self._lacking(node)
        self._line.show_button(_("Make the label map"), lacking, _("Make the label map; it is shown over the CT."))
        for part in (
            self.ui.ctSelector,
            self.ui.nodulesSelector,
            self.ui.segmentationSelector,
            self.ui.labelMapSelector,
            self.ui.classesButton,
        ):
            part.enabled = not running

    def _lacking(self, node: Any) -> str:
        if node is None or not (node.ctVolume or node.segmentation):
            return _("Choose a CT.")
        if self.classes is not None and self.classes.error is not None:
            return _("The table of classes has a mistake.")
        try:
            check_output(node.labelMap, node.segmentation, node.nodules)
        except UserError as error:
            return str(error)
        return ""

    def _make_editor(self) -> None:
        """Show the table of classes, as soon as there is what reads it: a fresh Slicer has no PyYAML."""
        if self.classes is not None:
            return
        if importlib.util.find_spec("yaml") is None:
            self.ui.classErrorLabel.text = _("The classes are shown once the missing Python packages are installed.")
            return
        self.classes = ClassTableEditor(
            self.ui.classesComboBox,
            self.ui.classTable,
            self.ui.classErrorLabel,
            self.ui.upButton,
            self.ui.downButton,
            self.ui.addClassButton,
            self.ui.removeClassButton,
            self.ui.loadClassesButton,
            self.ui.saveClassesButton,
            self._on_classes,
        )

    def _show_mapping(self, segmentation: slicer.vtkMRMLNode, text: str) -> None:
        """List the labels of what the label map is made of, once for every change of it."""
        table = self.classes.table if self.classes is not None and self.classes.error is None else None
        data = segmentation.GetImageData() if segmentation.IsA("vtkMRMLVolumeNode") else segmentation.GetSegmentation()
        listed = (segmentation.GetID(), segmentation.GetMTime(), data.GetMTime() if data is not None else 0)
        if listed != self._listed:
            self._listed, self._labels = listed, {}
            try:
                self._labels = label_names(segmentation)
            except UserError as error:
                self._line.say(error_html(error))
        self.mapping.show(self._labels, table, text)

    def _show_labels(self, node: Any) -> None:
        """Show the chosen label map where no view does yet, and as the user wants to see it."""
        labels = node.labelMap
        if labels is None or labels.GetImageData() is None:
            return
        appearance = (labels.GetID(), node.outline, node.labelOpacity)
        if appearance == self._appearance:
            return
        another = self._appearance[:1] != appearance[:1]
        self._appearance = appearance
        set_outline(node.outline)
        shown = False
        scene = slicer.mrmlScene
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
            view = scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
            if view.GetLabelVolumeID() == labels.GetID():
                view.SetLabelOpacity(node.labelOpacity / 100)
                shown = True
        if another and not shown:
            show_labels(labels, node.ctVolume, node.outline, node.labelOpacity / 100)

    def _on_classes(self) -> None:
        node = self._parameters()
        if node is not None and self.classes is not None:
            self._shown = self.classes.text
            node.classTable = self._shown
        self.update()

    def _on_mapping(self) -> None:
        node = self._parameters()
        if node is not None:
            node.mapping = self.mapping.text

    def _start(self) -> None:
        self._make_editor()
        self._request = self._chosen()
        job, names = start(self._request, self._session)
        self._line.follow(job, names, job.folder.parent)

    def _chosen(self) -> LabelRequest:
        node, classes = self._parameters(), self.classes
        if classes is None:
            raise UserError("The table of classes cannot be read.", "PyYAML is missing.", "Restart Slicer.")
        self.update()
        mapping = self.mapping.mapping if node.segmentation is not None else {}
        return LabelRequest(node.ctVolume, node.segmentation, node.nodules, classes.table, mapping, node.labelMap)

    def _take(self, job: Job) -> str:
        request, self._request = self._request, None
        if request is None or request.source.GetScene() is None:
            raise UserError(_("The label map was not kept."), _("What it was made of has left the scene."))
        node, parameters = finish(job, request), self._owner
        parameters.labelMap = node
        if request.ct is not None:
            set_ct_window(request.ct, "Lung")
        show_labels(node, request.ct, parameters.outline, parameters.labelOpacity / 100)
        return _made_html(node.GetName(), job)


def _made_html(name: str, job: Job) -> str:
    """Return what a label map holds: millilitres of each class."""
    result = job.result or {}
    counts = ", ".join(f"{entry['name']} {entry['ml']:.4g} ml" for entry in result["classes"] if entry["voxels"])
    return f"<b>{html.escape(name)}</b>: {html.escape(counts)}."
