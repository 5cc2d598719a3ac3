"""Read NIfTI without trusting what is wrong in it.

ITK fills the missing part of a truncated file with zeros, reads damaged gzip streams without a word, and refuses
directions that are rounded to four digits; so the header and the voxels are read here. Only NumPy and SimpleITK are
needed, as in Slicer. Layout: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and nifti2.h.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.geometry import Grid, grid_of_matrix, image_from_array

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_COLOUR, _COMPLEX = (128, 2304), (32, 1792, 2048)
_TO_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LARGEST_GZIP_RATIO = 1100
_NOTABLE_MM = 1.0


@dataclass(frozen=True)
class Header:
    """What matters of a NIfTI-1 or NIfTI-2 header.

    Attributes
    ----------
    shape
        Length of each dimension, x first; those of length 1 at the end are dropped down to three.
    kind
        NIfTI's data type code.
    order
        ``"<"`` or ``">"``: byte order of the file.
    start
        Byte at which the voxels begin.
    slope, intercept
        What turns stored values into real ones; slope 0 means as stored.
    pixdim
        Spacing of x, y, z in mm as written, and the sign that tells the handedness of the qform.
    qform, sform
        Index to LPS mm, 4×4, or None where the code is 0.
    """

    shape: tuple[int, ...]
    kind: int
    order: str
    start: int
    slope: float
    intercept: float
    pixdim: tuple[float, float, float]
    qform: np.ndarray | None
    sform: np.ndarray | None


def is_nifti(start: bytes) -> bool:
    """Whether the first 348 bytes (unzipped) are those of a single-file NIfTI."""
    return start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0"


def is_gzip(start: bytes) -> bool:
    """Whether a file that begins so is a gzip file."""
    return start[:2] == b"\x1f\x8b"


def read_header(path: Path) -> Header:
    """Read the header of a ``.nii`` or ``.nii.gz``.

    Raises
    ------
    UserError
        When the file is truncated or is no single-file NIfTI.
    """
    try:
        with _open(path) as file:
            raw = file.read(540)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path) from error
    if len(raw) < 348:
        raise _damaged(path)
    if not is_nifti(raw):
        raise UserError(f"{path} is not a NIfTI image.", todo="Export it again as NIfTI (one .nii or .nii.gz file).")
    return _parse(raw)


def read_nifti(path: Path, events: Events = SILENT) -> sitk.Image:
    """Read a 3D scalar NIfTI in the pixel type of the file (float32 where its scaling is not by whole numbers).

    The sform is used where there is one, else the qform, as nibabel and Slicer do; a disagreement of more than 1 mm,
    or neither, is reported as a warning.

    Raises
    ------
    UserError
        4-D, colour, complex, one slice, bad spacing, sheared or singular geometry, truncated or damaged.
    """
    header = read_header(path)
    grid = grid_of_header(header, path, events)
    return image_from_array(_scaled(_voxels(path, header), header), grid)


def grid_of_header(header: Header, path: Path, events: Events = SILENT) -> Grid:
    """Return the grid that a header describes, everything checked that can be without the voxels.

    Raises
    ------
    UserError
        As `read_nifti`.
    """
    shape = header.shape
    if header.kind in _COLOUR:
        raise UserError(f"{path} is a colour image.", "A volume with one number per voxel is needed.")
    if header.kind in _COMPLEX or header.kind not in _TYPES:
        raise UserError(
            f"{path} holds values of a kind that is not an intensity (NIfTI type {header.kind}).",
            todo="Export it as integers or floating-point numbers.",
        )
    if any(n < 1 for n in shape):
        raise UserError(f"{path} has a dimension without voxels.", f"Its header says {shape}.", "Export it again.")
    if len(shape) == 5 and shape[3] == 1:
        raise UserError(
            f"{path} has {shape[4]} numbers per voxel (colour or vectors).",
            "A volume with one number per voxel is needed.",
            "Export the intensities alone.",
        )
    if len(shape) > 3:
        raise UserError(
            f"{path} has {len(shape)} dimensions ({'×'.join(map(str, shape))}).",
            "A single 3D volume is needed.",
            "Extract one time point and try again.",
        )
    if any(not value > 0 or not np.isfinite(value) for value in header.pixdim):
        raise UserError(
            f"{path} has a spacing of {'×'.join(f'{value:g}' for value in header.pixdim)} mm.",
            "Each must be above zero.",
            "Correct the header or export the image again.",
        )
    forms = [form for form in (header.sform, header.qform) if form is not None]
    if not forms:
        events.warning(
            f"{path.name} does not say how it lies in space.",
            "Neither sform nor qform is set.",
            "Check left and right.",
        )
        forms = [np.diag([*header.pixdim, 1.0])]
    size = cast(tuple[int, int, int], shape)
    grid = grid_of_matrix(forms[0], size, str(path))
    if len(forms) == 2:
        corners = Grid(size, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel())).corners()
        difference = (forms[0] - forms[1])[:3] @ np.c_[corners, np.ones(8)].T
        shift = float(np.linalg.norm(difference, axis=0).max())
        if shift > _NOTABLE_MM:
            events.warning(
                f"{path.name} places itself in space in two ways.",
                f"Its sform and qform differ by up to {shift:.1f} mm.",
                "The sform is used, as Slicer and nibabel do; check that the image lies where it should.",
            )
    return grid


def _parse(raw: bytes) -> Header:
    second = raw[4:8] == b"n+2\0"
    order = "<" if struct.unpack_from("<i", raw, 0)[0] in (348, 540) else ">"

    def get(kind: str, first: int, other: int) -> tuple[float, ...]:
        return struct.unpack_from(order + kind, raw, other if second else first)

    real = "d" if second else "f"
    dim = get("8q" if second else "8h", 40, 16)
    shape = [int(n) for n in dim[1 : 1 + max(0, min(7, int(dim[0])))]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    shape += [1] * (3 - len(shape))
    units = _TO_MM.get(int(get("i" if second else "B", 123, 500)[0]) & 7, 1.0)
    pixdim = get("8" + real, 76, 104)
    codes = get("2i" if second else "2h", 252, 344)
    quaternion = get("6" + real, 256, 352)
    rows = get("12" + real, 280, 400)
    spacing = tuple(value * units for value in pixdim[1:4])
    qform = sform = None
    if codes[0] > 0:
        qform = np.eye(4)
        scale = np.array(spacing) * (1, 1, -1 if pixdim[0] < 0 else 1)
        qform[:3, :3] = _rotation(*quaternion[:3]) * scale
        qform[:3, 3] = np.array(quaternion[3:]) * units
        qform = _RAS_TO_LPS @ qform
    if codes[1] > 0:
        sform = np.eye(4)
        sform[:3] = np.reshape(rows, (3, 4)) * units
        sform = _RAS_TO_LPS @ sform
    slope, intercept = get("2" + real, 112, 176)
    return Header(
        tuple(shape),
        int(get("h", 70, 12)[0]),
        order,
        int(get("q" if second else "f", 108, 168)[0]),
        slope if np.isfinite(slope) else 0.0,
        intercept if np.isfinite(intercept) else 0.0,
        cast(tuple[float, float, float], spacing),
        qform,
        sform,
    )


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    """Rotation matrix of the unit quaternion whose vector part is (b, c, d) and whose scalar part is not negative."""
    length = b * b + c * c + d * d
    if length > 1:
        b, c, d = (value / np.sqrt(length) for value in (b, c, d))
    a = np.sqrt(max(0.0, 1 - length))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _voxels(path: Path, header: Header) -> np.ndarray:
    """Stored values, shape (z, y, x), read to the end of the stream so that its checksum is compared."""
    dtype = np.dtype(header.order + _TYPES[header.kind])
    expected = int(np.prod([int(n) for n in header.shape])) * dtype.itemsize
    with path.open("rb") as plain:
        packed = is_gzip(plain.read(2))
    room = path.stat().st_size * (_LARGEST_GZIP_RATIO if packed else 1)
    if header.start + expected > room:
        raise _damaged(path)
    array = np.empty(header.shape[::-1], dtype)
    buffer = array.reshape(-1).view(np.uint8).data
    try:
        with _open(path) as file:
            file.read(header.start)
            done = 0
            while done < expected:
                count = file.readinto(buffer[done : done + (1 << 24)])  # type: ignore[attr-defined]
                if not count:
                    raise _damaged(path)
                done += count
            while packed and file.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path) from error
    return array if array.dtype.isnative else array.astype(dtype.newbyteorder("="))


def _scaled(array: np.ndarray, header: Header) -> np.ndarray:
    """Apply slope and intercept; integers stay int16 where the result fits, else become float32."""
    slope, intercept = header.slope, header.intercept
    if slope == 0 or (slope, intercept) == (1, 0):
        return array
    if array.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = np.array([array.min(), array.max()], float) * slope + intercept
        if ends.min() >= -32768 and ends.max() <= 32767:
            out = np.empty(array.shape, np.int16)
            for index, plane in enumerate(array):
                out[index] = plane.astype(np.int64) * int(slope) + int(intercept)
            return out
    kind = np.float64 if array.dtype == np.float64 else np.float32
    out = np.multiply(array, kind(slope), dtype=kind)
    out += kind(intercept)
    return out


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    packed = is_gzip(file.read(2))
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path} is truncated or damaged.",
        "The file ends before its last voxel, or its checksum does not match.",
        "Copy or export it again.",
    )
