"""Write a synthetic CT as a DICOM CT series, in the MR's study and frame of reference where there is an MR."""

from __future__ import annotations

import copy
import errno
import io
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.axial import is_axial
from synthct.volumes.dicom import choose_series
from synthct.volumes.dicom_header import series_header
from synthct.volumes.dicom_place import check_place
from synthct.volumes.geometry import Grid, grid_of
from synthct.volumes.hu import AIR_HU

_TWELVE_BITS = (AIR_HU, AIR_HU + 4095)
_TISSUE_HU = -200.0
_WINDOW = (40, 400)
_SLICE_NAME = re.compile(r"sct_\d+\.dcm")


def write_ct_series(
    image: sitk.Image,
    folder: Path | str,
    like: Path | str | None = None,
    series: str | None = None,
    model_name: str = "",
    note: str = "",
    overwrite: bool = False,
    events: Events = SILENT,
) -> Path:
    """Write a CT as single-frame DICOM slices (CT Image Storage, explicit VR little endian).

    One file per plane along the image's third axis, ``sct_0001.dcm``, ..., numbered along the normal of the slices.
    The voxels stay where they are in space; HU are rounded to integers and stored with slope 1 and intercept −1024 in
    12 bits unsigned, or with intercept 0 in 16 bits signed where they do not fit. The folder is written aside and
    renamed.

    Parameters
    ----------
    image
        3D CT in HU, LPS. A left-handed grid is written with its slices in reversed order.
    folder
        New or empty folder.
    like
        The MR's DICOM folder, whose patient, study and frame of reference are taken over; None: placeholders.
    series
        SeriesInstanceUID of the MR, where ``like`` holds several series.
    model_name, note
        For the series description and the derivation description.
    overwrite
        Replace an earlier export; a folder that holds anything else is never replaced.
    events
        Hears warnings: placeholders, slices that are not axial, values that needed more room.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UserError
        No CT values, an image that does not lie on the MR, a folder that is not empty or not writable, disk full.
        Nothing is left behind.
    """
    folder = check_folder(folder, overwrite)
    _check_values(image)
    source = None if like is None else choose_series(like, series)
    if source is not None:
        check_place(image, source, str(like), events)
    header = series_header(None if source is None else source.files[0], model_name, note, events)
    grid, array = _right_handed(image)
    if not is_axial(grid):
        events.warning(
            "The slices of the DICOM series are not upright axial ones.",
            "They lie as those of the image do; many planning systems refuse such a series.",
            "Have them resampled (--axial).",
        )
    stored = _stored(array, header, events)
    _geometry(grid, header)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        for index, plane in enumerate(stored):
            _write_slice(header, grid, index, plane, aside / f"sct_{index + 1:04d}.dcm")
            events.progress(index + 1, len(stored), "writing DICOM")
        _put_in_place(aside, folder)
    except OSError as error:
        raise _in_words(folder, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def check_folder(folder: Path | str, overwrite: bool = False) -> Path:
    """Return the folder to write, as an absolute path, or refuse it.

    Raises
    ------
    UserError
        A file, a folder that holds something (with ``overwrite``: something other than an earlier export), or one that
        cannot be written to.
    """
    folder = Path(folder).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file.", "A folder of DICOM slices is to be written.", "Give another name.")
    held = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    foreign = [name for name in held if not _SLICE_NAME.fullmatch(name)]
    if foreign and overwrite:
        raise UserError(
            f"The folder {folder} holds more than an earlier export: {foreign[0]}.",
            "Only its own slices are replaced.",
            "Choose another folder.",
        )
    if held and not overwrite:
        raise UserError(
            f"The folder {folder} is not empty.",
            "Slices of two series must not be mixed.",
            "Choose another folder, or add --overwrite to replace an earlier export.",
        )
    parent = next(above for above in folder.parents if above.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{folder} cannot be written.", f"{parent} is not writable.", "Choose another folder.")
    return folder


def _check_values(image: sitk.Image) -> None:
    """Refuse what cannot be a CT in HU: an MR, a mask, a scaled image, nothing but air."""
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or min(image.GetSize()) < 2:
        raise UserError("The image is not a 3D volume with one number per voxel.", todo="Give a synthetic CT.")
    view = sitk.GetArrayViewFromImage(image)
    if view.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in view):
        raise UserError("The image holds voxels that are no numbers (NaN or infinite).", todo="Give a synthetic CT.")
    low, high = float(view.min()), float(view.max())
    if low > _TISSUE_HU or high < _TISSUE_HU:
        held = "air nor lung" if low > _TISSUE_HU else "tissue"
        raise UserError(
            f"The image does not hold a CT in HU: its values run from {low:g} to {high:g}.",
            f"There is {'neither ' if low > _TISSUE_HU else 'no '}{held} in it (limit {_TISSUE_HU:g} HU).",
            "Give a synthetic CT, not an MR, a mask or a rescaled image.",
        )


def _right_handed(image: sitk.Image) -> tuple[Grid, np.ndarray]:
    """Grid and voxels (z, y, x) with the slices along their normal, which DICOM readers sort by."""
    grid, array = grid_of(image), sitk.GetArrayViewFromImage(image)
    if np.linalg.det(np.reshape(grid.direction, (3, 3))) > 0:
        return grid, array
    flipped = image[:, :, ::-1]
    return grid_of(flipped), sitk.GetArrayFromImage(flipped)


def _stored(array: np.ndarray, header: Any, events: Events) -> np.ndarray:
    """Return the stored values of all slices and say in the header how they become HU again."""
    low, high = float(np.rint(array.min())), float(np.rint(array.max()))
    limits = np.iinfo(np.int16)
    twelve = _TWELVE_BITS[0] <= low and high <= _TWELVE_BITS[1]
    if not twelve:
        clipped = low < limits.min or high > limits.max
        done = "Values beyond 16 bits are clipped." if clipped else "They are stored in 16 bits, with intercept 0."
        events.warning(
            f"The values run from {low:.0f} to {high:.0f} HU, beyond the usual {_TWELVE_BITS[0]} to {_TWELVE_BITS[1]}.",
            f"{done} Some planning systems cut them.",
        )
    bits, intercept = (12, _TWELVE_BITS[0]) if twelve else (16, 0)
    stored = np.empty(array.shape, "<u2" if twelve else "<i2")
    for index, plane in enumerate(array):
        rounded = np.clip(np.rint(plane), limits.min, limits.max)
        stored[index] = rounded.astype(np.int32) - intercept
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows, header.Columns = array.shape[1:]
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, bits, bits - 1
    header.PixelRepresentation = 0 if twelve else 1
    header.RescaleSlope, header.RescaleIntercept, header.RescaleType = "1", str(intercept), "HU"
    header.WindowCenter, header.WindowWidth = (str(value) for value in _WINDOW)
    return stored


def _geometry(grid: Grid, header: Any) -> None:
    """Say what all slices share of their place."""
    direction = np.reshape(grid.direction, (3, 3))
    x, y, z = grid.spacing
    header.ImageOrientationPatient = [_number(value) for value in direction[:, :2].T.ravel()]
    header.PixelSpacing = [_number(y), _number(x)]  # between rows first
    header.SliceThickness = header.SpacingBetweenSlices = _number(z)


def _write_slice(header: Any, grid: Grid, index: int, plane: np.ndarray, path: Path) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    position = grid.index_to_world @ (0, 0, index, 1)
    normal = np.reshape(grid.direction, (3, 3))[:, 2]
    slice_ = copy.copy(header)
    slice_.SOPInstanceUID = generate_uid()
    slice_.InstanceNumber = index + 1
    slice_.ImagePositionPatient = [_number(value) for value in position[:3]]
    slice_.SliceLocation = _number(float(position[:3] @ normal))
    slice_.PixelData = plane.tobytes()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = slice_.SOPClassUID
    meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_.file_meta = meta
    buffer = io.BytesIO()  # pydicom wraps what goes wrong on the disk into words of its own
    slice_.save_as(buffer, enforce_file_format=True)
    with path.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def _number(value: float) -> str:
    """A decimal string of at most 16 characters, as precise as that allows."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value) + 0.0)  # no minus before zero


def _put_in_place(aside: Path, folder: Path) -> None:
    """Rename the finished folder; an earlier export goes only once the new one is whole."""
    if not folder.exists():
        aside.rename(folder)
        return
    old = folder.with_name(f"{aside.name}.old")
    folder.rename(old)
    try:
        aside.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _in_words(folder: Path, error: OSError) -> UserError:
    free = ""
    if error.errno == errno.ENOSPC and folder.parent.is_dir():
        free = f"{shutil.disk_usage(folder.parent).free / 1e6:.0f} MB are free there. "
    return UserError(
        f"{folder} cannot be written.", f"{error.strerror or error}.", f"{free}Choose another folder or make room."
    )
