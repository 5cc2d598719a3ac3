"""What is known of the nodules planted in a label map: kept as text in the scene, so that it is saved with it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import slicer

from synthct.errors import UserError
from synthct.labels.insertion import Planted
from synthct.labels.template_shapes import Pose
from synthct.scene.label_map.job import NODULES_REFERENCE

FORMAT = 1
_MOST_STEPS = 100
"""Changes that can be undone; older ones are forgotten."""


@dataclass(frozen=True)
class Nodule:
    """One nodule of a label map.

    Attributes
    ----------
    id
        Of its segment; never given twice in a label map.
    number
        As the user sees it; an edited nodule keeps its number.
    template, library
        What it was made of, and the folder of that.
    pose
        How the template was turned and scaled.
    position_ras
        mm of its centre in the world, when it was planted.
    anchor
        The voxel (z, y, x) that it is centred on.
    diameter_mm
        Of the ball of its volume.
    voxels
        (z, y, x), shape (n, 3).
    before
        Labels that were there, uint8, shape (n,).
    """

    id: str
    number: int
    template: str
    library: str
    pose: Pose
    position_ras: tuple[float, float, float]
    anchor: tuple[int, int, int]
    diameter_mm: float
    voxels: np.ndarray
    before: np.ndarray

    @classmethod
    def of(cls, planted: Planted, serial: int, number: int, library: str) -> Nodule:
        """Make one of what `synthct.labels.insertion` has planted."""
        diameter = (6 * planted.volume_mm3 / np.pi) ** (1 / 3)
        voxels = planted.anchor + planted.offsets
        z, y, x = (int(value) for value in planted.anchor)
        return cls(
            id=f"Nodule_{serial}",
            number=number,
            template=planted.template,
            library=library,
            pose=planted.pose,
            position_ras=planted.position_ras,
            anchor=(z, y, x),
            diameter_mm=diameter,
            voxels=voxels,
            before=planted.before,
        )

    @property
    def name(self) -> str:
        """What it is called."""
        return f"Nodule {self.number}"


@dataclass(frozen=True)
class Change:
    """Nodules that went and nodules that came, by their ids, in one step."""

    what: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass
class Record:
    """All nodules of a label map, and what can be undone.

    Attributes
    ----------
    shape
        Voxels (z, y, x) of the label map.
    known
        Every nodule that is planted, or that a change could bring back, by its id.
    planted
        Ids of those that are planted, in their order.
    done, undone
        Changes, the newest last.
    serial
        Of the nodule planted last.
    """

    shape: tuple[int, int, int]
    known: dict[str, Nodule] = field(default_factory=dict)
    planted: list[str] = field(default_factory=list)
    done: list[Change] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)
    serial: int = 0

    @property
    def nodules(self) -> list[Nodule]:
        """Those that are planted."""
        return [self.known[name] for name in self.planted]

    def note(self, change: Change, new: Sequence[Nodule]) -> None:
        """Note a change that was just made; what was undone before can no longer be done again."""
        self.known |= {nodule.id: nodule for nodule in new}
        self.done = [*self.done, change][-_MOST_STEPS:]
        self.undone = []
        self.apply(change.removed, change.added)
        used = {*self.planted, *(name for step in self.done for name in (*step.removed, *step.added))}
        self.known = {name: nodule for name, nodule in self.known.items() if name in used}

    def apply(self, removed: Sequence[str], added: Sequence[str]) -> None:
        """Change which are planted."""
        left = [name for name in self.planted if name not in removed]
        self.planted = sorted([*left, *added], key=lambda name: self.known[name].number)

    def to_text(self) -> str:
        """Return everything as JSON."""
        known = {name: _to_dict(nodule, self.shape) for name, nodule in self.known.items()}
        steps = {key: [vars(change) for change in getattr(self, key)] for key in ("done", "undone")}
        content = {"format": FORMAT, "shape": self.shape, "known": known, "planted": self.planted, **steps}
        return json.dumps({**content, "serial": self.serial}, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Record:
        """Read what `to_text` wrote; ValueError, KeyError, TypeError or zlib.error where it is something else."""
        content = json.loads(text)
        shape = tuple(int(length) for length in content["shape"])
        known = {name: _from_dict(name, entry, shape) for name, entry in content["known"].items()}
        steps = {
            key: [Change(entry["what"], tuple(entry["removed"]), tuple(entry["added"])) for entry in content[key]]
            for key in ("done", "undone")
        }
        record = cls(shape, known, list(content["planted"]), serial=int(content["serial"]), **steps)  # type: ignore[arg-type]
        assert record.nodules is not None
        return record


def read_record(labels: slicer.vtkMRMLLabelMapVolumeNode) -> Record:
    """Return what is known of the nodules in a label map; an empty record where nothing is.

    Raises
    ------
    UserError
        Naming the label map: what is written is damaged, or its grid has changed since.
    """
    shape = tuple(reversed(labels.GetImageData().GetDimensions()))
    node = labels.GetNodeReference(NODULES_REFERENCE)
    text = node.GetText() if node is not None else ""
    if not text:
        return Record(shape)
    try:
        record = Record.from_text(text)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise UserError(
            f"What was noted of the nodules in {labels.GetName()} cannot be read.",
            f"The text {node.GetName()} is damaged ({error}).",
            f"Remove {node.GetName()} (Data module): the voxels stay, but can no longer be taken back.",
        ) from error
    if record.shape != shape:
        raise UserError(
            f"The nodules of {labels.GetName()} were planted on another grid.",
            f"It had {_times(record.shape)} voxels and now has {_times(shape)}.",
            f"Remove {node.GetName()} (Data module) to begin anew.",
        )
    return record


def write_record(labels: slicer.vtkMRMLLabelMapVolumeNode, record: Record) -> None:
    """Keep a record in the scene, in a text node of the label map's."""
    node = labels.GetNodeReference(NODULES_REFERENCE)
    if node is None:
        name = slicer.mrmlScene.GenerateUniqueName(f"{labels.GetName()} planted nodules")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", name)
        labels.SetNodeReferenceID(NODULES_REFERENCE, node.GetID())
    node.SetText(record.to_text())


def refreshed(nodule: Nodule, before: np.ndarray) -> Nodule:
    """Return a nodule that was planted once more, over other labels perhaps."""
    return replace(nodule, before=before)


def _to_dict(nodule: Nodule, shape: tuple[int, int, int]) -> dict[str, Any]:
    flat = np.ravel_multi_index(tuple(nodule.voxels.T), shape)
    order = np.argsort(flat)
    steps = np.diff(flat[order], prepend=0).astype("<i8")
    return {
        "number": nodule.number,
        "template": nodule.template,
        "library": nodule.library,
        "pose": nodule.pose.to_dict(),
        "position_ras": list(nodule.position_ras),
        "anchor": list(nodule.anchor),
        "diameter_mm": nodule.diameter_mm,
        "voxels": _packed(steps),
        "before": _packed(nodule.before[order].astype(np.uint8)),
    }


def _from_dict(name: str, entry: dict[str, Any], shape: tuple[int, ...]) -> Nodule:
    flat = np.cumsum(np.frombuffer(_unpacked(entry["voxels"]), "<i8"))
    voxels = np.stack(np.unravel_index(flat, shape), axis=1)
    before = np.frombuffer(_unpacked(entry["before"]), np.uint8)
    if len(before) != len(voxels) or not len(voxels):
        raise ValueError(f"{name} has {len(voxels)} voxels and {len(before)} labels")
    pose = Pose(**{**entry["pose"], "rotation": tuple(entry["pose"]["rotation"])})
    right, anterior, superior = (float(value) for value in entry["position_ras"])
    z, y, x = (int(value) for value in entry["anchor"])
    return Nodule(
        id=name,
        number=int(entry["number"]),
        template=str(entry["template"]),
        library=str(entry["library"]),
        pose=pose,
        position_ras=(right, anterior, superior),
        anchor=(z, y, x),
        diameter_mm=float(entry["diameter_mm"]),
        voxels=voxels,
        before=before,
    )


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes())).decode("ascii")


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _times(shape: Sequence[int]) -> str:
    return " × ".join(str(length) for length in reversed(shape))
