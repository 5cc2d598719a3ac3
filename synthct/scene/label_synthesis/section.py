"""The section "Synthesise" of LabelToCT: a label map becomes a CT, and what is edited afterwards follows by itself."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
import vtk
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.scene.cards import error_html
from synthct.scene.display import CT_WINDOWS, set_ct_window
from synthct.scene.inputs import checked_labels
from synthct.scene.label_synthesis.models import classes_of, label_card, label_models
from synthct.scene.label_synthesis.way import Way
from synthct.scene.model_and_device import ModelAndDevice
from synthct.scene.progress import result_html
from synthct.scene.session import Session
from synthct.scene.side_by_side import SideBySide
from synthct.scene.studies import of_another
from synthct.scene.translation import Kept, Request, Translation
from synthct.scene.translation_run import TranslationRun
from synthct.volumes.geometry import grid_of

SETTLE_MS = 50
"""How long a label map must be at rest before an edit of it is followed."""
_FIRST_WINDOW = "Lung"
_TITLE = "Label map to CT"


class LabelSynthesisSection:
    """Everything inside the collapsible button "Synthesise" of LabelToCT.

    Once a CT was made, every change of the label map's voxels is followed while the box is ticked: only what the edit
    can influence is made anew. What changes while a job runs is made up for when it has ended, in one go; what a failed
    or cancelled job has left out comes with the next one.

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    session
        Where files are exchanged and the worker runs.
    parameters
        Returns the parameter node (``labelMap``, ``ctVolume``, ``syntheticCT``, ``model``, ``device``, ``everyPlane``,
        ``onlyChanged``, ``sideBySide``), or None.
    read_card
        Returns the card of a model's path, or raises `UserError`.
    installed
        Returns the folders of the installed models.

    Attributes
    ----------
    models, devices
        The choosers; training and data set use them too.
    run
        What is under way, and the Apply button.
    waiting
        Whether something was edited meanwhile.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        session: Session,
        parameters: Callable[[], Any],
        read_card: Callable[[str], dict[str, Any]],
        installed: Callable[[], list[Path]],
    ) -> None:
        self.waiting = False
        self._session = session
        self._parameters = parameters
        self._owner: Any = None  # the parameter node of this scene, also while another module is shown
        self._kept: Kept | None = None  # the CT that there is, with the label map that it was made of
        self._ct: Any = None  # the node that it went into
        self._way: Way | None = None  # how it was made
        self._asked: Way | None = None  # how the one under way is made
        self._tried: tuple[Any, ...] = ()
        self._followed = False
        self._observed: tuple[Any, list[int]] | None = None
        self._seen = 0
        self._views = SideBySide()
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        button.layout().addWidget(self.widget)
        self._choice = ModelAndDevice(
            self.ui.modelPathEdit,
            self.ui.modelCardLabel,
            self.ui.deviceComboBox,
            self.ui.refreshDevicesButton,
            session,
            parameters,
            lambda path: label_card(read_card, path),
            lambda: label_models(read_card, installed()),
            lambda by_user: self._show_buttons(),
        )
        self.models, self.devices = self._choice.models, self._choice.devices
        widgets = (self.ui.applyButton, self.ui.progressBar, self.ui.statusLabel)
        self.run = TranslationRun(*widgets, _TITLE, self._start, self._on_end, self._show_buttons)
        for name in CT_WINDOWS:
            self.ui.windowComboBox.addItem(name)
        self.ui.windowComboBox.setCurrentText(_FIRST_WINDOW)
        self._settle = qt.QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.connect("timeout()", self.follow)
        self.ui.windowComboBox.connect("activated(int)", self._on_window)
        self.ui.besideCheckBox.connect("clicked(bool)", self._on_beside)
        self.ui.onlyChangedCheckBox.connect("clicked(bool)", self._on_only_changed)
        self._show_buttons()

    @property
    def translation(self) -> Translation | None:
        """What is under way, or None."""
        return self.run.translation

    def update(self) -> None:
        """Show what no widget is connected to by itself, and watch the chosen label map."""
        node = self._parameters()
        if node is None:
            return
        self._owner = node
        self._choice.update()
        if of_another(node.syntheticCT, node.labelMap):
            node.syntheticCT = None
        self._observe(node.labelMap)
        self._take_up(node)
        self._show_buttons()

    def enter(self) -> None:
        """List what was installed meanwhile; at the first time ask for the devices."""
        self._choice.enter()

    def follow(self) -> None:
        """Make anew what was edited since the CT was made; while a job runs this is remembered until it has ended."""
        node, kept = self._owner, self._kept
        if node is None or not node.onlyChanged:
            return
        if self.translation is not None:
            self.waiting = True
            return
        if kept is None:
            if node.syntheticCT is not None:
                self._say_apart(_("It is not known what the CT was made of."))
            return
        try:
            way = self._way_now(node)
            if way is None or way != self._way:
                self._say_apart(_("The CT is of another label map, by another model or through other planes."))
                return
            labels = checked_labels(node.labelMap, way.classes)
            if kept.grid != grid_of(labels):
                self._say_apart(_("The label map has another grid than its CT."))
            elif not kept.is_of(labels):
                self.run.follow(self._translation(node, way, kept))
        except UserError as error:  # said, but not by a dialog for each edit
            self.ui.statusLabel.text = error_html(error)

    def cancel(self) -> None:
        """End the job under way; the scene stays as it is, and the next edit makes up for what was cancelled."""
        self.waiting = False
        self._settle.stop()
        self.run.cancel()

    def scene_closing(self) -> None:
        """Let go of everything that belongs to the scene."""
        self.cancel()
        self._observe(None)
        self._owner = self._asked = None
        self._views.forget()
        self._forget()
        self.ui.statusLabel.text = ""

    def close(self) -> None:
        """End what runs and put the views back: the window closes."""
        self.cancel()
        self._views.forget()
        self.run.close()
        self._observe(None)
        self._owner = None
        self._choice.close()

    def _start(self) -> Translation:
        """Begin a CT of the whole label map."""
        node = self._parameters()
        if node.syntheticCT is not None and node.syntheticCT is node.ctVolume:
            raise UserError(
                f"The synthetic CT would replace {node.ctVolume.GetName()}.",
                "It is the original CT.",
                "Choose another output.",
            )
        way = self._way_now(node)
        if way is None:
            raise UserError(self._lacking())
        translation = self._translation(node, way, None)
        self.models.remember()
        return translation

    def _translation(self, node: Any, way: Way, previous: Kept | None) -> Translation:
        output = node.syntheticCT if previous is None else self._ct  # an edit goes nowhere but into its own CT
        request = Request(
            input_node=node.labelMap,
            model=Path(node.model),
            model_name=way.model,
            output_node=output,
            planes=way.planes,
            device=node.device,
            body_mask=None,
            window=self.ui.windowComboBox.currentText,
            classes=way.classes,
            previous=previous,
        )
        translation = Translation(request, self._session)
        self._followed = previous is not None
        self._asked = way
        return translation

    def _on_end(self, translation: Translation) -> None:
        self._receive(translation)
        self._show_buttons()
        if translation.error is not None and not self._followed:
            self.run.show_error(translation.error)
        edited, self.waiting = self.waiting, False
        if edited and translation.state != "cancelled":
            self.follow()

    def _receive(self, translation: Translation) -> None:
        """Take over what a job has made, and say so."""
        node, way, ct = self._owner, self._asked, translation.output_node
        if node is None or way is None:  # its scene is gone, and nobody is to be told
            if translation.kept is not None:
                translation.kept.discard()
            self.ui.statusLabel.text = ""
            return
        if translation.kept is not None:
            self._forget()
            self._kept, self._ct, self._way = translation.kept, ct, way
            way.note(ct, translation.kept)
        if ct is not None:
            node.syntheticCT = ct
            self._show_volumes(ct)
        where = _("in the place of the label map")
        text = result_html(translation, where)
        if ct is not None and self._followed:
            text += "<br>" + _("Only the surroundings of what was edited were made anew.")
        self.ui.statusLabel.text = text

    def _show_volumes(self, ct: slicer.vtkMRMLScalarVolumeNode) -> None:
        node = self._owner
        if node.sideBySide:
            self._views.show(node.labelMap, ct, node.ctVolume)
        elif not self._followed:
            slicer.util.setSliceViewerLayers(background=ct)

    def _way_now(self, node: Any) -> Way | None:
        """How a CT would be made by what is chosen now."""
        card = self.models.card
        if card is None or node.labelMap is None:
            return None
        planes, classes = tuple(card["planes"]), classes_of(card) or 0
        through = planes if node.everyPlane else planes[:1]
        return Way(node.labelMap.GetID(), card["weights_sha256"], card["name"], classes, through)

    def _take_up(self, node: Any) -> None:
        """Follow edits of a chosen CT that came with the scene, where its label map is as it was then."""
        ct, way = node.syntheticCT, self._way_now(node)
        tried = (way, ct.GetID() if ct is not None else "")
        if ct is None or way is None or way == self._way or tried == self._tried:
            return
        if self.translation is not None or not node.onlyChanged:
            return
        self._tried = tried
        try:
            with slicer.util.WaitCursor():
                kept = way.take_up(ct, node.labelMap, self._session)
        except UserError:
            return  # said once there is something to follow
        if kept is not None:
            self._forget()
            self._kept, self._ct, self._way = kept, ct, way

    def _say_apart(self, why: str) -> None:
        self.ui.statusLabel.text = html.escape(why + " " + _("Edits are followed again after Apply."))

    def _observe(self, labels: slicer.vtkMRMLLabelMapVolumeNode | None) -> None:
        if self._observed is not None:
            if self._observed[0] is labels:
                return
            for tag in self._observed[1]:
                self._observed[0].RemoveObserver(tag)
            self._observed = None
        if labels is not None:  # which of the two comes depends on how the voxels are changed
            events = (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent)
            self._observed = (labels, [labels.AddObserver(event, self._on_labels) for event in events])
            self._seen = _time_of(labels)

    def _forget(self) -> None:
        """Remove the files that an edit would have been followed from."""
        if self._kept is not None:
            self._kept.discard()
        self._kept = self._ct = self._way = None
        self._tried = ()

    def _show_buttons(self) -> None:
        self.run.show_button(self._lacking())
        for choice in (self.ui.labelMapSelector, self.ui.modelPathEdit, self.ui.outputSelector):
            choice.enabled = self.translation is None
        card = self.models.card
        self.ui.everyPlaneCheckBox.enabled = card is not None and len(card["planes"]) > 1

    def _lacking(self) -> str:
        node = self._parameters()
        if node is None or node.labelMap is None:
            return _("Choose a label map.")
        return "" if self.models.card is not None else _("Choose a model.")

    def _on_labels(self, labels: slicer.vtkMRMLLabelMapVolumeNode, _event: str) -> None:
        if _time_of(labels) != self._seen:
            self._seen = _time_of(labels)
            self._settle.start()

    def _on_only_changed(self, _clicked: bool = False) -> None:
        self._settle.start()  # what was edited without the tick

    def _on_window(self, _index: int = 0) -> None:
        node = self._parameters()
        if node is not None and node.syntheticCT is not None and node.syntheticCT.GetImageData() is not None:
            set_ct_window(node.syntheticCT, self.ui.windowComboBox.currentText)

    def _on_beside(self, _clicked: bool = False) -> None:
        node = self._parameters()
        if not self.ui.besideCheckBox.checked:
            self._views.back()
        elif node is not None and node.syntheticCT is not None:
            self._views.show(node.labelMap, node.syntheticCT, node.ctVolume)


def _time_of(labels: slicer.vtkMRMLLabelMapVolumeNode) -> int:
    """When the voxels of a label map were changed last; 0 where it has none."""
    data = labels.GetImageData()
    scalars = data.GetPointData().GetScalars() if data is not None else None
    return max(data.GetMTime(), scalars.GetMTime()) if scalars is not None else 0
