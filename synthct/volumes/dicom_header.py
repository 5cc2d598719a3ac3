"""What the header of an exported CT slice says: the MR's patient and study, our equipment, and nothing invented."""

from __future__ import annotations

import unicodedata
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

from synthct import __version__
from synthct.errors import UserError
from synthct.events import Events

NOTICE = "synthetic, not for diagnosis"
_IDENTITY = (
    "StudyInstanceUID", "FrameOfReferenceUID", "SpecificCharacterSet",
    "PatientName", "PatientID", "IssuerOfPatientID", "AccessionNumber",
)  # fmt: skip
"""Copied letter by letter even where the MR breaks the standard's rules: archives match by these."""
_COPIED = (
    "PatientBirthDate", "PatientBirthTime", "PatientSex", "PatientAge", "PatientSize", "PatientWeight",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "StudyDate", "StudyTime", "StudyID", "StudyDescription",
    "ReferringPhysicianName", "BodyPartExamined", "Laterality", "PatientPosition", "PositionReferenceIndicator",
)  # fmt: skip
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber", "PositionReferenceIndicator", "PatientPosition", "Laterality", "KVP",
    "AcquisitionNumber",
)  # fmt: skip
"""Type 2 or 2C in the CT Image object: must be there, and empty where unknown."""
_DESCRIPTION_LENGTH = 64
_SERIES_AFTER = 1000


def series_header(like: Path | None, model_name: str, note: str, events: Events) -> Any:
    """Return a pydicom Dataset with everything that all slices of a new CT series share, but geometry and pixels.

    Parameters
    ----------
    like
        One DICOM file of the MR whose patient, study and frame of reference are taken over; None: placeholders.
    model_name
        Named in the series description; shortened where it does not fit.
    note
        Added to the derivation description.
    events
        Hears what was left out of the MR's header, or that placeholders stand in it.

    Raises
    ------
    UserError
        When the MR's header cannot be read or names no study.
    """
    from pydicom.uid import CTImageStorage, generate_uid

    now = datetime.now()
    header = _placeholders(now, events) if like is None else _copied(like, events)
    model = _plain(model_name) or "unnamed model"
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    origin = "Patient, study and frame of reference are placeholders." if like is None else "Computed from an MR."
    values = {
        "SOPClassUID": CTImageStorage,
        "SeriesInstanceUID": generate_uid(),
        "Modality": "CT",
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "SeriesDescription": _description(model),
        "DerivationDescription": _plain(
            f"Synthetic CT by SyntheticCT {__version__}, model {model}. {origin} {note} "
            f"Research software, no medical device: {NOTICE}."
        )[:1024],
        "Manufacturer": "SyntheticCT",
        "ManufacturerModelName": "SyntheticCT",
        "SoftwareVersions": __version__,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "SeriesDate": now.strftime("%Y%m%d"),
        "SeriesTime": now.strftime("%H%M%S"),
        "ContentDate": now.strftime("%Y%m%d"),
        "ContentTime": now.strftime("%H%M%S"),
        "InstanceCreationDate": now.strftime("%Y%m%d"),
        "InstanceCreationTime": now.strftime("%H%M%S"),
    }
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


def _copied(path: Path, events: Events) -> Any:
    """Take the patient, study and frame of reference from a file; private elements never."""
    import pydicom
    from pydicom.config import RAISE
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import generate_uid
    from pydicom.valuerep import validate_value

    header, left_out = pydicom.Dataset(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong in the MR's header is said below
        try:
            keywords = [*_IDENTITY, *_COPIED, "SeriesNumber"]
            mr = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords)
            mr.remove_private_tags()
            mr.decode()
        except (InvalidDicomError, OSError, ValueError, LookupError, AttributeError) as error:
            raise UserError(f"The header of {path} cannot be read.", f"{error}.", "Export the MR again.") from error
        for keyword in keywords[:-1]:
            if keyword not in mr:
                continue
            element = mr[keyword]
            if element.is_empty and keyword not in _MAY_BE_EMPTY:
                continue
            try:
                if keyword not in _IDENTITY and element.VR != "SQ" and not element.is_empty:
                    for value in element.value if element.VM > 1 else [element.value]:
                        validate_value(element.VR, value if element.VR == "PN" else str(value), RAISE)
            except ValueError:
                left_out.append(keyword)
                continue
            header[keyword] = element
        number = str(mr.get("SeriesNumber", "") or 0)
    header.SeriesNumber = int(number) + _SERIES_AFTER if number.isdecimal() and len(number) < 9 else _SERIES_AFTER
    if not header.get("StudyInstanceUID"):
        raise UserError(f"{path} names no study.", "StudyInstanceUID is missing.", "Export the MR again.")
    if left_out:
        events.warning(
            f"Not taken over from the MR's header: {', '.join(left_out)}.", "Their values break DICOM's rules."
        )
    if not header.get("FrameOfReferenceUID"):
        header.FrameOfReferenceUID = generate_uid()
        events.warning(
            "The MR names no frame of reference; the CT gets a new one.",
            "A planning system will not overlay the two by itself.",
        )
    if not header.get("PatientPosition"):
        events.warning("The MR does not say how the patient lies (PatientPosition); it is left empty.")
    return header


def _placeholders(now: datetime, events: Events) -> Any:
    import pydicom
    from pydicom.uid import generate_uid

    header = pydicom.Dataset()
    header.StudyInstanceUID = generate_uid()
    header.FrameOfReferenceUID = generate_uid()
    header.PatientName = "SYNTHETIC^CT"
    header.PatientID = f"SYNTHETIC-{header.StudyInstanceUID[-12:]}"
    header.PatientComments = "Placeholder patient and study, made by SyntheticCT"
    header.StudyDate, header.StudyTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    header.StudyID = "1"
    header.StudyDescription = "Placeholder study by SyntheticCT"
    header.PatientPosition = "HFS"
    header.SeriesNumber = 1
    events.warning(
        "The DICOM series stands alone: patient, study and frame of reference are placeholders.",
        f"Patient ID {header.PatientID}, patient position HFS (head first, supine) assumed.",
        "Give the MR's DICOM folder (--like) to have its own.",
    )
    return header


def _description(model: str) -> str:
    room = _DESCRIPTION_LENGTH - len(f"sCT  ({NOTICE})")
    return f"sCT {model[:room].rstrip()} ({NOTICE})"


def _plain(text: str) -> str:
    """Letters that every character set has; DICOM's separator is none of them."""
    for letter, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("−", "-"), ("\\", "/")):
        text = text.replace(letter, plain)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())
