"""The section "Nodules" of a module: click where a nodule shall be, see whether it fits, accept, undo, edit, remove."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from synthct.errors import UserError
from synthct.labels.ground import Rule
from synthct.labels.insertion import Planted, plant_random
from synthct.labels.template_shapes import UNCHANGED, draw_pose
from synthct.scene.cards import error_html
from synthct.scene.label_map.job import NODULES_REFERENCE
from synthct.scene.nodules import edits as nodule_edits
from synthct.scene.nodules.candidate import NoduleCandidate
from synthct.scene.nodules.edits import Bounds
from synthct.scene.nodules.ground import KeptGround
from synthct.scene.nodules.planted import Nodule, Record, read_record
from synthct.scene.nodules.planted_list import NoduleList, centre_of, jump_to
from synthct.scene.nodules.pose_sliders import PoseSliders
from synthct.scene.nodules.template_gallery import TemplateGallery


class NoduleSection:
    """Everything inside the collapsible button "Nodules".

    Parameters
    ----------
    button
        ``ctkCollapsibleButton`` with a ``QVBoxLayout``, which is filled.
    parameters
        Returns the parameter node (``labelMap``, ``classTable``, ``noduleLibrary``, ``noduleTemplate``,
        ``noduleShare``, ``noduleSurface``, ``noduleCount``, ``noduleSeed``, ``noduleVaried``), or None.
    accepted
        Called with the label map node and the bounds ((i0, i1), (j0, j1), (k0, k1)) of the voxels that may have
        changed, the second of each one beyond the last, whenever nodules were accepted, removed, undone or redone.

    Attributes
    ----------
    ui
        Its widgets, to connect to the parameter node.
    """

    def __init__(
        self,
        button: ctk.ctkCollapsibleButton,
        parameters: Callable[[], Any],
        accepted: Callable[[slicer.vtkMRMLLabelMapVolumeNode, Bounds], None] = lambda labels, bounds: None,
    ) -> None:
        self._parameters, self._accepted = parameters, accepted
        self._edited: Nodule | None = None
        self._shown: tuple[Any, ...] = ()
        self._record: Record | None = None
        self.widget = slicer.util.loadUI(str(Path(__file__).with_name("section.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        button.layout().addWidget(self.widget)
        self.kept = KeptGround()
        self.candidate = NoduleCandidate(self.kept, self._on_moved)
        self.gallery = TemplateGallery(
            self.ui.libraryPathEdit, self.ui.galleryWidget, self.ui.templateLabel, self._on_template
        )
        self.list = NoduleList(self.ui.nodulesTable, self._show_buttons, self._on_jump)
        turns = (self.ui.rightSlider, self.ui.anteriorSlider, self.ui.superiorSlider)
        self.sliders = PoseSliders(self.ui.diameterSlider, *turns, self._look)
        self.ui.placeButton.connect("clicked(bool)", self._on_place)
        self.ui.nearestButton.connect("clicked(bool)", self._on_nearest)
        self.ui.acceptButton.connect("clicked(bool)", self._on_accept)
        self.ui.discardButton.connect("clicked(bool)", self._on_discard)
        self.ui.undoButton.connect("clicked(bool)", self._on_undo)
        self.ui.redoButton.connect("clicked(bool)", self._on_redo)
        self.ui.randomButton.connect("clicked(bool)", self._on_random)
        self.ui.jumpButton.connect("clicked(bool)", self._on_jump)
        self.ui.editButton.connect("clicked(bool)", self._on_edit)
        self.ui.deleteButton.connect("clicked(bool)", self._on_delete)
        self.sliders.show(self.gallery.diameter_mm)
        self.update()

    @property
    def labels(self) -> slicer.vtkMRMLLabelMapVolumeNode | None:
        """The chosen label map, where it has voxels."""
        node = self._parameters()
        labels = node.labelMap if node is not None else None
        return labels if labels is not None and labels.GetImageData() is not None else None

    def close(self) -> None:
        """Take what is not accepted out of the scene, and give back the memory."""
        self._let_go()
        self.candidate.placing.close()
        self.kept.forget()

    def scene_closing(self) -> None:
        """Forget what belongs to the scene."""
        self.candidate.scene_closing()
        self.kept.lift(None, None)
        self.kept.forget()
        self._edited, self._shown, self._record = None, (), None
        self.list.show([])
        self._say("")

    def update(self) -> None:
        """Show what the parameter node says, the nodules of the chosen label map, and what can be pressed."""
        node = self._parameters()
        if node is not None:
            if node.noduleLibrary:
                self.gallery.path = node.noduleLibrary
            if node.noduleTemplate:
                self.gallery.name = node.noduleTemplate
            rule = Rule(share=node.noduleShare / 100, surface_mm=node.noduleSurface or None)
            self.kept.choose(node.classTable, rule)
        labels = self.labels
        noted = labels.GetNodeReference(NODULES_REFERENCE) if labels is not None else None
        shown = (labels.GetID() if labels is not None else "", noted.GetMTime() if noted is not None else 0)
        if shown != self._shown:
            if self._shown and shown[0] != self._shown[0]:
                self._let_go()
                self.ui.nodulesStatusLabel.text = ""  # it was said of another label map
            self._shown = shown
            self._show_record()
        self._look()

    def _show_record(self) -> None:
        self._record = None
        if self.labels is not None:
            try:
                self._record = read_record(self.labels)
            except UserError as error:
                self._say(error_html(error))
        self.list.show(self._record.nodules if self._record is not None else [])

    def _show_buttons(self) -> None:
        labels, record, candidate = self.labels, self._record, self.candidate
        lacking = "" if labels is not None else _("Make or choose a label map in step 1.")
        lacking = lacking or ("" if self.gallery.facts else _("Choose a library of nodules."))
        placed = candidate.placing.placed
        self.ui.placeButton.enabled = not lacking
        self.ui.placeButton.toolTip = lacking or _("Then click where the nodule shall be. Drag its point to move it.")
        self.ui.randomButton.enabled = not lacking
        self.ui.randomButton.toolTip = lacking or _("Plant nodules at random places that fit, all equally likely.")
        self.ui.nearestButton.enabled = placed and bool(candidate.reasons)
        self.ui.acceptButton.enabled = placed and not candidate.reasons
        self.ui.discardButton.enabled = candidate.waits
        self.ui.reasonLabel.setVisible(bool(self.ui.reasonLabel.text))
        done = record.done[-1].what if record is not None and record.done else ""
        undone = record.undone[-1].what if record is not None and record.undone else ""
        self.ui.undoButton.enabled = bool(done)
        self.ui.undoButton.toolTip = _("Undo {what}.").format(what=done) if done else _("There is nothing to undo.")
        self.ui.redoButton.enabled = bool(undone)
        self.ui.redoButton.toolTip = _("Redo {what}.").format(what=undone) if undone else _("Nothing was undone.")
        chosen = self.list.current is not None
        for part in (self.ui.jumpButton, self.ui.editButton, self.ui.deleteButton):
            part.enabled = chosen
        self.ui.nodulesStatusLabel.setVisible(bool(self.ui.nodulesStatusLabel.text))

    def _look(self) -> None:
        """Judge the nodule under the point, and say how it stands."""
        labels, text = self.labels, ""
        if labels is not None and self.candidate.waits:
            try:
                self.candidate.shape(self.gallery.template(), self.sliders.pose)
                self.candidate.look(labels)
                text = self._standing()
            except UserError as error:
                self.candidate.reasons = [str(error)]
                text = error_html(error)
        self.ui.reasonLabel.text = text
        self._show_buttons()

    def _standing(self) -> str:
        what = html.escape(f"{self._edited.name}: " if self._edited is not None else "")
        if self.candidate.reasons:
            reasons = html.escape("; ".join(self.candidate.reasons))
            return f"<span style='color:#c0392b'>{what}It may not lie here: {reasons}.</span>"
        if self.candidate.share is None:
            return what + _("Click in a slice view.")
        share = _("It fits: {share:.0%} of it lies on {classes}.").format(
            share=self.candidate.share, classes=html.escape(self.candidate.chosen)
        )
        return f"<span style='color:#1e8449'>{what}{share}</span>"

    def _on_template(self) -> None:
        node = self._parameters()
        if self._edited is None:
            self.sliders.show(self.gallery.diameter_mm)
        if node is not None:
            with slicer.util.NodeModify(node):
                node.noduleLibrary, node.noduleTemplate = self.gallery.path, self.gallery.name
        self._look()

    def _on_moved(self) -> None:
        if not self.candidate.waits:  # the user may have deleted the point
            self._let_go()
        self.update()

    def _on_place(self, _clicked: bool = False) -> None:
        self._try(self._place)

    def _place(self) -> None:
        labels = self._chosen_labels()
        self.gallery.template()
        self.kept.of(labels)
        self.candidate.placing.start()
        self._look()

    def _on_nearest(self, _clicked: bool = False) -> None:
        self._try(self._to_nearest)

    def _to_nearest(self) -> None:
        self.candidate.to_nearest(self._chosen_labels())
        position = self.candidate.placing.position
        if position is not None:
            jump_to(position)
        self._look()

    def _on_accept(self, _clicked: bool = False) -> None:
        self._try(self._accept)

    def _accept(self) -> None:
        labels, edited = self._chosen_labels(), self._edited
        self.candidate.shape(self.gallery.template(), self.sliders.pose)
        planted = self.candidate.plant(labels)
        self._edited = None
        self.kept.lift(labels, None)
        bounds = nodule_edits.plant(labels, self.kept, [planted], [self.gallery.path], edited)
        self.candidate.drop()
        self._changed(labels, bounds)

    def _on_discard(self, _clicked: bool = False) -> None:
        self._let_go()
        self._look()

    def _on_undo(self, _clicked: bool = False) -> None:
        self._try(lambda: self._step(nodule_edits.undo))

    def _on_redo(self, _clicked: bool = False) -> None:
        self._try(lambda: self._step(nodule_edits.redo))

    def _step(self, change: Callable[[slicer.vtkMRMLLabelMapVolumeNode, KeptGround], Bounds]) -> None:
        labels = self._chosen_labels()
        if self._edited is not None:
            self._let_go()
        self._changed(labels, change(labels, self.kept))

    def _on_random(self, _clicked: bool = False) -> None:
        self._try(self._random)

    def _random(self) -> None:
        labels, node = self._chosen_labels(), self._parameters()
        self._let_go()
        ground = self.kept.of(labels)
        with slicer.util.WaitCursor():
            draw = draw_pose if node.noduleVaried else lambda random: UNCHANGED
            planted: Sequence[Planted] = plant_random(
                ground,
                self.gallery.all(),
                node.noduleCount,
                node.noduleSeed,
                draw,
                first=len(read_record(labels).nodules),  # pressed again, the seed goes on and does not repeat itself
            )
            for entry in reversed(planted):
                ground.take_back(entry.anchor, entry.offsets, entry.before)
            bounds = nodule_edits.plant(labels, self.kept, planted, [self.gallery.path] * len(planted))
        self._changed(labels, bounds)
        self._on_jump()

    def _on_jump(self, _clicked: bool = False) -> None:
        nodule, labels = self.list.current, self.labels
        if nodule is not None and labels is not None:
            self._try(lambda: jump_to(centre_of(labels, nodule)))

    def _on_edit(self, _clicked: bool = False) -> None:
        self._try(self._edit)

    def _edit(self) -> None:
        labels, nodule = self._chosen_labels(), self.list.current
        if nodule is None:
            return
        self._let_go()
        if self.gallery.path != nodule.library and Path(nodule.library).is_dir():
            self.gallery.path = nodule.library
        if nodule.template not in [entry["name"] for entry in self.gallery.facts]:
            raise UserError(
                f"{nodule.name} cannot be edited.",
                f"Its template {nodule.template} is not in the library; it was in {nodule.library}.",
                "Choose that library. It can be deleted without it.",
            )
        self.gallery.template(nodule.template)
        self.gallery.name = nodule.template
        self.sliders.show(self.gallery.diameter_mm, nodule.pose)
        self.kept.of(labels)
        self.kept.lift(labels, nodule)
        self._edited = nodule
        self.candidate.placing.move_to(centre_of(labels, nodule))
        jump_to(centre_of(labels, nodule))
        self._look()

    def _on_delete(self, _clicked: bool = False) -> None:
        self._try(self._delete)

    def _delete(self) -> None:
        labels, nodule = self._chosen_labels(), self.list.current
        if nodule is not None:
            self._let_go()
            self._changed(labels, nodule_edits.remove(labels, self.kept, [nodule.id]))

    def _changed(self, labels: slicer.vtkMRMLLabelMapVolumeNode, bounds: Bounds) -> None:
        self._say("")
        self.update()
        self._accepted(labels, bounds)

    def _let_go(self) -> None:
        """Drop what is not accepted; a nodule that was being edited stays as it is."""
        self.candidate.drop()
        self.kept.lift(self.labels, None)
        self._edited = None

    def _chosen_labels(self) -> slicer.vtkMRMLLabelMapVolumeNode:
        labels = self.labels
        if labels is None:
            raise UserError("No label map is chosen.", "Nodules are planted in one.", "Make or choose one in step 1.")
        return labels

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except UserError as error:
            self._say(error_html(error))
            slicer.util.errorDisplay(str(error), windowTitle=_("Nodules"))
            self.update()

    def _say(self, text: str) -> None:
        self.ui.nodulesStatusLabel.text = text
        self._show_buttons()
