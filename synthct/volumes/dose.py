"""Dose volumes in Gy: DICOM RTDOSE, or an image whose unit is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import grid_of_matrix, image_from_array
from synthct.volumes.read import read_image

UNITS = {"gy": 1.0, "cgy": 0.01}
"""Gy of one unit."""


@dataclass(frozen=True)
class Dose:
    """A dose volume in Gy (float32), and whose it is; ids are empty where the file does not say."""

    image: sitk.Image
    name: str
    patient_id: str = ""
    frame_uid: str = ""
    summation: str = ""
    """DICOM's DoseSummationType: PLAN, BEAM, …"""


def read_dose(path: Path | str, unit: str | None = None) -> Dose:
    """Read a dose volume.

    Parameters
    ----------
    path
        An RTDOSE file, or NRRD, NIfTI or MetaImage.
    unit
        ``gy`` or ``cgy`` of an image that is not DICOM; RTDOSE says its own.

    Raises
    ------
    UserError
        Unreadable, a dose in percent, no unit, negative or not finite values, or uneven slices.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"The dose {path} does not exist.", todo="Give an RTDOSE file or an image of dose.")
    if _is_dicom(path):
        dose = _rtdose(path)
    else:
        if unit is None:
            raise UserError(
                f"The unit of {path} is not known.", "Only DICOM dose says its own.", "Add --unit gy or --unit cgy."
            )
        image = sitk.Cast(read_image(path), sitk.sitkFloat32) * UNITS[unit]
        dose = Dose(image, str(path))
    voxels = sitk.GetArrayViewFromImage(dose.image)
    if not np.isfinite(voxels).all() or voxels.min() < 0:
        raise UserError(f"{path} holds doses that are negative or not numbers.", todo="Export the dose again.")
    if voxels.max() == 0:
        raise UserError(f"{path} holds no dose.", "Every voxel is 0 Gy.", "Export the dose again.")
    return dose


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() == ".dcm"


def _rtdose(path: Path) -> Dose:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        data = pydicom.dcmread(path)
        if data.get("Modality") != "RTDOSE":
            raise UserError(f"{path} is no dose.", f"Its modality is {data.get('Modality')}.", "Give an RTDOSE file.")
        units = str(data.get("DoseUnits", ""))
        if units != "GY":
            said = f"They are {units}." if units else "None is said."
            raise UserError(f"The dose units of {path} are not Gy.", said, "Export absolute dose.")
        voxels = data.pixel_array.astype(np.float32) * np.float32(data.DoseGridScaling)
        voxels = voxels[None] if voxels.ndim == 2 else voxels
        image = _placed(voxels, data, path)
    except InvalidDicomError as error:
        raise UserError(f"{path} is not DICOM.", todo="Give an RTDOSE file.") from error
    except (AttributeError, KeyError, ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"The dose {path} is incomplete.", f"{error}.", "Export it again.") from error
    return Dose(
        image,
        str(path),
        str(data.get("PatientID") or ""),
        str(data.get("FrameOfReferenceUID") or ""),
        str(data.get("DoseSummationType") or ""),
    )


def _placed(voxels: np.ndarray, data: Any, path: Path) -> sitk.Image:
    """The voxels (frames, rows, columns) where position, orientation and frame offsets put them."""
    along_row, along_column = np.reshape([float(value) for value in data.ImageOrientationPatient], (2, 3))
    row_distance, column_distance = (float(value) for value in data.PixelSpacing)
    offsets = np.array([float(value) for value in data.get("GridFrameOffsetVector") or [0.0]])
    if len(offsets) != len(voxels):
        raise ValueError(f"{len(voxels)} frames have {len(offsets)} offsets")
    position = np.array([float(value) for value in data.ImagePositionPatient])
    normal = np.cross(along_row, along_column)
    if len(offsets) > 1 and offsets[0] != 0:
        offsets = offsets - float(position @ normal)  # the other form of the standard: positions, not differences
    steps = np.diff(offsets)
    if len(steps) and (np.ptp(steps) > 1e-3 or steps[0] == 0):
        raise UserError(
            f"The frames of {path} are not evenly spaced.",
            f"Their distances run from {steps.min():g} to {steps.max():g} mm.",
            "Export the dose on an even grid.",
        )
    step = float(steps[0]) if len(steps) else float(data.get("SliceThickness") or 1.0)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = along_row * column_distance, along_column * row_distance
    matrix[:3, 2], matrix[:3, 3] = normal * step, position + normal * offsets[0]
    if step < 0:
        voxels = voxels[::-1]
        matrix[:3, 3] += matrix[:3, 2] * (len(voxels) - 1)
        matrix[:3, 2] *= -1
    size = voxels.shape[::-1]
    return image_from_array(np.ascontiguousarray(voxels), grid_of_matrix(matrix, size, str(path)))
