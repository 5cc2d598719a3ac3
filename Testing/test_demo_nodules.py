"""The demo's second half at a tiny scale: every verb, its numbers, its picture, and checks that can fail."""

import demo_nodules
import numpy as np
import pytest
import SimpleITK as sitk
from chests import chest_arrays, on_grid
from lidc_cases import LOWEST, STEP, square, write_database

from synthct.__main__ import main

SPACING, ORIGIN = (4.0, 4.0, STEP), (-7.0, 12.0, LOWEST)
ROWS, COLUMNS, SLICES = slice(22, 26), slice(17, 21), range(8, 16)
NODULE_MM3 = 4 * 4 * len(SLICES) * 4 * 4 * STEP


def write_chest(folder, name, seed):
    """A chest with a nodule in its right lung and noise of its own; its tumour beside it."""
    hu, _ = chest_arrays()
    tumour = np.zeros(hu.shape, np.uint8)
    tumour[SLICES.start : SLICES.stop, ROWS, COLUMNS] = 1
    hu[tumour == 1] = 60
    hu = (hu + np.random.default_rng(seed).normal(0, 15, hu.shape)).astype(np.int16)
    paths = folder / f"{name}.nii.gz", folder / f"{name}_tumour.nii.gz"
    for voxels, path in zip((hu, tumour), paths, strict=True):
        sitk.WriteImage(on_grid(voxels, SPACING, ORIGIN), str(path))
    return paths


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a demo, and what it measured."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("demo")

    def synthct(*words):
        assert main([str(word) for word in words]) == 0, words

    outlines = [(k, square(COLUMNS.start, ROWS.start, 4), True) for k in SLICES]
    database = write_database(source / "p.sqlite", *[(1, 4, outlines)] * 4)
    ct, _ = write_chest(source, "shown", 0)
    others = {name: write_chest(source, name, seed) for seed, name in enumerate(("first", "second"), 1)}
    chest = demo_nodules.Chest(ct, database, "LIDC-IDRI-9999", others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_nodules, "synthct", synthct)
        found = demo_nodules.run(folder, chest, steps=40, spacing=(4, 4, 4), width="8-16", size=(32, 32))
    return folder, found


def test_the_whole_way_is_gone_and_measured(demo):
    folder, found = demo
    assert found["trained_on"] == ["first", "second"]
    assert found["nodules_mm3"] == pytest.approx([NODULE_MM3])
    assert found["changed_far_away"] == 0
    assert 0.2 * NODULE_MM3 < found["planted_mm3"] < 1.3 * NODULE_MM3  # scaled by 0.7 to 1, on coarser voxels
    assert found["real_nodule_hu"] == pytest.approx(60, abs=10) and found["place_real_hu"] < -700
    assert found["planted_hu"] > found["place_before_hu"] + 100  # 40 steps: no CT yet, but no longer lung
    assert found["look_up_mae_hu"] < 30  # on a phantom little but the noise is left
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "nodules.png")))
    assert picture.shape[0] > 300 and len(np.unique(picture)) > 100


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodules_mm3": [NODULE_MM3 - 50]}, "known volume"),
        ({"nodules_mm3": [NODULE_MM3, 20.0]}, "known volume"),
        ({"mae_hu": 51.0}, "look-up's"),
        ({"place_real_hu": -300.0}, "lung in the real CT"),
        ({"planted_hu": -500.0}, "soft tissue"),
        ({"place_before_hu": 0.0}, "not there before"),
        ({"changed_far_away": 1}, "far from it"),
    ],
)
def test_each_check_fails_where_it_should(demo, change, said):
    good = demo[1] | {"mae_hu": 40.0, "look_up_mae_hu": 50.0, "planted_hu": 40.0, "place_before_hu": -950.0}
    assert demo_nodules.judge(good, (NODULE_MM3,))[1]
    text, passed = demo_nodules.judge(good | change, (NODULE_MM3,))
    wrong = [line for line in text.splitlines() if "NOT AS IT SHOULD BE" in line]
    assert not passed and len(wrong) == 1 and said in wrong[0]
