"""Which volumes of the scene can be translated, and what is said of those that cannot."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer

from synthct.errors import UserError
from synthct.scene.nodes import image_from_node
from synthct.scene.studies import MODEL_ATTRIBUTE
from synthct.volumes.label_numbers import require_labels


def checked_input(node: slicer.vtkMRMLScalarVolumeNode, output_node: slicer.vtkMRMLNode | None) -> sitk.Image:
    """Return the voxels to translate.

    Raises
    ------
    UserError
        Naming the node: not a scalar volume, a label map, empty, NaN or infinite, constant, a single slice, the same
        as the output, or under a non-linear transform.
    """
    image = image_from_node(node)
    name = node.GetName()
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise UserError(f"{name} is a label map.", "The network needs MR intensities.", "Choose the MR volume.")
    if output_node is node:
        raise UserError(
            f"Input and output are the same volume, {name}.", "The MR would be lost.", "Choose another output."
        )
    voxels = sitk.GetArrayViewFromImage(image)
    if min(voxels.shape) < 2:
        raise UserError(f"The volume {name} has a single slice.", "A 3D volume is needed.", "Load the whole series.")
    if np.issubdtype(voxels.dtype, np.floating) and not np.isfinite(voxels).all():
        raise UserError(
            f"The volume {name} holds NaN or infinite values.",
            "The network would spread them over the whole result.",
            "Repair the image, or replace them by 0 (Simple Filters module).",
        )
    if voxels.min() == voxels.max():
        raise UserError(
            f"The volume {name} is constant: every voxel is {voxels.min():g}.",
            "There is nothing to translate.",
            "Choose the MR volume.",
        )
    return image


def checked_labels(node: slicer.vtkMRMLLabelMapVolumeNode, classes: int) -> sitk.Image:
    """Return the label map to make a CT of.

    Parameters
    ----------
    classes
        That the model knows, numbered from 0.

    Raises
    ------
    UserError
        Naming the node: no label map, empty, a single slice, one class alone, a number that is no class of the model,
        or under a non-linear transform.
    """
    image = image_from_node(node)
    name = node.GetName()
    if not node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise UserError(f"{name} is no label map.", "The network needs classes.", "Make one of the CT, in step 1.")
    voxels = sitk.GetArrayViewFromImage(image)
    if min(voxels.shape) < 2:
        raise UserError(f"The label map {name} has a single slice.", "A 3D volume is needed.", "Load the whole volume.")
    require_labels(voxels, classes, f"The label map {name}")
    if voxels.min() == voxels.max():
        raise UserError(
            f"The label map {name} is of one class: every voxel is {voxels.min():g}.",
            "There is nothing to make a CT of.",
            "Choose the label map of a CT.",
        )
    return image


def first_input() -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the first volume of the scene that can be an input: no label map, no colour volume, no synthetic CT."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetAttribute(MODEL_ATTRIBUTE):
            return node
    return None
