"""MRML volume nodes to images and back, in the world they are seen in.

A node keeps voxels by IJK and a matrix to RAS (right, anterior, superior); an image keeps the same voxels with origin,
spacing and direction in LPS (left, posterior, superior). Linear transforms above a node become part of the image's
geometry, so that a voxel has the same place in the file, in the network's result and in the slice views.
PyTorch and MONAI are imported only when a script calls the tensor functions: no module of this extension does.
"""

from __future__ import annotations

import typing

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util import numpy_support

from synthct.errors import UserError

if typing.TYPE_CHECKING:
    import torch
    from monai.data import MetaTensor

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SHEAR = 1e-4
"""Cosine between two grid axes that still counts as a right angle."""


def image_from_node(node: slicer.vtkMRMLVolumeNode) -> sitk.Image:
    """Copy a scalar or label-map volume node into an image; the scene is not changed.

    Parameters
    ----------
    node
        Volume with one component per voxel. Linear parent transforms, nested ones too, go into the geometry.

    Returns
    -------
    sitk.Image
        The voxels in their own type, geometry in LPS millimetres.

    Raises
    ------
    UserError
        Naming the node: no volume, no voxels, several components, a non-linear parent transform, or a matrix that is
        singular or sheared.
    """
    data = _image_data(node)
    matrix = world_matrix(node)
    extent = data.GetExtent()
    matrix[:3, 3] += matrix[:3, :3] @ np.array(extent[0::2], dtype=float)
    direction, spacing = _axes(matrix, node)
    image = sitk.GetImageFromArray(_array(data))
    lps = _LPS_FROM_RAS[:3, :3]
    image.SetOrigin((lps @ matrix[:3, 3]).tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps @ direction).ravel().tolist())
    return image


def node_from_image(
    image: sitk.Image, name: str, reference_node: slicer.vtkMRMLVolumeNode | None = None, label: bool = False
) -> slicer.vtkMRMLVolumeNode:
    """Add an image to the scene as a new volume node with a display of its own.

    Parameters
    ----------
    image
        3D, one component.
    name
        Name of the node; a number is added where the scene has that name already.
    reference_node
        Node whose subject-hierarchy folder the new node joins.
    label
        Make a label-map volume instead of a scalar one.
    """
    kind = "vtkMRMLLabelMapVolumeNode" if label else "vtkMRMLScalarVolumeNode"
    node = slicer.mrmlScene.AddNewNodeByClass(kind, slicer.mrmlScene.GenerateUniqueName(name))
    update_node_from_image(node, image)
    if reference_node is not None:
        from synthct.scene.studies import place_beside

        place_beside(node, reference_node)
    return node


def update_node_from_image(node: slicer.vtkMRMLVolumeNode, image: sitk.Image) -> None:
    """Give an existing node the voxels and the place of an image; its display stays as the user set it.

    A parent transform of the node is taken off: the image is in world coordinates. An image of 64-bit integers is
    stored as 32-bit ones (or as floats where they do not fit), because Slicer does not show the former.
    """
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype in (np.int64, np.uint64):
        small = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
        array = array.astype(np.int32 if small else np.float64)
    elif array.dtype == np.int8:
        array = array.astype(np.int16)  # a signed char is read back differently on different machines
    data = vtk.vtkImageData()
    data.SetDimensions(image.GetSize())
    scalars = numpy_support.numpy_to_vtk(
        np.ascontiguousarray(array).ravel(), deep=True, array_type=numpy_support.get_vtk_array_type(array.dtype)
    )
    scalars.SetName("ImageScalars")
    data.GetPointData().SetScalars(scalars)

    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    state = node.StartModify()
    try:
        node.SetAndObserveTransformNodeID(None)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_LPS_FROM_RAS @ matrix))
        node.SetAndObserveImageData(data)
    finally:
        node.EndModify(state)
    if node.GetScene() is not None and node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()


def tensor_from_node(node: slicer.vtkMRMLVolumeNode) -> MetaTensor:
    """Return a volume node as MONAI ``MetaTensor`` of shape (1, i, j, k) with the affine from i, j, k to world RAS mm.

    Raises
    ------
    UserError
        As :func:`synthct.scene.nodes.image_from_node`.
    """
    import torch
    from monai.data import MetaTensor

    image = image_from_node(node)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image)
    if array.dtype in (np.uint16, np.uint32):
        array = array.astype(np.int32 if array.dtype == np.uint16 else np.int64)
    values = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 1, 0)))
    return MetaTensor(values[None], affine=torch.from_numpy(_LPS_FROM_RAS @ affine), meta={"space": "RAS"})


def node_from_tensor(
    tensor: torch.Tensor, name: str, reference_node: slicer.vtkMRMLVolumeNode | None = None, label: bool = False
) -> slicer.vtkMRMLVolumeNode:
    """Add a tensor of shape (1, i, j, k) or (i, j, k) to the scene as a new volume node.

    Parameters
    ----------
    tensor
        A ``MetaTensor`` carries its own affine to RAS; a plain tensor takes the grid of ``reference_node``.
    name, reference_node, label
        As in :func:`synthct.scene.nodes.node_from_image`.

    Raises
    ------
    UserError
        Wrong shape, or neither an affine nor a reference of the same size.
    """
    values = tensor.detach().cpu().numpy()
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3:
        raise UserError(
            f"The tensor for {name} has the shape {tuple(tensor.shape)}.",
            "One volume of shape (1, i, j, k) or (i, j, k) is needed.",
        )
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    elif values.dtype == np.float16:
        values = values.astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    affine = getattr(tensor, "affine", None)
    if affine is not None:
        matrix = _LPS_FROM_RAS @ affine.detach().cpu().numpy().astype(float)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(matrix[:3, 3].tolist())
    elif reference_node is not None and image_from_node(reference_node).GetSize() == image.GetSize():
        image.CopyInformation(image_from_node(reference_node))
    else:
        raise UserError(
            f"The tensor for {name} has no place in the world.",
            "It carries no affine, and no reference volume of its size was given.",
            "Pass a MetaTensor, or the volume it was made from as reference.",
        )
    return node_from_image(image, name, reference_node, label)


def world_matrix(node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Return the 4 × 4 matrix from IJK to world RAS in mm, parent transforms included.

    Raises
    ------
    UserError
        Naming the non-linear transform above the node.
    """
    ijk_to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras)
    parent = node.GetParentTransformNode()
    if parent is None:
        return matrix
    if not parent.IsTransformToWorldLinear():
        raise UserError(
            f"The volume {node.GetName()} lies under the non-linear transform {_non_linear(parent)}.",
            "A grid of voxels can follow shifts, rotations and scalings only.",
            "Harden the transform on the volume (Transforms module), or take the volume out of it.",
        )
    to_world = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(to_world)
    return slicer.util.arrayFromVTKMatrix(to_world) @ matrix


def _non_linear(transform: slicer.vtkMRMLTransformNode) -> str:
    """Name of the first transform, going upwards, that is not linear by itself."""
    node = transform
    while node is not None and node.IsLinear():
        node = node.GetParentTransformNode()
    return str((node or transform).GetName())


def _image_data(node: slicer.vtkMRMLVolumeNode) -> vtk.vtkImageData:
    if node is None or not node.IsA("vtkMRMLVolumeNode"):
        raise UserError(
            f"{node.GetName() if node is not None else 'No volume'} cannot be used.",
            "A volume is needed." if node is not None else "No volume is chosen.",
            "Choose a scalar volume.",
        )
    name = node.GetName()
    data = node.GetImageData()
    if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
        raise UserError(
            f"The volume {name} is empty.", "It has no voxels.", "Load an image into it, or choose another."
        )
    components = data.GetNumberOfScalarComponents()
    if components != 1:
        raise UserError(
            f"The volume {name} has {components} values per voxel.",
            "One value per voxel is needed; this is a colour, vector or diffusion volume.",
            "Choose a scalar volume, or split this one (Vector to Scalar Volume module).",
        )
    return data


def _array(data: vtk.vtkImageData) -> np.ndarray:
    """View the voxels as an array in z, y, x order."""
    array = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars())
    return array.reshape(tuple(reversed(data.GetDimensions())))


def _axes(matrix: np.ndarray, node: slicer.vtkMRMLVolumeNode) -> tuple[np.ndarray, np.ndarray]:
    """Split a matrix into unit axes (columns) and spacing in mm."""
    columns = matrix[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    name = node.GetName()
    if not np.isfinite(matrix).all() or (spacing <= 0).any() or abs(np.linalg.det(columns / spacing)) < _SHEAR:
        raise UserError(
            f"The volume {name} has no usable geometry.",
            "Its IJK-to-RAS matrix or a transform above it is singular.",
            "Correct spacing and directions in the Volumes module, or take the volume out of the transform.",
        )
    direction = columns / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > _SHEAR:
        parent = node.GetParentTransformNode()
        cause = f"the transform {parent.GetName()} shears it" if parent is not None else "its axes are sheared"
        harden = "Harden the transform (Transforms module), then resample" if parent is not None else "Resample"
        raise UserError(
            f"The grid of the volume {name} is not rectangular: {cause}.",
            "Image files and networks know right angles only; a tilted gantry gives others.",
            f"{harden} the volume onto upright axes (Resample Scalar/Vector/DWI Volume module).",
        )
    return direction, spacing
