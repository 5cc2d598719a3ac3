"""Masks on a CT's grid from DICOM: the contours of a structure set (RTSTRUCT), the frames of a segmentation (SEG)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.labels.outlines import filled
from synthct.volumes.dicom import SeriesInfo
from synthct.volumes.geometry import Grid, array_of, grid_of, image_from_array, resample_onto

_OFF_SLICE = 0.5
"""A contour belongs to the slice within half a slice distance, and may lean by no more."""
_HALF = 0.5
"""A voxel of a fractional segmentation counts from this share on."""


@dataclass(frozen=True)
class Source:
    """A structure set or segmentation, opened.

    Attributes
    ----------
    name
        Of the file.
    data
        The DICOM data set.
    regions
        Names of the regions that have contours or frames, as they stand in the file; a name that occurs twice is
        followed by its number.
    numbers
        Their ROINumber or SegmentNumber.
    series_uid
        SeriesInstanceUID of the images it was drawn on, empty where it is not said.
    frame_uid
        FrameOfReferenceUID, empty where it is not said.
    """

    name: str
    data: Any
    regions: tuple[str, ...]
    numbers: tuple[int, ...]
    series_uid: str
    frame_uid: str


def open_source(path: Path | str) -> Source:
    """Open a structure set or segmentation and list its regions.

    Raises
    ------
    UserError
        Unreadable, neither of the two, or without any region.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    path = Path(path).expanduser()
    try:
        data = pydicom.dcmread(path)
        kind = data.get("Modality")
        if kind == "RTSTRUCT":
            named = _structures(data)
            series, frame = _references(data)
        elif kind == "SEG":
            named = _segments(data)
            series = next((str(item.SeriesInstanceUID) for item in data.get("ReferencedSeriesSequence", [])), "")
            frame = str(data.get("FrameOfReferenceUID", ""))
        else:
            raise UserError(
                f"{path.name} is no structure set or segmentation.", f"Its modality is {kind}.", "Give RTSTRUCT or SEG."
            )
    except InvalidDicomError as error:
        raise UserError(f"{path.name} is not DICOM.", todo="Give an RTSTRUCT or SEG file.") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read.", f"{error.strerror or error}.", "Give an RTSTRUCT or SEG file."
        ) from error
    except (AttributeError, KeyError, ValueError, EOFError) as error:
        raise UserError(f"{path.name} is incomplete.", f"{error}.", "Export it again.") from error
    if not named:
        raise UserError(f"{path.name} holds no region with contours or frames.", todo="Choose another file.")
    names = [name for name, _ in named]
    shown = tuple(f"{name} ({number})" if names.count(name) > 1 else name for name, number in named)
    return Source(path.name, data, shown, tuple(number for _, number in named), series, frame)


def masks_of(
    source: Source, grid: Grid | sitk.Image, regions: Sequence[str] = (), events: Events = SILENT
) -> tuple[sitk.Image, dict[str, int]]:
    """Draw regions onto a grid, one label each: 1 for the first, 2 for the second, ….

    Structure set: on each slice a voxel is in the region when its centre lies within an odd number of the slice's
    contours (a contour within another is a hole); there is no partial volume and nothing is interpolated between
    slices. Of contours on closer slices than the CT's, those nearest to a slice count. Segmentation: each voxel takes
    the value at its centre (nearest voxel; fractional ones count from 0.5 on), which is exact on the segmentation's
    own grid. A voxel of several regions gets the label of the first.

    Parameters
    ----------
    source
        From `open_source`.
    grid
        Of the CT.
    regions
        Names as in `Source.regions`; none: all.
    events
        Hears of regions that overlap, of slices that a region skips, and of what lies beyond the grid.

    Returns
    -------
    tuple
        Labels on the grid, uint8 (uint16 for more than 255 regions), and the label of each region.

    Raises
    ------
    UserError
        An unknown region (all are listed), contours that do not lie in the slices, a region without a voxel on the
        grid.
    """
    grid = grid if isinstance(grid, Grid) else grid_of(grid)
    wanted = list(dict.fromkeys(regions)) or list(source.regions)
    unknown = [name for name in wanted if name not in source.regions]
    if unknown:
        raise UserError(
            f"{source.name} has no region {', '.join(unknown)}.", f"It has: {', '.join(source.regions)}.", "Choose."
        )
    shape = (grid.size[2], grid.size[1], grid.size[0])
    labels = np.zeros(shape, np.uint8 if len(wanted) < 256 else np.uint16)
    draw = _drawn if source.data.Modality == "RTSTRUCT" else _placed
    for label, name in enumerate(wanted, start=1):
        number = source.numbers[source.regions.index(name)]
        try:
            inside = draw(source, name, number, grid, events)
        except (AttributeError, KeyError, ValueError, IndexError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{source.name}: the region {name} is incomplete.", f"{error}.", "Export it again."
            ) from error
        if not inside.any():
            raise UserError(
                f"{source.name}: the region {name} has no voxel on the CT.",
                "It lies outside the CT, or is smaller than its voxels.",
                "Give the series that it was drawn on, or leave it out.",
            )
        shared = int(np.count_nonzero(inside & (labels > 0)))
        if shared:
            events.warning(
                f"{source.name}: {shared} of {int(inside.sum())} voxels of {name} are in an earlier region too.",
                "They keep the earlier label.",
                "Write overlapping regions into masks of their own.",
            )
        labels[inside & (labels == 0)] = label
    return image_from_array(labels, grid), {name: label for label, name in enumerate(wanted, start=1)}


def check_frame(source: Source, frame_uid: str, events: Events = SILENT) -> None:
    """Refuse a source drawn in another frame of reference than the CT's.

    Raises
    ------
    UserError
        When both say which, and they differ: positions in mm mean another place there.
    """
    if not source.frame_uid or not frame_uid:
        events.warning(f"Whether {source.name} lies in the CT's frame of reference was not checked: one is not said.")
    elif source.frame_uid != frame_uid:
        raise UserError(
            f"{source.name} lies in another frame of reference than the CT.",
            f"{source.frame_uid} is not {frame_uid}.",
            "Give the series that it was drawn on.",
        )


def frame_of(series: SeriesInfo) -> str:
    """Return the FrameOfReferenceUID of a series, empty where it is not said."""
    import pydicom

    header = pydicom.dcmread(series.files[0], stop_before_pixels=True, specific_tags=["FrameOfReferenceUID"])
    return str(header.get("FrameOfReferenceUID") or "")


def _structures(data: Any) -> list[tuple[str, int]]:
    """Names and numbers of the structures with closed contours."""
    drawn = {
        int(item.ReferencedROINumber)
        for item in data.get("ROIContourSequence", [])
        if any(contour.get("ContourGeometricType") != "POINT" for contour in item.get("ContourSequence", []))
    }
    listed = [(str(item.get("ROIName", "")), int(item.ROINumber)) for item in data.get("StructureSetROISequence", [])]
    return [(name or f"ROI {number}", number) for name, number in listed if number in drawn]


def _segments(data: Any) -> list[tuple[str, int]]:
    return [
        (str(item.get("SegmentLabel", "")) or f"segment {item.SegmentNumber}", int(item.SegmentNumber))
        for item in data.get("SegmentSequence", [])
    ]


def _references(data: Any) -> tuple[str, str]:
    """SeriesInstanceUID and FrameOfReferenceUID of a structure set, empty where they are not said."""
    frame, series = "", ""
    for item in data.get("ReferencedFrameOfReferenceSequence", []):
        frame = frame or str(item.get("FrameOfReferenceUID", ""))
        for study in item.get("RTReferencedStudySequence", []):
            for referenced in study.get("RTReferencedSeriesSequence", []):
                series = series or str(referenced.get("SeriesInstanceUID", ""))
    return series, frame


def _drawn(source: Source, name: str, number: int, grid: Grid, events: Events) -> np.ndarray:
    """Voxels of a structure, bool (z, y, x)."""
    to_index = np.linalg.inv(grid.index_to_world)
    planes: dict[int, dict[float, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    sequence = next(item for item in source.data.ROIContourSequence if int(item.ReferencedROINumber) == number)
    beyond = others = 0
    for contour in sequence.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        kind = str(contour.get("ContourGeometricType", "CLOSED_PLANAR"))
        if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR") or len(points) < 3:
            others += 1
            continue
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        if np.ptp(index[:, 2]) > _OFF_SLICE:
            raise UserError(
                f"{source.name}: a contour of {name} does not lie in a slice of the CT.",
                f"It leans over {np.ptp(index[:, 2]):.1f} slices.",
                "Give the series that it was drawn on.",
            )
        height = float(index[:, 2].mean())
        plane = round(height)
        if 0 <= plane < grid.size[2]:
            planes[plane][round(height, 2)].append(index[:, :2])
        else:
            beyond += 1
    if beyond:
        events.warning(f"{source.name}: {beyond} contours of {name} lie beyond the CT.", "They are left out.")
    if others:
        events.warning(f"{source.name}: {others} contours of {name} are points or open lines.", "They are left out.")
    inside = np.zeros((grid.size[2], grid.size[1], grid.size[0]), bool)
    for plane, by_height in planes.items():
        nearest = min(by_height, key=lambda height: abs(height - plane))
        inside[plane] = filled(by_height[nearest], (grid.size[1], grid.size[0]))
    finer = sum(len(by_height) - 1 for by_height in planes.values())
    if finer:
        events.warning(
            f"{source.name}: {name} was drawn on slices that lie closer than the CT's.",
            f"On each slice of the CT the nearest contours were taken; those of {finer} planes between were not.",
        )
    if planes:
        missing = sorted(set(range(min(planes), max(planes) + 1)) - set(planes))
        if missing:
            events.warning(
                f"{source.name}: {name} has no contour on {len(missing)} slices between its first and last.",
                "Nothing is interpolated: the mask has gaps there.",
                "Look at the mask, or let the planning system interpolate and export again.",
            )
    return inside


def _placed(source: Source, name: str, number: int, grid: Grid, events: Events) -> np.ndarray:
    """Voxels of a segment, bool (z, y, x)."""
    data = source.data
    kind = str(data.get("SegmentationType", "BINARY"))
    frames = np.asarray(data.pixel_array)
    frames = frames.reshape(-1, int(data.Rows), int(data.Columns))
    shared = data.get("SharedFunctionalGroupsSequence", [None])[0]
    chosen, positions, orientations, spacings = [], [], [], []
    for plane, item in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        if kind != "LABELMAP":
            identified = _group(item, shared, "SegmentIdentificationSequence")
            if int(identified.ReferencedSegmentNumber) != number:
                continue
        chosen.append(_share(plane, kind, number, data))
        positions.append([float(v) for v in _group(item, shared, "PlanePositionSequence").ImagePositionPatient])
        orientations.append(
            [float(v) for v in _group(item, shared, "PlaneOrientationSequence").ImageOrientationPatient]
        )
        measures = _group(item, shared, "PixelMeasuresSequence")
        between = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0
        spacings.append([*(float(v) for v in measures.PixelSpacing), abs(float(between))])
    if not chosen:
        return np.zeros((grid.size[2], grid.size[1], grid.size[0]), bool)
    if np.ptp(orientations, axis=0).max() > 1e-4 or np.ptp(spacings, axis=0).max() > 1e-4:
        raise UserError(f"{source.name}: the frames of {name} are of different orientation or spacing.")
    image = _stacked(f"{source.name}: {name}", chosen, np.array(positions), orientations[0], spacings[0])
    voxels = int(np.count_nonzero(array_of(image)))
    placed = array_of(resample_onto(image, grid, "nearest")) > 0
    volume = voxels * float(np.prod(image.GetSpacing()))
    kept = int(placed.sum()) * float(np.prod(grid.spacing))
    if voxels and abs(kept / volume - 1) > 0.05:
        events.warning(
            f"{source.name}: {name} has {volume:.0f} mm³, {kept:.0f} of them on the CT.",
            "It lies partly outside the CT, or on another grid.",
            "Look at the mask.",
        )
    return placed


def _stacked(
    where: str,
    planes: Sequence[np.ndarray],
    positions: np.ndarray,
    orientation: Sequence[float],
    spacing: Sequence[float],
) -> sitk.Image:
    """Put frames (rows, columns) where they lie; frames left out of the file are empty."""
    rows, columns = np.reshape(orientation, (2, 3))
    normal = np.cross(rows, columns)
    heights = (positions - positions[0]) @ normal
    order = np.argsort(heights)
    heights = heights[order] - heights[order[0]]
    steps = np.diff(heights)
    distance = float(spacing[2] or (steps.min() if len(steps) else 1.0))
    places = np.rint(heights / distance).astype(int)
    if len(set(places.tolist())) < len(places) or np.abs(heights - places * distance).max() > 0.1 * distance:
        raise UserError(
            f"{where}: its frames do not lie on evenly spaced slices.", f"They are {distance:g} mm apart or should be."
        )
    array = np.zeros((places[-1] + 1, *planes[0].shape), np.uint8)
    for place, index in zip(places, order, strict=True):
        array[place] = planes[index]
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((spacing[1], spacing[0], distance))
    image.SetOrigin([float(value) for value in positions[order[0]]])
    image.SetDirection(np.column_stack([rows, columns, normal]).ravel().tolist())
    return image


def _share(plane: np.ndarray, kind: str, number: int, data: Any) -> np.ndarray:
    if kind == "LABELMAP":
        return plane == number
    if kind == "FRACTIONAL":
        return plane >= _HALF * float(data.get("MaximumFractionalValue", 255))
    return plane > 0


def _group(frame: Any, shared: Any, name: str) -> Any:
    """Return what holds for a frame: its own functional group, or the one shared by all."""
    for groups in (frame, shared):
        if groups is not None and groups.get(name):
            return groups[name].value[0]
    raise KeyError(name)
