"""Read a volume from a file or a DICOM folder, or say why it cannot be used."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from synthct.errors import UserError


def read_image(path: Path | str, series: str | None = None) -> sitk.Image:
    """Read one 3D scalar volume: NIfTI, NRRD, MetaImage, or a folder of DICOM slices.

    Parameters
    ----------
    path
        File or folder.
    series
        SeriesInstanceUID to take from a folder that holds several.

    Returns
    -------
    SimpleITK.Image
        3D, scalar, LPS, in the pixel type of the file.

    Raises
    ------
    UserError
        Naming the file, what is wrong with it and what to do.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"{path} does not exist.", todo="Check the path.")
    if path.is_dir():
        from synthct.volumes.dicom import read_series

        return read_series(path, series)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read as an image.") from error
