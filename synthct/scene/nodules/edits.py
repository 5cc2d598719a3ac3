"""Nodules come into a label map, go, and come back: voxels, segments and what is noted of them, in one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from synthct.errors import UserError
from synthct.labels.ground import Ground
from synthct.labels.insertion import Planted
from synthct.scene.nodules.ground import ORIGIN, KeptGround
from synthct.scene.nodules.planted import Change, Nodule, Record, read_record, refreshed, write_record
from synthct.scene.nodules.segments import add_segment, remove_segment

Bounds = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Along i, j, k: first voxel that may have changed, and the one after the last."""


def plant(
    labels: slicer.vtkMRMLLabelMapVolumeNode,
    kept: KeptGround,
    planted: Sequence[Planted],
    libraries: Sequence[str],
    instead_of: Nodule | None = None,
) -> Bounds:
    """Put nodules that were found to fit into a label map, one of them instead of another, and return what changed.

    Parameters
    ----------
    labels
        The label map.
    kept
        Its ground, kept up to date.
    planted
        What `synthct.labels.insertion` has planted in that ground and taken back.
    libraries
        Folder of the template of each.
    """
    record = read_record(labels)
    new = []
    for entry, library in zip(planted, libraries, strict=True):
        record.serial += 1
        number = instead_of.number if instead_of is not None else record.serial
        new.append(Nodule.of(entry, record.serial, number, library))
    what = f"editing {new[0].name}" if instead_of is not None else "planting " + ", ".join(n.name for n in new)
    removed = (instead_of.id,) if instead_of is not None else ()
    record.note(Change(what, removed, tuple(nodule.id for nodule in new)), new)
    gone = [instead_of] if instead_of is not None else []
    return _write(labels, kept, record, gone, new)


def remove(labels: slicer.vtkMRMLLabelMapVolumeNode, kept: KeptGround, names: Sequence[str]) -> Bounds:
    """Take nodules out by their ids: what was beneath comes back. Return what changed."""
    record = read_record(labels)
    gone = [record.known[name] for name in names if name in record.planted]
    if not gone:
        raise UserError("There is no such nodule.", "It was removed already.", "Choose one in the list.")
    record.note(Change("removing " + ", ".join(nodule.name for nodule in gone), tuple(n.id for n in gone)), [])
    return _write(labels, kept, record, gone, [])


def undo(labels: slicer.vtkMRMLLabelMapVolumeNode, kept: KeptGround) -> Bounds:
    """Undo the newest change; return what changed.

    Raises
    ------
    UserError
        There is nothing to undo.
    """
    record = read_record(labels)
    if not record.done:
        raise UserError(f"There is nothing to undo in {labels.GetName()}.", "No nodule was planted in it.")
    change = record.done.pop()
    record.undone.append(change)
    record.apply(change.added, change.removed)
    return _write(labels, kept, record, _known(record, change.added), _known(record, change.removed))


def redo(labels: slicer.vtkMRMLLabelMapVolumeNode, kept: KeptGround) -> Bounds:
    """Do once more what was undone last; return what changed.

    Raises
    ------
    UserError
        Nothing was undone.
    """
    record = read_record(labels)
    if not record.undone:
        raise UserError(f"There is nothing to do again in {labels.GetName()}.", "Nothing was undone.")
    change = record.undone.pop()
    record.done.append(change)
    record.apply(change.removed, change.added)
    return _write(labels, kept, record, _known(record, change.removed), _known(record, change.added))


def _known(record: Record, names: Sequence[str]) -> list[Nodule]:
    return [record.known[name] for name in names]


def _write(
    labels: slicer.vtkMRMLLabelMapVolumeNode,
    kept: KeptGround,
    record: Record,
    gone: Sequence[Nodule],
    new: Sequence[Nodule],
) -> Bounds:
    ground = kept.now(labels)
    index = kept.nodule_index(labels)
    voxels = slicer.util.arrayFromVolume(labels)
    for nodule in gone:
        place = tuple(nodule.voxels.T)
        still = voxels[place] == index  # what was drawn over it since stays
        voxels[place] = np.where(still, nodule.before, voxels[place])
        _tell(ground, nodule, voxels[place])
        remove_segment(labels, nodule)
    for nodule in new:
        place = tuple(nodule.voxels.T)
        record.known[nodule.id] = refreshed(nodule, voxels[place].astype(np.uint8))
        voxels[place] = index
        _tell(ground, nodule, voxels[place])
        add_segment(labels, nodule)
    write_record(labels, record)
    slicer.util.arrayFromVolumeModified(labels)
    kept.keep(labels, ground)
    return _bounds([*gone, *new])


def _tell(ground: Ground | None, nodule: Nodule, values: np.ndarray) -> None:
    if ground is not None:
        ground.take_back(ORIGIN, nodule.voxels, values.astype(np.uint8))


def _bounds(nodules: Sequence[Nodule]) -> Bounds:
    low = np.min([nodule.voxels.min(axis=0) for nodule in nodules], axis=0)
    high = np.max([nodule.voxels.max(axis=0) for nodule in nodules], axis=0) + 1
    i, j, k = ((int(a), int(b)) for a, b in zip(low[::-1], high[::-1], strict=True))
    return i, j, k
