"""The prepared volumes as memory-mapped arrays: made once, read a slice at a time, never loaded whole.

Raw values are kept (HU as int16; MR as int16 where the source is, else float32; label maps and masks as uint8), so
that one cache serves every intensity scaling. Half precision is never used for HU: above 2048 it steps by 2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from synthct.data.cohort import Case, Cohort
from synthct.data.fingerprint import fingerprint
from synthct.data.left_out import LeftOut
from synthct.data.pairs import read_pair
from synthct.data.whole_folder import whole_folder
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import array_of, require_same_grid, resample_onto, to_axial
from synthct.volumes.label_numbers import MOST_CLASSES, body_of_labels, require_labels
from synthct.volumes.read import read_image

FORMAT = 1
INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Volume:
    """One case of the cache; the arrays are memory-mapped, read-only, axis order z, y, x (towards S, P, L).

    ``shape`` is z, y, x; ``spacing`` is x, y, z in mm. Unpickled in another process, the arrays are mapped anew.
    """

    id: str
    folder: Path
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    kind: str = "mr"
    """What the network is given: "mr" or "labels"; "image": nothing but noise, and `mask` is the pair's."""
    masked: bool = True
    """False: an "image" without a mask; `mask` is 0 everywhere."""
    diagnosis: str | None = None
    """The case's."""
    centre: str | None = None
    """The case's."""

    @property
    def input(self) -> np.ndarray:
        """What the network is given: `mr`, or the `labels`.

        Raises
        ------
        UserError
            The case is an image alone.
        """
        if self.kind == "image":
            raise UserError(f"The case {self.id} has neither an MR nor a label map.", todo="Name one in the manifest.")
        return self.mr if self.kind == "mr" else self.labels

    @cached_property
    def labels(self) -> np.ndarray:
        """Class numbers, uint8."""
        return self._mapped("labels")

    @cached_property
    def mr(self) -> np.ndarray:
        """MR values as in the source, int16 or float32."""
        return self._mapped("mr")

    @cached_property
    def ct(self) -> np.ndarray:
        """HU, int16."""
        return self._mapped("ct")

    @cached_property
    def mask(self) -> np.ndarray:
        """1 inside the body, uint8; of an "image" the values of its mask."""
        return self._mapped("mask")

    def _mapped(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(path, f"{error}.") from error
        return array

    def __getstate__(self) -> dict[str, Any]:
        names = ("id", "folder", "shape", "spacing", "kind", "masked", "diagnosis", "centre")
        return {name: getattr(self, name) for name in names}


def open_cache(
    cohort: Cohort, folder: Path | str, events: Events = SILENT, left_out: LeftOut | None = None
) -> dict[str, Volume]:
    """Return the volumes of every used case, by id; what ``folder`` does not hold yet is made.

    An entry is found by the content of its files: an unchanged case is never made again, a changed one always.
    A process that is killed leaves no half-made entry.

    Parameters
    ----------
    left_out
        Says whether cases that cannot be used may be left out, and keeps which; None: they may not.

    Raises
    ------
    UserError
        MR or label map, CT and mask of a case are not on one grid (the cohort is not prepared), a file cannot be read,
        or the folder cannot be written.
    """
    folder = Path(folder)
    cases = cohort.used.cases
    left_out = left_out or LeftOut(events=events)
    volumes = {}
    for number, case in enumerate(cases):
        try:
            volumes[case.id] = _opened(case, folder)
        except UserError as error:
            left_out.add(case, error)
        events.progress(number + 1, len(cases), "cache", case.id)
    return volumes


def _opened(case: Case, folder: Path) -> Volume:
    """Return a case's volume, made if need be, its arrays looked at."""
    kinds = [] if case.kind == "mr" else [case.kind]
    key = fingerprint([case.input, case.ct, case.mask], [FORMAT, case.mr_series, case.ct_series, *kinds])
    entry = folder / f"{case.id}-{key}"
    if not (entry / "case.json").is_file():
        _make(case, entry)
    facts = json.loads((entry / "case.json").read_text(encoding="utf-8"))
    masked = case.kind != "image" or case.mask is not None
    shape, spacing = tuple(facts["shape"]), tuple(facts["spacing"])
    volume = Volume(case.id, entry.absolute(), shape, spacing, case.kind, masked, case.diagnosis, case.centre)
    for array in (*([] if case.kind == "image" else [volume.input]), volume.ct, volume.mask):
        if array.shape != volume.shape:
            raise _damaged(entry, f"It holds {array.shape} voxels in place of {volume.shape}.")
    return volume


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"The cached volume {path} is damaged.", why, "Remove that folder; it is made again.")


def _make(case: Case, entry: Path) -> None:
    if case.kind == "image":
        image, mask = read_pair(case)
        with whole_folder(entry) as aside:
            write_arrays(
                aside, stored_ct(array_of(to_axial(image))), array_of(to_axial(mask)), to_axial(image).GetSpacing()
            )
        return
    image, ct = read_image(case.input, case.mr_series), read_image(case.ct, case.ct_series)
    name = "MR" if case.kind == "mr" else "label map"
    require_same_grid(image, ct, (f"The {name} of case {case.id}", f"its CT {case.ct.name}"))
    if case.mask is not None:
        mask = resample_onto(read_image(case.mask), image, "nearest", 0)
    else:
        mask = body_mask(image, "mr") if case.kind == "mr" else body_of_labels(image)
    axial = to_axial(image)
    voxels = array_of(axial)
    if case.kind == "labels":
        require_labels(voxels, MOST_CLASSES, f"The label map of case {case.id}")
    with whole_folder(entry) as aside:
        np.save(aside / f"{case.kind}.npy", stored_mr(voxels) if case.kind == "mr" else voxels.astype(np.uint8))
        body = (array_of(to_axial(mask)) != 0).astype(np.uint8)
        write_arrays(aside, stored_ct(array_of(to_axial(ct))), body, axial.GetSpacing())


def write_arrays(folder: Path, ct: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> None:
    """Write what every entry has: CT (int16), mask (uint8), both z, y, x, and facts; ``spacing`` is x, y, z in mm."""
    np.save(folder / "ct.npy", ct)
    np.save(folder / "mask.npy", mask)
    facts = {"format": FORMAT, "shape": list(ct.shape), "spacing": list(spacing)}
    (folder / "case.json").write_text(json.dumps(facts), encoding="utf-8")


def stored_mr(array: np.ndarray) -> np.ndarray:
    """Return the MR as int16 where nothing is lost by it, else as float32."""
    if array.dtype.kind in "iu" and array.min() >= INT16.min and array.max() <= INT16.max:
        return array.astype(np.int16)
    return array.astype(np.float32)


def stored_ct(array: np.ndarray) -> np.ndarray:
    """Return HU rounded to int16, values beyond its range kept at its ends."""
    return np.clip(np.rint(array), INT16.min, INT16.max).astype(np.int16)
