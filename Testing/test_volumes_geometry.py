"""Grids: landmarks stay where they are through every change of orientation, spacing and size."""

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.geometry import (
    Grid,
    array_of,
    back_from_axial,
    grid_of,
    grid_of_matrix,
    grid_with_spacing,
    image_from_array,
    require_same_grid,
    resample_onto,
    resample_to_spacing,
    same_grid,
    to_axial,
)


def oblique(seed: int, size: tuple[int, int, int] = (7, 6, 5), kind: type = np.int16) -> sitk.Image:
    """A random image on a random oblique, possibly mirrored grid."""
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.integers(-1000, 1000, size[::-1]).astype(kind))
    image.SetDirection(np.linalg.qr(rng.normal(size=(3, 3)))[0].ravel().tolist())
    image.SetSpacing(rng.uniform(0.5, 4, 3).tolist())
    image.SetOrigin(rng.uniform(-200, 200, 3).tolist())
    return image


@pytest.mark.parametrize("seed", range(25))
def test_axial_form_moves_no_voxel_and_has_an_exact_inverse(seed: int) -> None:
    image = oblique(seed)
    axial = to_axial(image)
    direction = np.reshape(axial.GetDirection(), (3, 3))
    assert (np.diag(direction) > 0).all()
    assert np.array_equal(array_of(resample_onto(image, axial, "nearest", 7)), array_of(axial))
    back = back_from_axial(axial, image)
    assert np.array_equal(array_of(back), array_of(image))
    assert grid_of(back) == grid_of(image)
    assert to_axial(axial) is axial


def test_a_landmark_keeps_its_world_position_in_axial_form() -> None:
    image = sitk.GetImageFromArray(np.zeros((8, 9, 10), np.uint8))
    image.SetDirection((0, 0, 1, -1, 0, 0, 0, -1, 0))
    image.SetSpacing((1, 2, 3))
    image.SetOrigin((10, 20, 30))
    image[2, 3, 4] = 1
    world = image.TransformIndexToPhysicalPoint((2, 3, 4))
    axial = to_axial(image)
    (place,) = np.argwhere(array_of(axial))[:, ::-1]
    assert axial.TransformIndexToPhysicalPoint([int(n) for n in place]) == pytest.approx(world)


def test_same_grid_measures_the_largest_shift() -> None:
    image = oblique(3)
    grid = grid_of(image)
    near = Grid(grid.size, grid.spacing, (grid.origin[0] + 5e-4, *grid.origin[1:]), grid.direction)
    far = Grid(grid.size, grid.spacing, (grid.origin[0] + 5e-3, *grid.origin[1:]), grid.direction)
    assert same_grid(image, near) and not same_grid(image, far) and same_grid(image, far, 0.01)
    require_same_grid(image, near, ("a.nii", "b.nii"))
    with pytest.raises(UserError, match=r"a\.nii and b\.nii.*0\.005 mm"):
        require_same_grid(image, far, ("a.nii", "b.nii"))
    with pytest.raises(UserError, match="7×6×5 and 7×6×6"):
        require_same_grid(image, oblique(3, (7, 6, 6)), ("a.nii", "b.nii"))


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32])
def test_resampling_keeps_the_pixel_type_and_rounds(kind: type) -> None:
    image = image_from_array(np.array([[[0, 1, 5], [0, 1, 5]]] * 2, kind), Grid((3, 2, 2), (1,) * 3, (0,) * 3, EYE))
    finer = resample_onto(image, Grid((3, 1, 1), (1,) * 3, (0.75, 0, 0), EYE))
    assert array_of(finer).dtype == kind
    expected = [0.75, 4, 0] if kind == np.float32 else [1, 4, 0]
    np.testing.assert_allclose(array_of(finer).ravel(), expected, atol=1e-5)


def test_resampling_in_slabs_is_the_same_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    image, reference = oblique(1, (20, 21, 22)), oblique(2, (15, 16, 17))
    reference.SetOrigin(image.TransformContinuousIndexToPhysicalPoint((9.0, 9.0, 9.0)))
    whole = array_of(resample_onto(image, reference, "linear", -1024))
    monkeypatch.setattr("synthct.volumes.geometry._SLAB_VOXELS", 500)
    assert np.array_equal(array_of(resample_onto(image, reference, "linear", -1024)), whole)
    assert (whole == -1024).any() and (whole != -1024).any()


def test_another_spacing_covers_the_same_field_of_view() -> None:
    image = oblique(4, (40, 30, 20))
    grid = grid_with_spacing(image, (1.0, 2.0, 0.7))
    old, new = np.array(image.GetSpacing()) * image.GetSize(), np.array(grid.spacing) * grid.size
    assert np.abs(old - new).max() <= 1.0
    np.testing.assert_allclose(grid.corners().mean(axis=0), grid_of(image).corners().mean(axis=0), atol=1e-9)
    assert resample_to_spacing(image, (1.0, 2.0, 0.7)).GetSize() == grid.size
    with pytest.raises(UserError, match="spacing"):
        grid_with_spacing(image, (1, 0, 1))


def test_a_transform_maps_reference_points_to_the_image() -> None:
    array = np.zeros((9, 9, 9), np.int16)
    array[4, 4, 4] = 100
    image = image_from_array(array, Grid((9, 9, 9), (1,) * 3, (0,) * 3, EYE))
    moved = resample_onto(image, image, "linear", 0, sitk.TranslationTransform(3, (1.0, 0.0, 0.0)))
    assert array_of(moved)[4, 4, 3] == 100


def test_rounded_directions_are_straightened_and_shear_is_refused() -> None:
    matrix = np.eye(4)
    matrix[0, 1] = 4e-4
    grid = grid_of_matrix(matrix, (100, 100, 100), "a.nii")
    direction = np.reshape(grid.direction, (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    matrix[0, 1] = 0.1
    with pytest.raises(UserError, match=r"a\.nii is sheared.*5\.7"):
        grid_of_matrix(matrix, (100, 100, 100), "a.nii")
    with pytest.raises(UserError, match="singular"):
        grid_of_matrix(np.ones((4, 4)), (9, 9, 9), "a.nii")
    with pytest.raises(UserError, match="voxel size"):
        grid_of_matrix(np.diag([1, 1, 0, 1]), (9, 9, 9), "a.nii")


def test_an_array_of_the_wrong_shape_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        image_from_array(np.zeros((2, 3, 4)), oblique(0))
    assert image_from_array(np.ones((5, 6, 7), bool), oblique(0)).GetPixelID() == sitk.sitkUInt8


EYE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
