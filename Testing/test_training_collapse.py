"""A generator that repeats itself is noticed by its fixed latents and said once; one that does not is left in peace."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthct.training.collapse import CASES_MS_SSIM, LATENTS_DIVERSITY, LATENTS_MS_SSIM, collapse_numbers
from synthct.training.watch import LATENTS_ALIKE, LATENTS_PICTURES, Watch


def pictures(count, seed, shape=(16, 16, 16), channels=2):
    rng = np.random.default_rng(seed)
    images = gaussian_filter(rng.standard_normal((count, channels, *shape)), (0, 0, *[1.5] * len(shape)))
    return (images / np.abs(images).max()).astype(np.float32)


@pytest.mark.parametrize("shape", [(16, 16, 16), (20, 24)])
def test_numbers_of_a_diverse_and_of_a_collapsed_generator(shape):
    real = pictures(5, 0, shape)
    numbers = collapse_numbers(pictures(5, 1, shape), real)
    assert numbers[LATENTS_DIVERSITY] == pytest.approx(1, abs=0.15)
    assert numbers[LATENTS_MS_SSIM] == pytest.approx(numbers[CASES_MS_SSIM], abs=0.15)
    one = pictures(1, 2, shape)
    collapsed = collapse_numbers(np.repeat(one, 5, axis=0) + 0.01 * pictures(5, 3, shape), real)
    assert collapsed[LATENTS_DIVERSITY] < 0.02
    assert collapsed[LATENTS_MS_SSIM] > 0.98
    assert collapse_numbers(one, real) == {}
    assert LATENTS_DIVERSITY not in collapse_numbers(real, np.repeat(one, 3, axis=0))


def test_the_alarm_comes_once_in_words_and_again_only_after_recovery():
    watch, real = Watch(), pictures(4, 0)
    same = np.repeat(pictures(1, 2), 4, axis=0)
    found = []
    for step in range(1, LATENTS_PICTURES + 3):
        found.append(watch.add(step, collapse_numbers(same, real)))
    assert [len(said) for said in found] == [0] * (LATENTS_PICTURES - 1) + [1, 0, 0]
    said = found[LATENTS_PICTURES - 1][0]
    assert "mode collapse" in said.what
    assert "0%" in said.why and f"{LATENTS_ALIKE:.0%}" in said.why
    assert "newest samples" in said.todo
    assert watch.add(90, collapse_numbers(pictures(4, 5), real)) == []
    again = [watch.add(100 + step, collapse_numbers(same, real)) for step in range(LATENTS_PICTURES)]
    assert [len(said) for said in again] == [0] * (LATENTS_PICTURES - 1) + [1]


def test_half_the_diversity_is_no_alarm():
    watch, real = Watch(), pictures(4, 0)
    two = np.repeat(pictures(2, 2), 2, axis=0)
    for step in range(6):
        assert watch.add(step, collapse_numbers(two, real)) == []
