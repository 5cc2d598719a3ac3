"""Does an image lie where a DICOM series lies?"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import Events
from synthct.volumes.dicom import SeriesInfo
from synthct.volumes.geometry import grid_of

_LATTICE = 9
_LEAST_OVERLAP, _USUAL_OVERLAP = 0.5, 0.95


def check_place(image: sitk.Image, source: SeriesInfo, where: str, events: Events) -> None:
    """Refuse an image that does not lie where the MR lies: it would be planned on in the wrong place.

    Parameters
    ----------
    image
        3D image, LPS.
    source
        The MR's series; a multi-frame one cannot be checked, which is said as a warning.
    where
        Its folder, for messages.
    events
        Hears when the two share less of their space than usual.

    Raises
    ------
    UserError
        When neither holds at least half of the other.
    """
    box = _box(source)
    if box is None:
        events.warning(f"Whether the image lies on the MR was not checked: {where} is no stack of single slices.")
        return
    axes, low, high = box
    share = (np.arange(_LATTICE) + 0.5) / _LATTICE  # cells of equal volume
    lattice = np.stack(np.meshgrid(share, share, share, indexing="ij"), axis=-1).reshape(-1, 3)
    to_world = grid_of(image).index_to_world
    last = np.array(image.GetSize()) - 1
    image_points = lattice * last @ to_world[:3, :3].T + to_world[:3, 3]
    mr_points = (low + lattice * (high - low)) @ axes
    along = image_points @ axes.T
    index = (mr_points - to_world[:3, 3]) @ np.linalg.inv(to_world[:3, :3]).T
    overlap = max(
        float(((along >= low - 1e-3) & (along <= high + 1e-3)).all(axis=1).mean()),
        float(((index >= -0.5) & (index <= last + 0.5)).all(axis=1).mean()),
    )
    if overlap < _LEAST_OVERLAP:
        raise UserError(
            f"The image does not lie on the MR {source} in {where}.",
            f"They share {overlap:.0%} of their space.",
            "Give the MR that the synthetic CT was made from, or none.",
        )
    if overlap < _USUAL_OVERLAP:
        events.warning(f"The image and the MR share only {overlap:.0%} of their space.", todo="Check that they match.")


def _box(source: SeriesInfo) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Axes of the MR's slices (rows of a 3×3 matrix), and its lowest and highest voxel centres along them in LPS mm."""
    first = source.headers[0]
    keys = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
    if any(header.get(key) is None for header in source.headers for key in keys):
        return None
    rows, columns = np.reshape(np.array(first.ImageOrientationPatient, float), (2, 3))
    axes = np.stack([rows, columns, np.cross(rows, columns)])
    starts = np.array([header.ImagePositionPatient for header in source.headers], float) @ axes.T
    size = np.array([first.Columns - 1, first.Rows - 1, 0]) * [float(n) for n in (*reversed(first.PixelSpacing), 0)]
    return axes, starts.min(axis=0), starts.max(axis=0) + size
