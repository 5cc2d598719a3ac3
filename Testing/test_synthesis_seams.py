"""The seam number: large where windows are put side by side, the network's own noise where they are blended."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import phantom_pair
from synthesis_models import centre_model
from torch import nn

from synthct.errors import UserError
from synthct.synthesis.seams import seam_number, seam_of

SHAPE, SIZE = (48, 64, 64), (16, 24, 24)


@pytest.fixture(scope="module")
def image():
    mr = phantom_pair(SHAPE, seed=3)[0]
    mr.SetSpacing((1.0, 1.0, 1.0))
    return sitk.Cast(mr, sitk.sitkInt16)


class Smooth(nn.Module):
    """A blur that sees zeros beyond its window, and the window's own mean: what real networks depend on, smoothly."""

    def __init__(self, dimensions):
        super().__init__()
        self.dimensions = dimensions
        self.blur = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dimensions](5, 1, 2)

    def forward(self, image):
        return 0.98 * self.blur(image) + 0.02 * image.flatten(1).mean(1).reshape(-1, *[1] * (image.ndim - 1))


@pytest.fixture(scope="module")
def models():
    return {
        3: centre_model(Smooth(3), size=list(SIZE), planes=["axial"]),
        2: centre_model(Smooth(2), size=list(SIZE[1:]), planes=["axial"]),
    }


def side_by_side(image, model, first):
    """HU of windows without overlap whose grid begins at ``first`` of every axis; what is left over stays 0."""
    scaled = model.input_scaling.apply(sitk.GetArrayFromImage(image))
    sides = (1,) * (3 - len(model.card["size"])) + tuple(model.card["size"])
    hu = np.zeros(scaled.shape, np.float32)
    ranges = [range(start, length - side + 1, side)
              for start, length, side in zip(first, scaled.shape, sides, strict=True)]  # fmt: skip
    for corner in itertools.product(*ranges):
        place = tuple(slice(a, a + side) for a, side in zip(corner, sides, strict=True))
        window = torch.from_numpy(scaled[place])[None, None]
        with torch.no_grad():
            output = model.network(window[:, :, 0] if len(model.card["size"]) == 2 else window)
        hu[place] = model.target_scaling.invert(output.numpy().reshape(sides))
    return hu


@pytest.mark.parametrize("dimensions", [2, 3])
def test_blending_leaves_no_seam_where_tiles_side_by_side_have_them(image, models, dimensions):
    model = models[dimensions]
    blended = seam_of(image, model, device="cpu")
    shift = (0, 12, 12) if dimensions == 2 else (8, 12, 12)
    first, second = side_by_side(image, model, (0, 0, 0)), side_by_side(image, model, shift)
    kept = (slice(shift[0], 40 if dimensions == 3 else 48), slice(12, 48), slice(12, 48))
    borders = [
        [border - place.start for border in range(0, 64, side // 2)] if start else []
        for place, side, start in zip(kept, SIZE, shift, strict=True)
    ]
    tiled = seam_number(first[kept], second[kept], borders)
    assert blended.anywhere_hu > 1  # the network does depend on where a window lies
    assert blended.ratio < 1.5 < tiled.ratio
    assert tiled.border_hu > 20 * blended.border_hu
    if dimensions == 3:  # half a window shared in place of a quarter
        assert blended.ratio < 1.15


def test_by_hand():
    first = np.zeros((2, 4, 10))
    second = first - np.arange(10.0)
    seam = seam_number(first, second, [[], [], [5, 8]])
    assert seam.border_hu == pytest.approx((4 + 5 + 7 + 8) / 4)
    assert seam.anywhere_hu == pytest.approx(4.5)
    assert seam.ratio == pytest.approx(6 / 4.5)
    mask = np.ones(first.shape)
    mask[..., 4] = 0
    assert seam_number(first, second, [[], [], [5, 8]], mask).border_hu == pytest.approx((5 + 7 + 8) / 3)
    crossing = seam_number(first, second, [[1], [], []])
    assert crossing.ratio == 1
    with pytest.raises(ValueError, match="No border"):
        seam_number(first, second, [[], [], [0, 10]])


def test_translations_that_are_equal_have_no_seam(image):
    model = centre_model(size=list(SIZE[1:]))
    seam = seam_of(image, model, device="cpu")
    assert (seam.border_hu, seam.anywhere_hu, seam.ratio) == (0, 0, 1)


def test_what_cannot_be_measured_is_refused(image, models):
    with pytest.raises(UserError, match="two and a half windows"):
        seam_of(image[:30, :30, :20], models[3], device="cpu")
    with pytest.raises(UserError, match="upright"):
        seam_of(sitk.Flip(image, (True, False, False)), models[3], device="cpu")
