"""Bias correction: a known field is taken out, and nothing else."""

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.bias import correct_bias
from synthct.volumes.geometry import array_of, grid_of


def leg(field: bool) -> tuple[sitk.Image, sitk.Image]:
    """MR of a leg, fat around muscle, with or without a smooth field; and its mask."""
    z, y, x = np.mgrid[-1:1:24j, -1:1:80j, -1:1:90j]
    r = np.hypot(y, x)
    rng = np.random.default_rng(0)
    array = np.where(r < 0.85, np.where(r < 0.6, 300.0, 900.0), 0.0) + rng.normal(0, 10, r.shape)
    if field:
        array *= np.exp(0.4 * x - 0.3 * z + 0.3 * y * y)
    image = sitk.GetImageFromArray(np.clip(array, 0, None).astype(np.int16))
    image.SetSpacing((2.0, 2.0, 5.0))
    mask = sitk.GetImageFromArray((r < 0.85).astype(np.uint8))
    mask.CopyInformation(image)
    return image, mask


def unevenness(image: sitk.Image) -> float:
    """Standard deviation over mean inside the muscle."""
    _, y, x = np.mgrid[-1:1:24j, -1:1:80j, -1:1:90j]
    values = array_of(image)[np.hypot(y, x) < 0.55].astype(float)
    return float(values.std() / values.mean())


def test_a_smooth_field_is_taken_out() -> None:
    image, mask = leg(field=True)
    corrected = correct_bias(image, mask)
    assert corrected.GetPixelID() == image.GetPixelID() and grid_of(corrected) == grid_of(image)
    assert unevenness(corrected) < 0.35 * unevenness(image)
    inside = array_of(mask) > 0
    assert array_of(corrected)[inside].mean() == pytest.approx(array_of(image)[inside].mean(), rel=0.02)


def test_an_even_image_stays_as_it_is() -> None:
    image, mask = leg(field=False)
    corrected = array_of(correct_bias(image, mask)).astype(float)
    muscle = array_of(image) > 200
    ratio = corrected[muscle] / array_of(image)[muscle]
    assert ratio.std() < 0.03


def test_a_mask_that_does_not_fit_is_refused() -> None:
    image, mask = leg(field=False)
    with pytest.raises(UserError, match="body mask is empty"):
        correct_bias(image, mask * 0)
    with pytest.raises(UserError, match="same grid"):
        correct_bias(image, mask[1:, :, :])
