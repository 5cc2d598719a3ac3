"""MS-SSIM of images between −1 and 1: against MONAI's where that can do it, by hand, and on sizes that it cannot."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from synthct.evaluation.distribution.ms_ssim import LARGEST, WEIGHTS, mean_pairwise_ms_ssim, ms_ssim, pyramid, small


def smooth(shape, seed, sigma=2.0):
    image = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return np.clip(image / np.abs(image).max(), -1, 1)


@pytest.mark.parametrize("shape", [(180, 192), (48, 50, 44)])
def test_equals_monais(shape):
    from monai.metrics import MultiScaleSSIMMetric

    a = smooth(shape, 0)
    b = np.clip(0.8 * a + 0.2 * smooth(shape, 1), -1, 1)
    count = len(pyramid(a).images)
    assert count == (5 if len(shape) == 2 else 3)
    weights = [weight / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count]]
    metric = MultiScaleSSIMMetric(len(shape), data_range=2.0, kernel_size=11, kernel_sigma=1.5, weights=weights)
    theirs = metric(*(torch.from_numpy(image)[None, None] for image in (a, b))).item()
    assert ms_ssim(a, b) == pytest.approx(theirs, abs=2e-4)
    assert 0.2 < theirs < 0.99


def test_by_hand_on_constant_images():
    """Without structure only the luminance counts: (2·0.5·0.1 + c) / (0.25 + 0.01 + c), c = (0.01·2)²."""
    a, b = np.full((12, 12), 0.5), np.full((12, 12), 0.1)
    assert ms_ssim(a, b) == pytest.approx((0.1 + 0.0004) / (0.26 + 0.0004))


@pytest.mark.parametrize("shape", [(16, 16, 16), (3, 9, 30), (4, 4, 4), (14, 7), (2, 2)])
def test_small_images_can_be_compared(shape):
    a, b = smooth(shape, 2, 1.0), smooth(shape, 3, 1.0)
    assert ms_ssim(a, a) == pytest.approx(1)
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(b, a))
    assert ms_ssim(a, b) < 0.9
    near = np.clip(a + 0.02 * b, -1, 1)
    assert ms_ssim(a, b) < ms_ssim(a, near)


def test_pairs_of_equal_images_are_alike_and_of_different_ones_are_not():
    images = [smooth((20, 20, 20), seed) for seed in range(4)]
    assert mean_pairwise_ms_ssim([images[0]] * 3) == pytest.approx(1)
    assert mean_pairwise_ms_ssim(images) < 0.5
    half = mean_pairwise_ms_ssim([images[0], images[0], images[1], images[1]])
    assert mean_pairwise_ms_ssim(images) < half < 1
    with pytest.raises(ValueError, match="two images"):
        mean_pairwise_ms_ssim(images[:1])
    with pytest.raises(ValueError, match="cannot be compared"):
        ms_ssim(images[0], images[1][1:])


def test_large_images_are_averaged_down():
    image = smooth((150, 40), 5)
    shrunk = small(image)
    assert shrunk.shape == (50, 40)
    assert shrunk[0, 0] == pytest.approx(image[:3, 0].mean())
    assert max(small(np.zeros((LARGEST + 1, LARGEST))).shape) <= LARGEST
