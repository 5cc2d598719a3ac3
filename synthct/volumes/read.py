"""Read a volume from a file or a DICOM folder, or say why it cannot be used."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.geometry import Grid, grid_of, grid_of_matrix
from synthct.volumes.nifti import grid_of_header, is_gzip, is_nifti, read_header, read_nifti

_FORMATS = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a folder of DICOM slices"
_READERS = ("NrrdImageIO", "MetaImageIO", "NiftiImageIO")


def read_image(
    path: Path | str,
    series: str | None = None,
    uneven: str = "refuse",
    events: Events = SILENT,
    single_slice: bool = False,
    finite: bool = True,
) -> sitk.Image:
    """Read one 3D scalar volume: NIfTI, NRRD, MetaImage, or a folder of DICOM slices.

    Parameters
    ----------
    path
        File or folder.
    series
        SeriesInstanceUID to take from a folder that holds several.
    uneven
        What to do with DICOM slices at uneven distances: ``"refuse"`` or ``"interpolate"``.
    events
        Hears warnings (sform and qform disagree, gantry tilt corrected).
    single_slice
        Whether a file may hold one slice alone, as a patch does.
    finite
        Refuse a file with values that are no numbers; False: the caller deals with them.

    Returns
    -------
    SimpleITK.Image
        3D, scalar, LPS, axes at right angles, every value finite unless told otherwise, in the pixel type of the file.

    Raises
    ------
    UserError
        Naming the file, what is wrong with it and what to do.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        from synthct.volumes.dicom import read_series

        return read_series(path, series, uneven, events)
    if not path.exists():
        raise UserError(f"{path} does not exist.", todo="Check the path.")
    start = _start(path)
    if is_nifti(start):
        image = read_nifti(path, events)
    elif start[128:132] == b"DICM":
        raise UserError(f"{path} is a single DICOM file.", "A whole series is needed.", "Give the folder it lies in.")
    else:
        image = _read_with_itk(path, start)
    _check_size(image, path, single_slice)
    if finite:
        _check_finite(image, path)
    return image


class Slices:
    """The slices of a NIfTI file, read one at a time as they are asked for.

    ``slices[k]`` is plane ``k`` along the file's third axis, shape (y, x), in real units (slope and intercept
    applied; never float64). A ``.nii.gz`` is read forwards fast and backwards slowly.

    Attributes
    ----------
    grid
        Where the whole volume lies.
    """

    def __init__(self, voxels: Any, grid: Grid) -> None:
        self._voxels = voxels
        self.grid = grid

    def __len__(self) -> int:
        return self.grid.size[2]

    def __getitem__(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        plane = np.asarray(self._voxels[:, :, index % len(self)]).reshape(self.grid.size[:2]).T
        return plane.astype(np.float32) if plane.dtype == np.float64 else plane


def open_slices(path: Path | str) -> Slices:
    """Open a NIfTI file so that slices can be read without loading the volume (nibabel's array proxy).

    Raises
    ------
    UserError
        When it is missing, or what `read_image` refuses by its header.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path} does not exist.", todo="Check the path.")
    if not is_nifti(_start(path)):
        raise UserError(f"{path} is not a NIfTI image.", "Slices are read one by one from NIfTI only.")
    grid = grid_of_header(read_header(path), path)
    import nibabel

    return Slices(nibabel.Nifti1Image.from_filename(path, keep_file_open=True).dataobj, grid)


def _start(path: Path) -> bytes:
    """First bytes of a file, unzipped."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
        if not start:
            raise UserError(f"{path} is empty.", "The file has no bytes.", "Copy or export it again.")
        if is_gzip(start):
            with gzip.open(path) as packed:
                start = packed.read(4096)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is truncated or damaged.", "It cannot be unzipped.", "Copy it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be opened.", f"{error.strerror}.", "Check that you may read it.") from error
    return start


def _read_with_itk(path: Path, start: bytes) -> sitk.Image:
    """Read NRRD, MetaImage or a NIfTI pair; what ITK says in C++ is put into words."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    kind = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    if not kind or (kind not in _READERS and b"\0" not in start):
        raise UserError(f"{path} is not an image.", f"Expected {_FORMATS}.", "Check the file.")
    if kind not in _READERS:
        raise UserError(
            f"{path} is an image without a place in space ({kind.removesuffix('ImageIO')}).", f"Expected {_FORMATS}."
        )
    spacing = (
        re.search(rb"^\s*Element(?:Spacing|Size)\s*=(.*)$", start, re.MULTILINE) if kind == "MetaImageIO" else None
    )
    if spacing and any(_number(word) <= 0 for word in spacing.group(1).split()):
        raise UserError(  # ITK turns a negative one into a mirrored axis
            f"{path} has a spacing of {spacing.group(1).decode(errors='replace').strip()} mm.",
            "Each must be above zero.",
            "Correct the header or export the image again.",
        )
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
        _check_kind(reader, path)
        image = reader.Execute()
    except RuntimeError as error:
        raise _in_words(path, str(error)) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    if image.GetDimension() == 3:
        grid = grid_of(image)
        image.SetDirection(grid_of_matrix(grid.index_to_world, grid.size, str(path)).direction)
    return image


def _check_kind(reader: sitk.ImageFileReader, path: Path) -> None:
    """Refuse by the header, before the voxels are read."""
    size = reader.GetSize()
    if reader.GetNumberOfComponents() > 1:
        raise UserError(
            f"{path} has {reader.GetNumberOfComponents()} numbers per voxel (colour or vectors).",
            "A volume with one number per voxel is needed.",
            "Export the intensities alone.",
        )
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise UserError(f"{path} holds complex numbers.", "Intensities are needed.", "Export the magnitude.")
    if len(size) > 3 and any(n > 1 for n in size[3:]):
        raise UserError(
            f"{path} has {len(size)} dimensions ({'×'.join(map(str, size))}).",
            "A single 3D volume is needed.",
            "Extract one time point and try again.",
        )


def _in_words(path: Path, text: str) -> UserError:
    """What an ITK exception means to somebody who does not read C++."""
    again = "Copy or export it again."
    if "ero-valued spacing" in text or "Negative spacing" in text:
        return UserError(f"{path} has a spacing of zero or less.", "Each must be above zero.", again)
    if "determinant is 0" in text:
        return UserError(f"{path} has a singular direction matrix.", "Two of its axes run the same way.", again)
    if "orthonormal" in text:
        return UserError(
            f"{path} is sheared.", "Its axes are not at right angles.", "Resample it onto an upright grid."
        )
    if any(hint in text for hint in ("expected", "fread", "cannot be read", "inflate", "ncompress", "File cannot")):
        return UserError(f"{path} is truncated or damaged.", "The file ends before its last voxel.", again)
    return UserError(f"{path} cannot be read.", f"Its header is not that of a volume. Expected {_FORMATS}.", again)


def _check_size(image: sitk.Image, path: Path, single_slice: bool) -> None:
    size = image.GetSize()
    if len(size) < 3 or min(size[:2] if single_slice else size) < 2:
        raise UserError(
            f"{path} is a single slice ({'×'.join(map(str, size))} voxels).",
            "A volume with at least two voxels along each axis is needed.",
            "Give the whole stack of slices.",
        )


def _check_finite(image: sitk.Image, path: Path) -> None:
    view = sitk.GetArrayViewFromImage(image)
    if view.dtype.kind != "f":
        return
    bad = sum(int(plane.size - np.count_nonzero(np.isfinite(plane))) for plane in view)
    if bad:
        raise UserError(
            f"{path} holds {bad} voxels that are no numbers (NaN or infinite).",
            "They would spread through every result.",
            "Replace them (by air or 0) and try again.",
        )


def _number(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return 1.0
