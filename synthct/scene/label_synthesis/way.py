"""How a CT was made of a label map: noted in its node, so that edits are followed after the scene was loaded again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import slicer

from synthct.scene.exchange import write_exchange
from synthct.scene.inputs import checked_labels
from synthct.scene.nodes import image_from_node
from synthct.scene.session import Session
from synthct.scene.translation import Kept
from synthct.volumes.geometry import same_grid

WAY_ATTRIBUTE = "SyntheticCT.MadeOf"
"""Of a CT's node: JSON of the label map's digest, the model's weights and the planes."""


@dataclass(frozen=True)
class Way:
    """From which label map node, by which model and through which planes a CT is made."""

    labels_id: str
    weights: str
    model: str
    classes: int
    planes: tuple[str, ...]

    def note(self, ct: slicer.vtkMRMLScalarVolumeNode, kept: Kept) -> None:
        """Write into a CT's node that it was made so, of the label map that is kept."""
        ct.SetAttribute(WAY_ATTRIBUTE, json.dumps(self._noted(kept.digest)))

    def take_up(
        self, ct: slicer.vtkMRMLScalarVolumeNode, labels: slicer.vtkMRMLLabelMapVolumeNode, session: Session
    ) -> Kept | None:
        """Return label map and CT as files, as if the CT had just been made; None where it was not made so.

        Raises
        ------
        UserError
            A node cannot be used, or the files cannot be written.
        """
        noted = ct.GetAttribute(WAY_ATTRIBUTE)
        if not noted:
            return None
        image, made = checked_labels(labels, self.classes), image_from_node(ct)
        folder = session.new_folder()
        kept = Kept.of(folder, image)
        if noted != json.dumps(self._noted(kept.digest)) or not same_grid(image, made):
            kept.discard()
            return None
        write_exchange(image, kept.labels)
        write_exchange(made, kept.ct)
        return kept

    def _noted(self, digest: str) -> dict[str, Any]:
        return {"labels": digest, "weights": self.weights, "planes": list(self.planes)}
