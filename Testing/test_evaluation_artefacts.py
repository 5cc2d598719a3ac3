"""Slice jump, checkerboard and diversity of volumes in which each is known."""

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from test_command_line import synthct

from synthct.errors import UserError
from synthct.evaluation.images.artefacts import checkerboard, checkerboard_ratio, diversity, slice_jump
from synthct.evaluation.images.scores import DEFINITIONS, score_arrays, score_diversity, score_pair
from synthct.scene.cards import SCORES

SHAPE = (24, 48, 52)
SPACINGS = [(1, 1, 1), (1.2, 1.2, 4), (2, 2, 3), (2, 2, 0.7), (0.9, 1.3, 2.5)]


def positions(shape, spacing):
    """z, y, x in mm."""
    steps = tuple(reversed(spacing))
    return [index * step for index, step in zip(np.mgrid[tuple(map(slice, shape))], steps, strict=True)]


def smooth(shape=SHAPE, spacing=(1, 1, 1), seed=0, waves=60):
    """A field of waves of 40 to 120 mm length in every direction of space."""
    random = np.random.default_rng(seed)
    z, y, x = positions(shape, spacing)
    field = np.zeros(shape)
    for _ in range(waves):
        direction = random.normal(size=3)
        direction *= 2 * np.pi / random.uniform(40, 120) / np.linalg.norm(direction)
        field += np.cos(direction[0] * z + direction[1] * y + direction[2] * x + random.uniform(0, 2 * np.pi))
    return 20 * field


def disc(shape=SHAPE, radius=0.9):
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    return x**2 + y**2 < radius**2


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_smooth_error_and_noise_have_no_jumps(spacing):
    reference = smooth(seed=1)
    shape = tuple(int(110 / step) for step in reversed(spacing))
    error = np.mean([slice_jump(np.zeros(shape), smooth(shape, spacing, seed), spacing) for seed in range(3)])
    assert error == pytest.approx(1, abs=0.1)
    noise = np.random.default_rng(0).normal(0, 30, SHAPE)
    assert slice_jump(reference, reference + noise, spacing) == pytest.approx(1, rel=0.03)


def test_offsets_of_slices_raise_it_by_their_size():
    """An error that rises by 3 HU per mm along x and y and jumps by 4.5, 9 and 45 HU from slice to slice of 1.5 mm."""
    spacing = (1.5, 1.5, 1.5)
    _, y, x = positions(SHAPE, spacing)
    reference = smooth()
    for jump in (4.5, 9.0, 45.0):
        offsets = jump * (np.arange(SHAPE[0]) % 2)
        synthetic = reference + 3 * (x + y) + offsets[:, None, None]
        assert slice_jump(reference, synthetic, spacing) == pytest.approx(jump / 1.5 / 3, rel=1e-4)
        assert slice_jump(reference, synthetic, spacing, disc()) == pytest.approx(jump / 1.5 / 3, rel=1e-4)


def test_the_border_to_air_does_not_count():
    reference, mask = smooth(), disc()
    synthetic = reference + smooth(seed=5)
    inner = slice_jump(reference, synthetic, (1, 1, 1), mask, border_mm=5)
    spoiled = np.where(mask, synthetic, -1024.0)
    rim = mask & ~disc(radius=0.85)
    spoiled[1::2][rim[1::2]] += 800
    assert slice_jump(reference, spoiled, (1, 1, 1), mask, border_mm=5) == pytest.approx(inner, rel=1e-6)
    assert slice_jump(reference, spoiled, (1, 1, 1), mask, border_mm=0) > 1.2 * inner


def test_jumps_that_are_not_defined_are_nan_and_it_is_said():
    zeros = np.zeros(SHAPE)
    assert math.isnan(slice_jump(zeros, zeros + 3, (1, 1, 1)))
    assert math.isnan(slice_jump(zeros, smooth(), (1, 1, 1), disc(radius=0.1)))
    scores = score_arrays(zeros, zeros + 3, spacing=(1, 1, 1))
    assert scores.to_dict()["slice_jump"] is None and any("slice jump" in note for note in scores.notes)
    assert "slice_jump" not in score_arrays(zeros, zeros + 3).values


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [SHAPE, (5, 47, 61)])
def test_a_checkerboard_has_its_share_of_the_energy(shape, masked):
    mask = disc(shape) if masked else None
    inside = np.ones(shape, bool) if mask is None else mask
    base = smooth(shape) + 100
    _, y, x = np.mgrid[tuple(map(slice, shape))]
    assert checkerboard(base, 2, mask) < (2e-3 if masked else 1e-6)
    window = np.outer(np.hanning(shape[1] + 2)[1:-1], np.hanning(shape[2] + 2)[1:-1])
    if masked:
        rows, columns = (np.flatnonzero(mask[0].any(axis=axis)) for axis in (1, 0))
        small = np.outer(np.hanning(len(rows) + 2)[1:-1], np.hanning(len(columns) + 2)[1:-1])
        window = np.zeros(shape[1:])
        window[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = small
    energy = sum(
        (np.where(m, plane - plane[m].mean(), 0) * window) ** 2 for plane, m in zip(base, inside, strict=True)
    ).sum()
    for pattern, stride in [((-1.0) ** (x + y), 2), ((-1.0) ** x, 2), (np.sqrt(2) * np.cos(np.pi / 2 * x), 4)]:
        added = (inside * window**2).sum() * 20.0**2
        expected = added / (energy + added)
        assert checkerboard(base + 20 * pattern, stride, mask) == pytest.approx(expected, rel=0.05), stride
        assert checkerboard(base + 20 * pattern, 6 - stride, mask) < 0.1 * expected


def test_the_ratio_is_one_without_and_large_with_a_checkerboard():
    noise = np.random.default_rng(0).normal(0, 10, (2, *SHAPE))
    reference = smooth() + noise[0]
    assert checkerboard_ratio(reference, smooth(seed=2) + noise[1], 2, disc()) == pytest.approx(1, abs=0.3)
    _, y, x = np.mgrid[tuple(map(slice, SHAPE))]
    assert checkerboard_ratio(reference, reference + 30 * (-1.0) ** (x + y), 2, disc()) > 20
    assert math.isnan(checkerboard_ratio(np.zeros(SHAPE), reference, 2))


def test_diversity_is_the_mean_over_pairs():
    zeros = np.zeros((3, 4, 5), np.int16)
    assert diversity([zeros, zeros + 10, zeros + 40]) == pytest.approx((10 + 40 + 30) / 3)
    assert diversity([zeros, zeros]) == 0
    mask = np.zeros(zeros.shape, bool)
    mask[1] = True
    other = zeros.copy()
    other[1] = 7
    assert diversity([zeros, other], mask) == 7
    with pytest.raises(ValueError, match="two"):
        diversity([zeros])


def on_grid(array, axes=(0, 1, 2), signs=(1, 1, 1), spacing=(1.0, 1.0, 3.0)):
    """The same patient stored otherwise: image axis n runs along the world axis ``axes[n]``, with its sign."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image = sitk.PermuteAxes(image, axes)
    return image[tuple(slice(None, None, sign) for sign in signs)]


@pytest.mark.parametrize("axes, signs", [((2, 0, 1), (1, 1, 1)), ((1, 2, 0), (-1, 1, -1)), ((0, 1, 2), (-1, -1, 1))])
def test_scores_do_not_depend_on_how_a_volume_is_stored(axes, signs):
    reference, mask = smooth(), disc().astype(np.uint8)
    synthetic = reference + 5 * np.random.default_rng(0).normal(size=SHAPE) + 20 * (np.arange(24) % 2)[:, None, None]
    upright = score_pair(on_grid(reference), on_grid(synthetic), on_grid(mask))
    turned = score_pair(*(on_grid(array, axes, signs) for array in (reference, synthetic, mask)))
    for name in ("slice_jump", "checkerboard_stride2", "checkerboard_stride4"):
        assert turned.values[name] == pytest.approx(upright.values[name], rel=1e-3), name
        assert name in DEFINITIONS
    direct = score_arrays(reference, synthetic, mask > 0, spacing=(1, 1, 3))
    assert direct.values["slice_jump"] == pytest.approx(upright.values["slice_jump"], rel=1e-5)


def test_outputs_on_other_grids_have_no_diversity():
    a, b = on_grid(smooth()), on_grid(smooth(), spacing=(1.0, 1.0, 2.0))
    with pytest.raises(UserError, match=r"b\.nii"):
        score_diversity([a, b], ["a.nii", "b.nii"])


def test_evaluate_prints_them(tmp_path):
    random = np.random.default_rng(0)
    reference = smooth((8, 20, 20))
    for name, array in [("ct", reference)] + [(f"s{n}", reference + random.normal(0, 20, (8, 20, 20))) for n in "12"]:
        sitk.WriteImage(on_grid(array.astype(np.int16)), str(tmp_path / f"{name}.nii.gz"))
    words = ("evaluate", "--reference", tmp_path / "ct.nii.gz", "--synthetic", tmp_path / "s1.nii.gz")
    answer = synthct(*words, "--also", tmp_path / "s2.nii.gz", "--output", tmp_path / "scores.json")
    assert answer.returncode == 0, answer.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["slice_jump"] == pytest.approx(1, abs=0.1)
    assert scores["diversity_hu"] == pytest.approx(20 * 2 / np.sqrt(np.pi), rel=0.05)
    assert scores["checkerboard_stride2"] > 1
    for name in ("slice_jump", "diversity_hu", "checkerboard_stride4"):
        assert name in answer.stdout and DEFINITIONS[name] in answer.stdout
    assert "seams" in synthct("evaluate", "--help").stdout


def test_every_score_of_one_pair_has_a_name_in_slicer():
    assert set(DEFINITIONS) - {"diversity_hu"} == set(SCORES)
