"""Couch removal: the sheets go, the patient stays whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.volumes.couch import body_without_couch, remove_couch
from synthct.volumes.geometry import array_of

SARCOMA = Path(__file__).parents[2] / "shared/data/sarcoma"


def patient_on_a_couch(touching: bool = True) -> tuple[sitk.Image, np.ndarray, np.ndarray]:
    """Return a CT of 2 mm voxels, and where its body and its couch are (z, y, x)."""
    _, y, x = np.mgrid[0:8, 0:120, 0:160]
    body = ((x - 80) / 55) ** 2 + ((y - 55) / 35) ** 2 < 1
    lungs = (((np.abs(x - 80) - 25) / 15) ** 2 + ((y - 54) / 20) ** 2 < 1) & body
    ear = (np.abs(x - 80) < 2) & (y >= 12) & (y < 22)
    top = 89 if touching else 95
    couch = ((y == top) | (y == top + 1) | (y == 110) | (y == 111)) & (x > 10) & (x < 150)
    couch |= (y > top) & (y < 110) & ((np.abs(x - 12) < 2) | (np.abs(x - 148) < 2))
    hu = np.full(body.shape, -1000, np.int16)
    hu[couch] = 200
    hu[body] = 40
    hu[lungs] = -850
    hu[ear] = 20
    body = body | ear
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((2.0, 2.0, 3.0))
    return image, body, couch & ~body


@pytest.mark.parametrize("touching", [True, False])
def test_the_couch_goes_and_body_lungs_and_ear_stay(touching):
    ct, body, couch = patient_on_a_couch(touching)
    found = array_of(body_without_couch(ct)) != 0
    assert found[couch].mean() < (0.08 if touching else 0.001)  # where sheet and skin touch, a sliver stays
    assert found[body].mean() > 0.995
    clean = remove_couch(ct, outside_hu=-1024)
    assert clean.GetPixelID() == ct.GetPixelID()
    assert set(np.unique(array_of(clean)[~found])) == {-1024}
    np.testing.assert_array_equal(array_of(clean)[found], array_of(ct)[found])


def test_the_axes_may_be_stored_in_any_order():
    ct, _, _ = patient_on_a_couch()
    turned = sitk.Flip(sitk.PermuteAxes(ct, (2, 0, 1)), (False, True, False))
    there = sitk.PermuteAxes(sitk.Flip(body_without_couch(turned), (False, True, False)), (1, 2, 0))
    np.testing.assert_array_equal(array_of(there), array_of(body_without_couch(ct)))


def test_a_body_cut_by_the_field_of_view_is_kept_to_its_edge():
    ct, body, _ = patient_on_a_couch()
    found = array_of(body_without_couch(ct[40:, 30:, :])) != 0
    assert found[:, :40, :60].all() == body[:, 30:70, 40:100].all()
    assert found[body[:, 30:, 40:]].mean() > 0.995


def test_a_ct_without_a_body_is_refused():
    empty = sitk.Image((20, 20, 5), sitk.sitkInt16) - 1000
    with pytest.raises(UserError, match="No body"):
        remove_couch(empty)
    with pytest.raises(UserError, match="have no sign, so it is not in HU"):
        remove_couch(sitk.Image((20, 20, 5), sitk.sitkUInt16) + 1024)


@pytest.mark.skipif(not SARCOMA.exists(), reason="the sarcoma images are not here")
def test_a_real_couch_under_a_pelvis():
    ct = sitk.ReadImage(str(SARCOMA / "STS_007_CT.nii.gz"))[:, :, 20:30]
    dense = array_of(ct) > -350
    found = array_of(body_without_couch(ct)) != 0
    couch_rows = dense[:, -12:, : dense.shape[2] // 2]
    assert couch_rows.any()
    assert not found[:, -12:, : dense.shape[2] // 2].any()
    assert found[dense].mean() > 0.9
