"""One patient's reference mask, the mask that was found, and where they differ, in the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from synthct.errors import UserError
from synthct.scene.evaluation.error_maps import show_as_difference
from synthct.scene.evaluation.regions import Place, largest_at
from synthct.scene.evaluation.tables import saved
from synthct.scene.nodes import node_from_image, update_node_from_image
from synthct.volumes.geometry import array_of, image_from_array, require_same_grid
from synthct.volumes.read import read_image

NODES = ("overlapReference", "overlapFound", "overlapDifference")
"""Parameters that hold the patient shown; the next one takes its place."""
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def mask_files(path: Path) -> dict[str, Path]:
    """Return the masks of a folder by the name of their patient, or the one file.

    Raises
    ------
    UserError
        The folder cannot be read.
    """
    if path.is_file():
        return {_stem(path): path}
    try:
        return {_stem(each): each for each in sorted(path.iterdir()) if each.name.lower().endswith(_ENDINGS)}
    except OSError as error:
        raise UserError(f"The folder {path} cannot be read.", f"{error.strerror}.", "Choose another.") from error


def load_masks(patient: str, reference: Path, found: Path, parameters: Any) -> Place:
    """Put both masks of a patient and their difference into the scene; return where they differ most.

    Where they do not differ it is where the reference is largest; NaN where both are empty.

    Raises
    ------
    UserError
        A file that is gone or cannot be read, or other grids.
    """
    images = []
    for path in (reference, found):
        files = {saved(name): file for name, file in mask_files(path).items()}
        if patient not in files and len(files) > 1:
            raise UserError(f"{path} has no mask of {patient} any more.", todo="Score the masks again.")
        image = read_image(files.get(patient, path))
        images.append(image_from_array((array_of(image) != 0).astype(np.uint8), image))
    require_same_grid(images[0], images[1], (str(reference), str(found)))
    truth, seen = (array_of(image).astype(np.int16) for image in images)
    images.append(image_from_array(seen - truth, images[0]))
    for parameter, image, word in zip(NODES, images, ("reference", "found", "difference"), strict=True):
        node = getattr(parameters, parameter)
        if node is None:
            node = node_from_image(image, f"{patient} {word}")
            setattr(parameters, parameter, node)
        else:
            update_node_from_image(node, image)
        node.SetName(f"{patient} {word}")
        if word != "difference":
            _show_as_mask(node)
    show_as_difference(parameters.overlapDifference, 1.0, "missed −1, too much +1")
    parameters.overlapDifference.GetDisplayNode().SetInterpolate(0)
    return largest_at(seen != truth if (seen != truth).any() else truth != 0, images[0])


def _show_as_mask(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetInterpolate(0)


def _stem(path: Path) -> str:
    ending = next((each for each in _ENDINGS if path.name.lower().endswith(each)), path.suffix)
    return path.name[: -len(ending)] if ending else path.name
