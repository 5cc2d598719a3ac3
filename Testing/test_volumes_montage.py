"""A volume's slices laid out on one picture, and taken back."""

import numpy as np
import pytest

from synthct.errors import UserError
from synthct.volumes.montage import Montage


def volume(shape, kind=np.int16):
    return np.random.default_rng(0).integers(-1000, 1000, shape).astype(kind)


@pytest.mark.parametrize("slices", [1, 7, 13, 15])
def test_what_was_laid_out_comes_back(slices):
    montage = Montage((35, 90), (10, 16))
    assert montage.capacity == 15
    laid = volume((slices, 10, 16))
    sheet, count = montage.lay_out(laid, -1024)
    assert (sheet.shape, sheet.dtype, count) == ((35, 90), np.int16, slices)
    assert np.array_equal(montage.take_back(sheet, count), laid)
    assert (sheet == -1024).sum() == 35 * 90 - slices * 160
    assert (sheet[30:] == -1024).all() and (sheet[:, 80:] == -1024).all()


def test_slices_go_along_the_rows_first():
    sheet, _ = Montage((4, 6), (2, 2)).lay_out(np.arange(6, dtype=np.float32)[:, None, None] + np.zeros((6, 2, 2)), -1)
    assert sheet[::2, ::2].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_slices_are_cut_and_padded_about_their_middle():
    large = volume((2, 12, 5))
    montage = Montage((20, 20), (10, 8))
    back = montage.take_back(*montage.lay_out(large, 0))
    assert back.shape == (2, 10, 8)
    assert np.array_equal(back[:, :, 1:6], large[:, 1:11])
    assert not back[:, :, [0, 6, 7]].any()


def test_of_too_many_slices_the_middle_ones_are_laid_out():
    montage = Montage((8, 8), (4, 4))
    many = volume((9, 4, 4))
    sheet, count = montage.lay_out(many, 0)
    assert count == 4
    assert np.array_equal(montage.take_back(sheet, count), many[2:6])


def test_the_published_sheet_holds_56_slices():
    montage = Montage((1024, 3680), (256, 256))
    laid = volume((56, 256, 256), np.int8)
    assert montage.capacity == 56
    assert np.array_equal(montage.take_back(*montage.lay_out(laid, 0)), laid)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"64×64.*100×20"):
        Montage((64, 64), (100, 20))
    montage = Montage((8, 8), (4, 4))
    for sheet, count in ((np.zeros((8, 9)), 1), (np.zeros((8, 8)), 5), (np.zeros((8, 8)), 0)):
        with pytest.raises(ValueError, match="no"):
            montage.take_back(sheet, count)
