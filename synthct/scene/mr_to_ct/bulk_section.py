"""The section "Bulk densities" of a module: a CT from tissue labels with one HU each, made in Slicer's own process."""

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
from synthct.scene.cards import error_html
from synthct.scene.display import set_ct_window
from synthct.scene.label_maps import labels_from_node, volume_of
from synthct.scene.mr_to_ct.table_choice import TableChoice
from synthct.scene.nodes import node_from_image, update_node_from_image
from synthct.scene.studies import place_beside, sign
from synthct.volumes.bulk import SHIPPED, bulk_ct, read_bulk_table
from synthct.whole_file import write_whole


def make_bulk_ct(
    labels_node: slicer.vtkMRMLNode,
    table: Path | str = SHIPPED,
    output_node: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Give every tissue of a segmentation or label map its HU; return the volume, shown in a CT window when new.

    Raises
    ------
    UserError
        Labels or table cannot be used, labels without HU (all are named), or the segmented volume would be lost.
    """
    source = volume_of(labels_node)
    if source is not None and output_node is not None and source.GetID() == output_node.GetID():
        raise UserError(
            f"The CT would replace {source.GetName()}.",
            "The segmentation was made on it.",
            "Choose another output.",
        )
    image, names = labels_from_node(labels_node)
    ct = bulk_ct(image, read_bulk_table(table), names)
    fresh = output_node is None or output_node.GetImageData() is None
    if output_node is None:
        output_node = node_from_image(ct, f"{labels_node.GetName()} bulk CT")
    else:
        update_node_from_image(output_node, ct)
    if fresh:
        set_ct_window(output_node)
    sign(output_node, f"bulk assignment ({Path(table).name})", labels_node.GetName(), source)
    place_beside(output_node, labels_node)
    return output_node


class BulkSection:
    """A table of HU and a button that makes the CT; the selectors beside them belong to the parameter node.

    Parameters
    ----------
    table_edit
        ``ctkPathLineEdit`` of the table; empty: the shipped one.
    copy_button, apply_button, label
        ``QPushButton`` that writes a copy of the shipped table to edit, ``QPushButton`` and ``QLabel``.
    parameters
        Returns the parameter node (``bulkLabels``, ``bulkTable``, ``bulkVolume``), or None.
    """

    def __init__(
        self,
        table_edit: ctk.ctkPathLineEdit,
        copy_button: qt.QPushButton,
        apply_button: qt.QPushButton,
        label: qt.QLabel,
        parameters: Callable[[], Any],
    ) -> None:
        self.table = TableChoice(table_edit, parameters, "bulkTable")
        self.apply_button, self.label = apply_button, label
        self._parameters = parameters
        copy_button.connect("clicked(bool)", self._on_copy)
        apply_button.connect("clicked(bool)", self._on_apply)
        self.update()

    def update(self) -> None:
        """Show the table, and whether there is something to make a CT of."""
        self.table.update()
        parameters = self._parameters()
        self.apply_button.enabled = parameters is not None and parameters.bulkLabels is not None
        self.label.setVisible(bool(self.label.text))

    def _on_copy(self, _clicked: bool = False) -> None:
        chosen = str(
            qt.QFileDialog.getSaveFileName(
                slicer.util.mainWindow(), _("Copy of the table, to edit"), "bulk_hu.csv", _("Tables (*.csv)")
            )
        )
        if not chosen:
            return
        try:
            write_whole(Path(chosen), SHIPPED.read_bytes())
        except OSError as error:
            self._say_error(UserError(f"{chosen} cannot be written.", f"{error.strerror}.", "Choose another place."))
            return
        self.table.path = chosen
        self._say(html.escape(_("Edit {file}: a row label,name,hu for each tissue.").format(file=chosen)))

    def _on_apply(self, _clicked: bool = False) -> None:
        parameters = self._parameters()
        try:
            with slicer.util.WaitCursor():
                node = make_bulk_ct(parameters.bulkLabels, self.table.path or SHIPPED, parameters.bulkVolume)
        except UserError as error:
            self._say_error(error)
            return
        parameters.bulkVolume = node
        slicer.util.setSliceViewerLayers(background=node)
        self._say(_("<b>{name}</b> is in the scene and shown.").format(name=html.escape(node.GetName())))

    def _say_error(self, error: UserError) -> None:
        self._say(error_html(error))
        slicer.util.errorDisplay(str(error), windowTitle=_("Bulk densities"))

    def _say(self, text: str) -> None:
        self.label.text = text
        self.update()
