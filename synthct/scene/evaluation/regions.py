"""Segments of the scene handed over with their names, and where each is best seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from synthct.errors import UserError
from synthct.scene.exchange import write_exchange
from synthct.scene.label_maps import labels_from_node
from synthct.scene.nodes import image_from_node
from synthct.volumes.geometry import array_of, axial_order, image_from_array

Place = tuple[float, float, float]
"""R, A, S in mm."""


def hand_over_regions(node: slicer.vtkMRMLNode, path: Path) -> dict[str, Place]:
    """Write a segmentation or label map as ``.seg.nrrd`` and return where each region is largest, by its name.

    Segments that overlap go into layers of their own, as Slicer writes them.

    Raises
    ------
    UserError
        Naming the node: as :func:`synthct.scene.label_maps.labels_from_node`, or it has no region.
    """
    layers: list[np.ndarray] = []
    places: dict[str, Place] = {}
    facts: dict[str, str] = {}
    grid = None
    for number, (name, mask) in enumerate(_masks(node)):
        grid = mask if grid is None else grid
        inside = array_of(mask) != 0
        layer = next((place for place, used in enumerate(layers) if not used[inside].any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(inside.shape, np.uint16))
        layers[layer][inside] = number + 1
        unique = _unique(name, places)
        places[unique] = largest_at(inside, mask)
        wanted = {"ID": f"Segment_{number + 1}", "Name": unique, "LabelValue": number + 1, "Layer": layer}
        facts |= {f"Segment{number}_{key}": str(value) for key, value in wanted.items()}
    if grid is None:
        raise UserError(f"{node.GetName()} has no region.", "Every voxel is 0.", "Choose another segmentation.")
    images = [image_from_array(layer, grid) for layer in layers]
    image = images[0] if len(images) == 1 else sitk.Compose(images)
    for key, value in facts.items():
        image.SetMetaData(key, value)
    write_exchange(image, path)
    return places


def mask_of(node: slicer.vtkMRMLNode) -> sitk.Image:
    """Return what a segmentation or label map marks as 1, on its own grid; UserError naming the node."""
    labels, _ = labels_from_node(node)
    return image_from_array((array_of(labels) != 0).astype(np.uint8), labels)


def slice_places(image: sitk.Image) -> list[Place]:
    """Return the centre of every axial slice of an image, from the feet up, as ``synthct evaluate`` counts them."""
    order, flips = axial_order(image)
    along = order[2]
    centre = [(side - 1) / 2 for side in image.GetSize()]
    count = image.GetSize()[along]
    places = []
    for number in range(count):
        centre[along] = float(count - 1 - number if flips[2] else number)
        x, y, z = image.TransformContinuousIndexToPhysicalPoint(centre)
        places.append((-x, -y, z))
    return places


def _masks(node: slicer.vtkMRMLNode) -> Iterator[tuple[str, sitk.Image]]:
    """Name and mask of each segment, which may overlap, or of each label that a label map holds."""
    labels, names = labels_from_node(node)
    if not node.IsA("vtkMRMLSegmentationNode"):
        array = array_of(labels)
        for value in np.unique(array[array != 0]):
            mask = image_from_array((array == value).astype(np.uint8), labels)
            yield names.get(int(value)) or f"label {value:g}", mask
        return
    segmentation = node.GetSegmentation()
    for number, name in enumerate(names.values()):
        ids = vtk.vtkStringArray()
        ids.InsertNextValue(segmentation.GetNthSegmentID(number))
        yield name, _drawn(node, ids)


def _drawn(node: slicer.vtkMRMLSegmentationNode, ids: vtk.vtkStringArray) -> sitk.Image:
    scene = slicer.mrmlScene
    drawn = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", f"{node.GetName()} segment")
    try:
        slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
            node, ids, drawn, None, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        )
        return image_from_node(drawn)
    finally:
        display = drawn.GetDisplayNode()
        colours = display.GetColorNode() if display is not None else None
        scene.RemoveNode(drawn)
        if display is not None:
            scene.RemoveNode(display)
        if colours is not None and not colours.GetSingletonTag():  # Slicer made it for the segments
            scene.RemoveNode(colours)


def _unique(name: str, taken: dict[str, Place]) -> str:
    numbered = (name, *(f"{name} ({number})" for number in range(2, len(taken) + 3)))
    return next(each for each in numbered if each not in taken)


def largest_at(inside: np.ndarray, image: sitk.Image) -> Place:
    """The middle of a region in the axial slice that holds most of it; NaN where it is empty."""
    order, _ = axial_order(image)
    axis = 2 - order[2]
    counts = inside.sum(axis=tuple(each for each in range(3) if each != axis))
    if not counts.any():
        return (np.nan,) * 3
    most = np.flatnonzero(counts == counts.max())
    number = int(most[len(most) // 2])
    index = np.argwhere(np.take(inside, number, axis)).mean(axis=0)
    index = np.insert(index, axis, number)[::-1]
    x, y, z = image.TransformContinuousIndexToPhysicalPoint([float(each) for each in index])
    return (-x, -y, z)
