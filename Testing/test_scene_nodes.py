"""Volume nodes to images and back: places, types, transforms and what is refused (real MRML, no window)."""

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from synthct.errors import UserError  # noqa: E402
from synthct.scene.nodes import (  # noqa: E402
    image_from_node,
    node_from_image,
    node_from_tensor,
    tensor_from_node,
    update_node_from_image,
)
from synthct.volumes.read import read_image  # noqa: E402

LANDMARKS_IJK = np.array([(2, 3, 1), (17, 4, 2), (5, 21, 3), (14, 15, 8), (9, 9, 5)])


@pytest.fixture(autouse=True)
def scene():
    if getattr(slicer, "mrmlScene", None) is None:
        slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.mrmlScene.Clear(0)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(0)


def random_grid(seed, size=(22, 26, 11)):
    """An image with five bright landmarks on an oblique, anisotropic and, for odd seeds, left-handed grid."""
    random = np.random.default_rng(seed)
    direction, _ = np.linalg.qr(random.normal(size=(3, 3)))
    if (np.linalg.det(direction) < 0) != bool(seed % 2):
        direction[:, 2] *= -1
    image = sitk.Image(size, sitk.sitkInt16)
    image.SetSpacing(random.uniform(0.4, 5, 3).tolist())
    image.SetOrigin(random.uniform(-300, 300, 3).tolist())
    image.SetDirection(direction.ravel().tolist())
    for number, ijk in enumerate(LANDMARKS_IJK):
        image[ijk.tolist()] = 100 + number
    return image


def landmarks(image):
    """LPS mm of the landmarks, found by their values."""
    array = sitk.GetArrayFromImage(image)
    return np.array(
        [
            image.TransformIndexToPhysicalPoint([int(n) for n in np.argwhere(array == 100 + number)[0][::-1]])
            for number in range(len(LANDMARKS_IJK))
        ]
    )


def ras_of(node):
    """World RAS mm of the landmarks as Slicer itself computes them."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    points = []
    for ijk in LANDMARKS_IJK:
        point = np.array(matrix.MultiplyPoint((*ijk.tolist(), 1)))[:3]
        world = [0.0, 0.0, 0.0]
        if node.GetParentTransformNode():
            to_world = vtk.vtkGeneralTransform()
            node.GetParentTransformNode().GetTransformToWorld(to_world)
            to_world.TransformPoint(point, world)
        points.append(world if node.GetParentTransformNode() else point)
    return np.array(points)


def linear_transform(seed, parent=None):
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3], _ = np.linalg.qr(random.normal(size=(3, 3)))
    matrix[:3, 3] = random.uniform(-80, 80, 3)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"Turn {seed}")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ending", ["nrrd", "nii.gz"])
def test_landmarks_from_node_to_file_to_node(tmp_path, seed, ending):
    node = node_from_image(random_grid(seed), "Phantom")
    expected = ras_of(node) * (-1, -1, 1)
    image = image_from_node(node)
    assert np.abs(landmarks(image) - expected).max() < 1e-6
    path = tmp_path / f"grün {seed}.{ending}"
    sitk.WriteImage(image, str(path))
    again = node_from_image(read_image(path), "Phantom again")
    assert np.abs(ras_of(again) * (-1, -1, 1) - expected).max() < 0.1
    assert (slicer.util.arrayFromVolume(again) == slicer.util.arrayFromVolume(node)).all()


@pytest.mark.parametrize("seed", range(4))
def test_nested_transforms_become_geometry(scene, seed):
    image = random_grid(seed)
    node = node_from_image(image, "Turned")
    node.SetAndObserveTransformNodeID(linear_transform(10 + seed, linear_transform(20 + seed)).GetID())
    before = scene.GetNumberOfNodes(), node.GetMTime()
    assert np.abs(landmarks(image_from_node(node)) - ras_of(node) * (-1, -1, 1)).max() < 1e-4
    assert (scene.GetNumberOfNodes(), node.GetMTime()) == before


def test_cropped_extent_counts():
    node = node_from_image(random_grid(3), "Cropped")
    expected = landmarks(image_from_node(node))
    crop = vtk.vtkExtractVOI()
    crop.SetInputData(node.GetImageData())
    crop.SetVOI(1, 20, 2, 24, 1, 9)
    crop.Update()
    node.SetAndObserveImageData(crop.GetOutput())
    assert image_from_node(node).GetSize() == (20, 23, 9)
    if node.GetImageData().GetExtent()[0] == 1:
        assert np.abs(landmarks(image_from_node(node)) - expected).max() < 1e-6


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_voxel_types_are_kept(kind):
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    node = node_from_image(sitk.GetImageFromArray(array), kind)
    assert slicer.util.arrayFromVolume(node).dtype == np.dtype(kind)
    again = sitk.GetArrayFromImage(image_from_node(node))
    assert again.dtype == np.dtype(kind) and (again == array).all()


def test_what_slicer_cannot_show_is_stored_wider_or_narrower():
    small = node_from_image(sitk.GetImageFromArray(np.arange(8, dtype=np.int64).reshape(2, 2, 2)), "small")
    assert slicer.util.arrayFromVolume(small).dtype == np.int32
    large = node_from_image(sitk.GetImageFromArray(np.full((2, 2, 2), 2**40, dtype=np.int64)), "large")
    assert slicer.util.arrayFromVolume(large).dtype == np.float64
    signed = node_from_image(sitk.GetImageFromArray(np.full((2, 2, 2), -3, dtype=np.int8)), "signed")
    assert slicer.util.arrayFromVolume(signed).min() == -3


def test_update_keeps_display_and_drops_the_transform():
    node = node_from_image(random_grid(1), "Out")
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(123, 45)
    node.SetAndObserveTransformNodeID(linear_transform(5).GetID())
    image = random_grid(2)
    update_node_from_image(node, image)
    assert node.GetDisplayNode() is display
    assert (display.GetWindow(), display.GetLevel()) == (123, 45)
    assert np.abs(landmarks(image_from_node(node)) - landmarks(image)).max() < 1e-6


def test_label_maps_and_names():
    labels = sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8))
    assert node_from_image(labels, "Body", label=True).IsA("vtkMRMLLabelMapVolumeNode")
    assert node_from_image(labels, "Body").GetName() != "Body"


def test_result_joins_the_study_of_its_reference(scene):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient")
    study = tree.CreateStudyItem(patient, "Study")
    mr = node_from_image(random_grid(0), "MR")
    if not tree.GetItemByDataNode(mr):
        tree.CreateItem(study, mr)
    tree.SetItemParent(tree.GetItemByDataNode(mr), study)
    ct = node_from_image(random_grid(0), "MR sCT", reference_node=mr)
    assert tree.GetItemParent(tree.GetItemByDataNode(ct)) == study


def refused(node):
    with pytest.raises(UserError) as caught:
        image_from_node(node)
    return str(caught.value)


def test_refused_by_name(scene):
    assert "No volume" in refused(None)
    assert "Nothing in it" in refused(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing in it"))
    assert "A model" in refused(scene.AddNewNodeByClass("vtkMRMLModelNode", "A model"))
    colour = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Colour")
    data = vtk.vtkImageData()
    data.SetDimensions(3, 3, 3)
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    colour.SetAndObserveImageData(data)
    assert "Colour" in refused(colour)


def test_bent_and_sheared_grids_are_refused(scene):
    node = node_from_image(random_grid(0), "Bent MR")
    bend = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Bend")
    spline = vtk.vtkThinPlateSplineTransform()
    points, moved = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in np.ndindex(2, 2, 2):
        points.InsertNextPoint(np.array(corner) * 50.0)
        moved.InsertNextPoint(np.array(corner) * 50.0 + (5.0 if corner == (1, 1, 1) else 0.0))
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    bend.SetAndObserveTransformToParent(spline)
    above = linear_transform(1)
    above.SetAndObserveTransformNodeID(bend.GetID())
    node.SetAndObserveTransformNodeID(above.GetID())
    message = refused(node)
    assert "Bent MR" in message and "Bend" in message and "Turn 1" not in message
    shear = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shear")
    matrix = np.eye(4)
    matrix[0, 1] = 0.3
    shear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(shear.GetID())
    message = refused(node)
    assert "Bent MR" in message and "Shear" in message
    flat = np.eye(4)
    flat[2, 2] = 0
    shear.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(flat))
    assert "Bent MR" in refused(node)


@pytest.mark.parametrize("seed", range(3))
def test_tensors_keep_place_and_values(seed):
    pytest.importorskip("monai")
    node = node_from_image(random_grid(seed), "MR")
    tensor = tensor_from_node(node)
    assert tuple(tensor.shape) == (1, 22, 26, 11)
    ijk = np.c_[LANDMARKS_IJK, np.ones(5)]
    assert np.abs((tensor.affine.numpy() @ ijk.T).T[:, :3] - ras_of(node)).max() < 1e-6
    again = node_from_tensor(tensor * 2, "Twice")
    assert np.abs(ras_of(again) - ras_of(node)).max() < 1e-6
    assert (slicer.util.arrayFromVolume(again) == 2 * slicer.util.arrayFromVolume(node)).all()
    plain = node_from_tensor(tensor.as_tensor()[0], "Plain", reference_node=node)
    assert np.abs(ras_of(plain) - ras_of(node)).max() < 1e-6
    with pytest.raises(UserError, match="no place"):
        node_from_tensor(tensor.as_tensor(), "Nowhere")
    with pytest.raises(UserError, match="shape"):
        node_from_tensor(tensor.as_tensor()[0, 0], "Flat")
