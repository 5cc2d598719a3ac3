"""A small made-up LIDC scan: CT slices as DICOM, outlines drawn by hand, annotation files written in every manner."""

import sqlite3

import numpy as np

from synthct.labels.lidc.marks import CHARACTERISTICS

SERIES = "1.2.3"
SIZE = (40, 32)
"""Columns and rows."""
SPACING, STEP, LOWEST = 0.5, 2.0, -110.0
SLICES = 10


def sop_uid(k):
    """UID of slice k, counted from the feet."""
    return f"{SERIES}.{k + 1}"


def z_of(k):
    return LOWEST + STEP * k


def write_slice(folder, k, plane, series=SERIES, uid=None, modality="CT", **changes):
    """Write a CT slice; file names and instance numbers run from head to feet."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid or sop_uid(k)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": series,
        "FrameOfReferenceUID": "1.2.9",
        "Modality": modality,
        "InstanceNumber": SLICES - k,
        "Rows": plane.shape[0],
        "Columns": plane.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "ImagePositionPatient": [-20.0, -30.0, z_of(k)],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [SPACING, SPACING],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        **changes,
    }
    for name, value in values.items():
        setattr(data, name, value)
    data.PixelData = np.ascontiguousarray(plane).tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{SLICES - k:03d}.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


def write_ct(folder, **changes):
    """Write the CT: every pixel says where it is (slice, row, column)."""
    for k in range(SLICES):
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        write_slice(folder, k, (100 * k + 40 * (y % 3) + x).astype(np.int16), **changes)
    return folder


def square(x, y, width, height=None):
    """The outline round an area of width × height pixels whose first pixel is (x, y): one pixel further out."""
    height = width if height is None else height
    xs, ys = range(x - 1, x + width + 1), range(y - 1, y + height + 1)
    top, right = [(a, ys[0]) for a in xs], [(xs[-1], b) for b in ys[1:]]
    bottom, left = [(a, ys[-1]) for a in reversed(xs[:-1])], [(xs[0], b) for b in reversed(ys[:-1])]
    return [*top, *right, *bottom, *left]


def roi(k, points, inclusion=True, uid=True, z=True):
    """One outline; ``uid`` and ``z`` may be left out (False) or given in place of the right ones."""
    text = f"<inclusion>{'TRUE' if inclusion else 'FALSE'}</inclusion>"
    if z is not False:
        text += f"<imageZposition>{z_of(k) if z is True else z} </imageZposition>"
    if uid is not False:
        text += f"<imageSOP_UID>{sop_uid(k) if uid is True else uid}</imageSOP_UID>"
    pixels = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return f"<roi>{text}{pixels}</roi>"


def nodule(name, *rois, malignancy=3, ratings=True):
    block = ""
    if ratings:
        block = f"<characteristics><subtlety>5</subtlety><malignancy>{malignancy}</malignancy></characteristics>"
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{block}{''.join(rois)}</unblindedReadNodule>"


def non_nodule(name, k, x, y):
    return (
        f"<nonNodule><nonNoduleID>{name}</nonNoduleID><imageZposition>{z_of(k)}</imageZposition>"
        f"<imageSOP_UID>{sop_uid(k)}</imageSOP_UID><locus><xCoord>{x}</xCoord><yCoord>{y}</yCoord></locus></nonNodule>"
    )


def write_xml(path, *sessions, series=SERIES, namespace=' xmlns="http://www.nih.gov"', root="LidcReadMessage"):
    """Write an annotation file; a session is the text of one reader's marks."""
    readings = "".join(
        f"<readingSession><annotationVersion>3.12</annotationVersion>{session}</readingSession>" for session in sessions
    )
    header = f"<ResponseHeader><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>" if series else ""
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{namespace}>{header}{readings}</{root}>')
    return path


def write_database(path, *marks, scans=((1, SERIES, "LIDC-IDRI-9999"),)):
    """Write a database; a mark is (scan, malignancy, [(slice, points, inclusion), …])."""
    with sqlite3.connect(path) as connection:
        ratings = ", ".join(f'"{name}" INTEGER' for name in CHARACTERISTICS)
        connection.execute("CREATE TABLE scans (id INTEGER, series_instance_uid VARCHAR, patient_id VARCHAR)")
        connection.execute(f"CREATE TABLE annotations (id INTEGER, scan_id INTEGER, _nodule_id VARCHAR, {ratings})")
        connection.execute(
            "CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id INTEGER, inclusion BOOLEAN, "
            "image_z_position FLOAT, coords VARCHAR)"
        )
        connection.executemany("INSERT INTO scans VALUES (?, ?, ?)", scans)
        for key, (scan, malignancy, outlines) in enumerate(marks, start=10):
            rated = [5] * (len(CHARACTERISTICS) - 1) + [malignancy]
            connection.execute(
                f"INSERT INTO annotations VALUES (?, ?, ?{', ?' * len(rated)})", (key, scan, "n", *rated)
            )
            for k, points, inclusion in outlines:
                text = "\n".join(f"{x},{y}" for x, y in points)
                connection.execute(
                    "INSERT INTO contours (annotation_id, inclusion, image_z_position, coords) VALUES (?, ?, ?, ?)",
                    (key, inclusion, z_of(k), text),
                )
    connection.close()
    return path


def area(*boxes):
    """Voxels of boxes (k, y, x, height, width), bool (z, y, x): what a person counts from the drawing."""
    voxels = np.zeros((SLICES, SIZE[1], SIZE[0]), bool)
    for k, y, x, height, width in boxes:
        voxels[k, y : y + height, x : x + width] = True
    return voxels
