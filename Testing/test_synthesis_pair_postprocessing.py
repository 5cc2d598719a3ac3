"""Masks from a generator: binarised at the right threshold for each scaling, freed of specks by their volume."""

import numpy as np
import pytest

from synthct.errors import UserError
from synthct.synthesis.generation.pair_postprocessing import binarise, keep_largest, remove_small
from synthct.volumes.scaling import make_scaling


@pytest.mark.parametrize(("name", "labels"), [("hagan-mask", [0, 1, 2]), ("hagan-mask-binary", [0, 1])])
def test_every_label_survives_and_background_does_not(name, labels):
    scaling = make_scaling({"name": name})
    values = scaling.apply(np.array(labels, np.float32))
    for change in (-0.2, 0.0, 0.2):
        assert binarise(values + change, scaling).tolist() == [int(label > 0) for label in labels]


def test_thresholds_in_network_output():
    full, binary = (make_scaling({"name": name}) for name in ("hagan-mask", "hagan-mask-binary"))
    near = np.array([-0.51, -0.49, -0.01, 0.01], np.float32)
    assert binarise(near, full).tolist() == [0, 1, 1, 1]
    assert binarise(near, binary).tolist() == [0, 0, 0, 1]
    assert binarise(near, full).dtype == np.uint8


def test_components_are_removed_by_their_volume_in_mm3():
    mask = np.zeros((6, 8, 8), np.uint8)
    mask[1:3, 1:3, 1:3] = 1  # 8 voxels
    mask[3, 3, 3] = 2  # touches the first by a corner: 9 with it
    mask[5, 6, 6:8] = 1  # 2 voxels
    spacing = (0.5, 0.5, 2.0)  # half a mm³ each
    assert np.array_equal(remove_small(mask, 1.0, spacing), mask)
    larger = remove_small(mask, 1.01, spacing)
    assert larger[5].sum() == 0
    assert larger[3, 3, 3] == 2
    assert np.count_nonzero(larger) == 9
    assert np.count_nonzero(remove_small(mask, 4.5, spacing)) == 9
    assert np.count_nonzero(remove_small(mask, 4.6, spacing)) == 0
    assert np.count_nonzero(remove_small(mask, 0.0, spacing)) == 11
    assert mask.sum() == 12  # the mask that was given stays


def test_the_largest_component_stays_whole():
    mask = np.zeros((6, 8, 8), np.uint8)
    mask[1:3, 1:3, 1:3] = 1  # 8 voxels
    mask[3, 3, 3] = 2  # touches the first by a corner
    mask[4:, 5:7, 5:8] = 1  # 12 voxels
    largest = keep_largest(mask)
    assert largest.dtype == np.uint8 and np.count_nonzero(largest) == 12 and largest[4:, 5:7, 5:8].all()
    mask[4:, 5:7, 7] = 0  # 8 are left, fewer than 9
    assert np.array_equal(keep_largest(mask), np.where(np.arange(6)[:, None, None] < 4, mask, 0))
    assert not keep_largest(np.zeros((2, 3, 4))).any()
    assert keep_largest(np.array([[1, 0, 0, 1, 1]])).tolist() == [[0, 0, 0, 1, 1]]


def test_a_slice_and_nonsense():
    mask = np.eye(4, dtype=np.uint8)
    assert np.array_equal(remove_small(mask, 4.0, (1.0, 1.0, 1.0)), mask)
    assert not remove_small(mask, 4.1, (1.0, 1.0, 1.0)).any()
    assert not remove_small(np.zeros((2, 3, 4)), 5.0, (1.0, 1.0, 1.0)).any()
    for volume in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="mm³"):
            remove_small(mask, volume, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="axes"):
        remove_small(mask[0], 1.0, (1.0, 1.0, 1.0))
