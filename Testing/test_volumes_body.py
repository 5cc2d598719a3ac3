"""Body masks: phantoms with every difficulty, and real limbs and heads."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.body import body_mask
from synthct.volumes.geometry import array_of, back_from_axial, grid_of, image_from_array, resample_onto, to_axial
from synthct.volumes.read import read_image

DATA = Path(__file__).parents[2] / "shared/data"
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="real data not here")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def two_legs(noise: float = 20.0, bias: float = 0.0) -> tuple[sitk.Image, np.ndarray]:
    """MR of two legs, muscle within fat around dark bone, with Rician noise; and the truth."""
    z, y, x = np.mgrid[0:20, 0:90, 0:140].astype(float)
    array, truth = np.zeros(z.shape), np.zeros(z.shape, bool)
    for centre, size in ((40, 30), (105, 22)):
        r = np.hypot(y - 45, x - centre)
        truth |= r < size
        array[r < size] = 900.0
        array[r < size - 4] = 220.0
        array[r < 7] = 0.0
    array *= np.exp(bias * (x / 140 - 0.5))
    rng = np.random.default_rng(0)
    array = np.hypot(array + rng.normal(0, noise, z.shape), rng.normal(0, noise, z.shape))
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing((1.2, 1.2, 4.0))
    return image, truth


@pytest.mark.parametrize(("noise", "bias"), [(0.0, 0.0), (20.0, 0.0), (40.0, 0.0), (20.0, 1.2)])
def test_both_legs_are_found_in_noise_and_bias(noise: float, bias: float) -> None:
    image, truth = two_legs(noise, bias)
    mask = body_mask(image)
    assert mask.GetPixelID() == sitk.sitkUInt8 and grid_of(mask) == grid_of(image)
    assert dice(array_of(mask) > 0, truth) > 0.97


def test_muscle_is_body_where_hardly_any_air_is_in_view() -> None:
    image, truth = two_legs()
    crop = image[14:66, 18:72, :]
    assert dice(array_of(body_mask(crop)) > 0, truth[:, 18:72, 14:66]) > 0.97


def test_the_mask_does_not_depend_on_how_the_volume_is_stored() -> None:
    image, _ = two_legs()
    image.SetDirection((0, 1, 0, 0, 0, -1, -1, 0, 0))
    direct = body_mask(image)
    axial = back_from_axial(body_mask(to_axial(image)), image)
    assert dice(array_of(direct) > 0, array_of(axial) > 0) > 0.99


def test_a_chest_with_lungs_on_a_couch() -> None:
    _, y, x = np.mgrid[0:12, 0:128, 0:160].astype(float)
    truth = ((y - 55) / 42) ** 2 + ((x - 80) / 62) ** 2 < 1
    hu = np.where(truth, 40.0, -1000.0)
    hu[truth & (np.hypot(y - 55, x - 52) < 20)] = -850
    hu[(y > 108) & (y < 112) & (x > 10) & (x < 150)] = 150
    hu += np.random.default_rng(0).normal(0, 20, hu.shape)
    image = sitk.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing((2.5, 2.5, 5.0))
    assert dice(array_of(body_mask(image, "ct")) > 0, truth) > 0.98


def test_what_has_no_body_is_refused() -> None:
    with pytest.raises(UserError, match="constant"):
        body_mask(sitk.GetImageFromArray(np.full((9, 9, 9), 5, np.int16)))
    with pytest.raises(UserError, match="No body"):
        body_mask(sitk.GetImageFromArray(np.full((9, 9, 9), -1000, np.int16)), "ct")
    with pytest.raises(ValueError, match="modality"):
        body_mask(sitk.GetImageFromArray(np.zeros((9, 9, 9), np.int16)), "pet")


@NEEDS_DATA
@pytest.mark.parametrize(("case", "least"), [("026", 0.95), ("029", 0.95), ("050", 0.92), ("010", 0.96)])
def test_real_limbs_agree_between_mr_and_ct(case: str, least: float) -> None:
    mr, ct = (read_image(DATA / f"sarcoma/STS_{case}_{kind}.nii.gz") for kind in ("MR", "CT"))
    of_ct = resample_onto(body_mask(ct, "ct"), mr, "nearest", 0)
    assert dice(array_of(body_mask(mr)) > 0, array_of(of_ct) > 0) > least


@NEEDS_DATA
def test_real_heads_agree_between_sequences_and_ct() -> None:
    folder = DATA / "mni_template"
    ct = array_of(body_mask(read_image(folder / "scct_HU_derived.nii.gz"), "ct")) > 0
    for name in ("avg152T1", "avg152T2", "avg152PD"):
        image = read_image(folder / f"{name}.nii.gz")
        mask = array_of(body_mask(image)) > 0
        assert dice(mask, ct) > 0.95
        assert image_from_array(mask, image).GetSize() == image.GetSize()
