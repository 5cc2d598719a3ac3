"""Scores against the check values of the SynthRAD definitions and against cases small enough for the hand."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from synthct.errors import UserError
from synthct.evaluation.images.scores import score_arrays, score_pair
from synthct.evaluation.images.structural import msssim_synthrad2025, ssim_synthrad2023
from synthct.evaluation.images.voxelwise import dice, mae, mean_error, psnr, tissue_mask
from synthct.whole_file import require_writable


@pytest.fixture(scope="module")
def check_pair():
    z, y, x = np.mgrid[0:40, 0:64, 0:72]
    reference = np.clip(1000 * np.sin(x / 9) * np.cos(y / 11) + 30 * z - 400, -1024, 3000)
    synthetic = reference + np.random.default_rng(0).normal(0, 60, reference.shape)
    mask = ((x - 36) / 30) ** 2 + ((y - 32) / 26) ** 2 < 1
    return reference, synthetic, mask


def test_synthrad_check_values(check_pair):
    assert mae(*check_pair) == pytest.approx(47.96044, abs=1e-4)
    assert psnr(*check_pair, data_range=4024, clip=(-1024, 3000)) == pytest.approx(36.57685, abs=1e-4)
    assert psnr(*check_pair, data_range=4095, clip=(-1024, 3071)) == pytest.approx(36.72877, abs=1e-4)
    assert ssim_synthrad2023(*check_pair) == pytest.approx(0.9484012, abs=1e-4)
    assert msssim_synthrad2025(*check_pair, clip=(-1024, 3000)) == pytest.approx(0.9948143, abs=1e-4)
    assert msssim_synthrad2025(*check_pair) == pytest.approx(0.9948855, abs=1e-4)


def test_ssim_agrees_with_scikit_image(check_pair):
    metrics = pytest.importorskip("skimage.metrics")
    reference, synthetic, _ = (np.clip(array, -1024, 3000) for array in check_pair)
    expected = metrics.structural_similarity(reference + 1024, synthetic + 1024, data_range=4024)
    assert ssim_synthrad2023(reference, synthetic) == pytest.approx(expected, abs=1e-4)


def test_hand_computed_errors():
    reference = np.array([[[0, 100], [-1000, 500]]], dtype=np.int16)
    synthetic = np.array([[[10, 80], [-1000, 600]]], dtype=np.int16)
    mask = np.array([[[True, True], [False, True]]])
    assert mae(reference, synthetic, mask) == pytest.approx(130 / 3)
    assert mean_error(reference, synthetic, mask) == pytest.approx(90 / 3)
    mean_square = (100 + 400 + 10000) / 3
    assert psnr(reference, synthetic, mask, data_range=2500) == pytest.approx(10 * math.log10(2500**2 / mean_square))


def test_int16_differences_do_not_overflow():
    reference = np.full((2, 2, 2), 32000, dtype=np.int16)
    assert mae(reference, -reference) == 64000


def test_equal_images_have_infinite_psnr(check_pair):
    reference, _, mask = check_pair
    assert psnr(reference, reference, mask, data_range=2500) == math.inf
    assert ssim_synthrad2023(reference, reference, mask) == pytest.approx(1)
    assert msssim_synthrad2025(reference, reference, mask) == pytest.approx(1)


def test_a_one_voxel_shift_worsens_every_score(check_pair):
    reference, _, mask = check_pair
    shifted = np.roll(reference, 1, axis=2)
    assert mae(reference, shifted, mask) > 10
    assert ssim_synthrad2023(reference, shifted, mask) < 0.999
    assert msssim_synthrad2025(reference, shifted, mask) < 0.9999


def test_dice_and_tissues():
    image = np.array([-1000, -200, 0, 249, 250, 2000])
    assert tissue_mask(image, "air").tolist() == [True, False, False, False, False, False]
    assert tissue_mask(image, "bone").tolist() == [False, False, False, False, True, True]
    assert tissue_mask(image, "soft").sum() == 3
    first = np.array([True, True, False, False])
    second = np.array([True, False, True, False])
    assert dice(first, second) == 0.5
    assert math.isnan(dice(~first & first, ~first & first))


def test_shapes_and_empty_masks_are_refused():
    with pytest.raises(ValueError, match="shape"):
        mae(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="empty"):
        mae(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), np.zeros((2, 2, 2), dtype=bool))


def ct_image(array, origin=(0, 0, 0)):
    image = sitk.GetImageFromArray(np.asarray(array, dtype=np.int16))
    image.SetOrigin([float(value) for value in origin])
    return image


def test_pairs_on_other_grids_are_resampled_and_it_is_said():
    array = np.random.default_rng(0).normal(0, 200, (10, 12, 14))
    scores = score_pair(ct_image(array), ct_image(array[1:, 1:, 1:], origin=(1, 1, 1)))
    assert any("resampled" in note for note in scores.notes)
    inner = np.zeros((10, 12, 14))
    inner[1:, 1:, 1:] = 1
    assert any("covers 77% of what is scored" in note for note in scores.notes)
    inside = score_pair(ct_image(array), ct_image(array[1:, 1:, 1:], (1, 1, 1)), ct_image(inner))
    assert inside.values["mae_hu"] == 0 and not any("covers" in note for note in inside.notes)


def test_pairs_in_different_places_are_refused():
    with pytest.raises(UserError, match=r"a\.nii does not overlap b\.nii"):
        score_pair(
            ct_image(np.zeros((9, 9, 9))), ct_image(np.zeros((9, 9, 9)), (500, 0, 0)), None, ("b.nii", "a.nii", "")
        )


def test_nan_and_empty_masks_are_refused():
    holes = sitk.GetImageFromArray(np.full((9, 9, 9), np.nan, dtype=np.float32))
    with pytest.raises(UserError, match="NaN"):
        score_pair(ct_image(np.zeros((9, 9, 9))), holes)
    with pytest.raises(UserError, match="marks no voxel"):
        score_pair(*(ct_image(np.zeros((9, 9, 9))) for _ in range(3)))


def test_scores_that_are_not_defined_say_so():
    scores = score_arrays(np.zeros((4, 9, 9)), np.zeros((4, 9, 9)))
    content = scores.to_dict()
    assert content["ssim_synthrad2023"] is None and any("SSIM is left out" in note for note in scores.notes)
    assert content["dice_bone"] is None and content["mae_bone_hu"] is None
    assert content["psnr_2500_db"] == "inf"
    assert set(scores.values) <= set(content["definitions"])


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/scores\.json cannot be written"):
        require_writable(None, tmp_path / "new" / "scores.json", tmp_path / "file" / "scores.json")
    with pytest.raises(UserError, match=r"file exists already"):
        require_writable(tmp_path / "file")
    with pytest.raises(UserError, match=r"is a folder"):
        require_writable(tmp_path, overwrite=True)
    require_writable(tmp_path / "file", overwrite=True)
