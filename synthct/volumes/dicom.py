"""Read a DICOM series: which ones a folder holds, and one of them as a volume at right angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.geometry import image_from_array
from synthct.volumes.hu import AIR_HU
from synthct.volumes.stack import Stack, upright

_TAGS = [
    "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "InstanceNumber", "Rows", "Columns",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "ImageOrientationPatient", "ImagePositionPatient",
    "PixelSpacing", "RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation",
]  # fmt: skip
_NO_VOLUMES = {"RTDOSE", "RTIMAGE", "RTSTRUCT", "RTPLAN", "SEG", "PR", "KO", "SR", "REG"}


@dataclass(frozen=True)
class SeriesInfo:
    """One series of images in a folder.

    Attributes
    ----------
    uid
        SeriesInstanceUID.
    modality, description
        As written by the scanner; ``"?"`` and ``""`` where missing.
    count
        Number of images; a file that is there twice counts once.
    files
        Their paths, in no particular order.
    """

    uid: str
    modality: str
    description: str
    count: int
    files: tuple[Path, ...]
    headers: tuple[Any, ...] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.uid} ({self.modality}, {self.description or 'no description'}, {self.count} images)"


def list_series(folder: Path | str) -> list[SeriesInfo]:
    """List the image series in a folder and its subfolders, by modality, description and UID.

    Structure sets, plans, doses, segmentations and files that are not DICOM are left out.

    Raises
    ------
    UserError
        When the folder does not exist.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.", todo="Give the folder that holds the DICOM files.")
    found: dict[str, dict[str, tuple[Path, Any]]] = {}
    for path in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            uid, modality = str(header.get("SeriesInstanceUID", "")), header.get("Modality")
            if not uid or "Rows" not in header or modality in _NO_VOLUMES:
                continue
            instance = f"{header.get('SOPInstanceUID', path)} {header.get('ImagePositionPatient')}"  # some UIDs repeat
            found.setdefault(uid, {}).setdefault(instance, (path, header))
        except (InvalidDicomError, OSError, ValueError, KeyError, AttributeError, EOFError):
            continue
    series = []
    for uid, instances in found.items():
        files, headers = zip(*instances.values(), strict=True)
        first = headers[0]
        modality, description = str(first.get("Modality") or "?"), str(first.get("SeriesDescription") or "").strip()
        series.append(SeriesInfo(uid, modality, description, len(files), files, headers))
    return sorted(series, key=lambda info: (info.modality, info.description, info.uid))


def header_values(path: Path, *tags: str) -> tuple[str, ...]:
    """Return what a DICOM file, or the first one in a folder, says under each tag; "" where nothing is said."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(tags))
        except (OSError, InvalidDicomError):
            continue
        return tuple(str(header.get(tag) or "") for tag in tags)
    return ("",) * len(tags)


def read_series(
    folder: Path | str, uid: str | None = None, uneven: str = "refuse", events: Events = SILENT
) -> sitk.Image:
    """Read one series as a volume: slices sorted along their normal, rescale slope and intercept applied.

    A gantry tilt (slices shifted against each other within their plane) is corrected: every slice is shifted back
    onto a grid at right angles, which keeps the planes of the slices.

    Parameters
    ----------
    folder
        Folder, searched with its subfolders.
    uid
        SeriesInstanceUID; None: the only series there is.
    uneven
        Slices at uneven distances or missing ones: ``"refuse"``, or ``"interpolate"`` between the neighbours onto the
        smallest usual distance.
    events
        Hears a warning when a tilt or uneven distances were corrected.

    Returns
    -------
    SimpleITK.Image
        CT: int16 HU. Else int16 where the values fit, int32, or float32 for a rescale slope that is no whole number.

    Raises
    ------
    UserError
        No or several series, missing or doubled slices, mixed sizes or orientations, colour, MONOCHROME1,
        multi-frame, damaged pixels.
    """
    if uneven not in ("refuse", "interpolate"):
        raise UserError(f"The option `uneven` cannot be {uneven}.", "It is refuse or interpolate.")
    series = choose_series(folder, uid)
    name = f"The DICOM series {series} in {folder}"
    _check_headers(series, name)
    first = series.headers[0]
    rows, columns = (np.array(first.ImageOrientationPatient[start : start + 3], float) for start in (0, 3))
    positions = np.array([header.ImagePositionPatient for header in series.headers], float)
    along = np.argsort(positions @ np.cross(rows, columns), kind="stable")
    row_distance, column_distance = (float(value) for value in first.PixelSpacing)
    stack = Stack(
        positions=positions[along],
        directions=np.stack([rows, columns]),
        spacing=(column_distance, row_distance),
        size=(int(first.Columns), int(first.Rows)),
        labels=tuple(series.files[index].name for index in along),
    )
    distance = stack.check(name, uneven)
    array = _pixels(series, along.tolist())
    outside = float(AIR_HU) if series.modality == "CT" else 0.0
    if distance is not None and stack.largest_shift_mm < 0.01:
        return image_from_array(array, stack.grid(distance))
    events.warning(*stack.remark(series.description or series.uid))
    array, grid = upright(array, stack, distance, outside)
    return image_from_array(array, grid)


def choose_series(folder: Path | str, uid: str | None = None) -> SeriesInfo:
    """Return the series of a folder with this UID; None: the only one there is.

    Raises
    ------
    UserError
        None or several; the message lists them.
    """
    folder = Path(folder).expanduser()
    found = list_series(folder)
    if not found:
        raise UserError(
            f"The folder {folder} holds no DICOM images.",
            "No file in it or in its subfolders is a DICOM slice.",
            "Give the folder of the series, or an image file.",
        )
    listed = "; ".join(str(info) for info in found)
    if uid is None and len(found) > 1:
        raise UserError(
            f"The folder {folder} holds {len(found)} DICOM series.",
            f"They are: {listed}.",
            "Choose one by its UID (--series UID), or give a folder with one series.",
        )
    chosen = [info for info in found if uid is None or info.uid == uid]
    if not chosen:
        raise UserError(f"The folder {folder} holds no DICOM series {uid}.", f"It holds: {listed}.", "Choose one.")
    return chosen[0]


def _check_headers(series: SeriesInfo, name: str) -> None:
    """Refuse what cannot be one stack of scalar slices."""
    first = series.headers[0]
    for path, header in zip(series.files, series.headers, strict=True):
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise UserError(
                f"{name} is multi-frame (enhanced DICOM): {path.name} holds {header.NumberOfFrames} frames.",
                "Only one slice per file is read.",
                "Convert it to NIfTI (dcm2niix, or Slicer) and give that.",
            )
        if int(header.get("SamplesPerPixel") or 1) > 1:
            raise UserError(f"{name} is in colour ({path.name}).", "Intensities are needed.", "Choose another series.")
        if str(header.get("PhotometricInterpretation", "")) != "MONOCHROME2":
            raise UserError(
                f"{name} is stored as {header.get('PhotometricInterpretation')} ({path.name}).",
                "CT and MR volumes are MONOCHROME2; this is a picture or an inverted image.",
                "Choose another series.",
            )
        for key, length in (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3), ("PixelSpacing", 2)):
            value = header.get(key)
            if value is None or len(value) != length:
                raise UserError(
                    f"{name} does not say where {path.name} lies ({key}).",
                    "It is no volume.",
                    "Export the series again, or take that file out of the folder if it is a localiser.",
                )
        if min(float(value) for value in header.PixelSpacing) <= 0:
            raise UserError(
                f"{name} has a pixel spacing of {header.PixelSpacing} mm in {path.name}.",
                "Both numbers must be above zero.",
                "Export the series again.",
            )
        same = (
            (header.Rows, header.Columns) == (first.Rows, first.Columns)
            and np.allclose(np.array(header.PixelSpacing, float), np.array(first.PixelSpacing, float), atol=1e-4)
            and np.allclose(
                np.array(header.ImageOrientationPatient, float),
                np.array(first.ImageOrientationPatient, float),
                atol=1e-4,
            )
        )
        if not same:
            raise UserError(
                f"{name} mixes slices of different size, spacing or orientation ({series.files[0].name}, {path.name}).",
                "They do not form one stack (a localiser, perhaps).",
                "Put the slices of one stack into a folder of their own.",
            )
    if series.count < 2:
        raise UserError(f"{name} is a single slice.", "A volume is needed.", "Give the whole series.")
    axes = np.reshape(np.array(first.ImageOrientationPatient, float), (2, 3))
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise UserError(f"{name} has slices whose rows and columns are not at right angles.")


def _plane(header: Any) -> np.ndarray:
    """What all slices of a stack share: size, spacing, orientation."""
    values = [header.Rows, header.Columns, *header.PixelSpacing, *header.ImageOrientationPatient]
    return np.array(values, float)


def _pixels(series: SeriesInfo, along: Sequence[int]) -> np.ndarray:
    """Values of all slices in the given order, shape (z, y, x)."""
    kind = _kind(series)
    first = series.headers[0]
    array = np.empty((series.count, int(first.Rows), int(first.Columns)), kind)
    for place, index in enumerate(along):
        path = series.files[index]
        try:
            plane = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
        except RuntimeError as error:
            raise UserError(
                f"The DICOM slice {path} is truncated or cannot be decoded.", todo="Copy or export the series again."
            ) from error
        if plane.shape != array.shape[1:]:
            raise UserError(f"The DICOM slice {path} is not of the size its header says.", todo="Export it again.")
        if array.dtype.kind == "i":
            limits = np.iinfo(array.dtype)
            array[place] = np.clip(np.rint(plane), limits.min, limits.max) if plane.dtype != array.dtype else plane
        else:
            array[place] = plane
    return array


def _kind(series: SeriesInfo) -> type[np.generic]:
    """Pixel type that holds every rescaled value: int16 for CT always."""
    if series.modality == "CT":
        return np.int16
    low, high = 0.0, 0.0
    for header in series.headers:
        slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
        if not (slope.is_integer() and intercept.is_integer()):
            return np.float32
        bits, signed = int(header.get("BitsStored") or 16), bool(header.get("PixelRepresentation") or 0)
        stored = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        ends = [slope * value + intercept for value in stored]
        low, high = min(low, *ends), max(high, *ends)
    return np.int16 if low >= -32768 and high <= 32767 else np.int32
