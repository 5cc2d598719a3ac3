"""From a folder of images and masks to batches for a training from noise: found, checked, prepared, cut, refused."""

import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_recipes import tiny_pairs

from synthct.__main__ import main
from synthct.data.cache import open_cache
from synthct.data.cohort import read_cohort, write_cohort
from synthct.data.discovery import find_cases
from synthct.data.fitting import fitted
from synthct.data.noise_batches import NoiseBatches, require_pairs
from synthct.data.preparation import prepare_cohort
from synthct.errors import UserError
from synthct.recipe import Augmentation, Data, Preparation

SCALED = {"target_scaling": {"name": "hagan-ct"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    write_cohort(tiny_pairs(folder, 4, (12, 20, 24)), folder / "cohort.json")
    return folder


@pytest.fixture(scope="module")
def volumes(folder, tmp_path_factory):
    return open_cache(read_cohort(folder), tmp_path_factory.mktemp("cache"))


def put(path, array, spacing=(2.0, 2.0, 2.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def image_of(shape=(8, 12, 12), seed=0):
    return np.random.default_rng(seed).integers(-900, 300, shape).astype(np.int16)


def batches(volumes, batch=2, seed=5, rank=0, world=1, **data):
    return NoiseBatches(volumes, list(volumes), Data(**SCALED, **data), batch, seed, rank, world)


def test_images_and_masks_are_found_by_their_names(tmp_path):
    put(tmp_path / "images" / "a.nii.gz", image_of())
    put(tmp_path / "masks" / "a.nii.gz", np.ones((8, 12, 12), np.uint8))
    put(tmp_path / "images" / "b.nii.gz", image_of(seed=1))
    put(tmp_path / "c_CT.nii.gz", image_of(seed=2))
    put(tmp_path / "c_mask.nii.gz", np.ones((8, 12, 12), np.uint8))
    put(tmp_path / "masks" / "alone.nii.gz", np.ones((8, 12, 12), np.uint8))
    put(tmp_path / "d_1_CT.nii.gz", image_of(seed=3))
    put(tmp_path / "d_1_GTV.nii.gz", np.ones((8, 12, 12), np.uint8))
    put(tmp_path / "d_1_MR.nii.gz", image_of(seed=4))
    (tmp_path / "cases.csv").write_text("id,diagnosis\na,benign\n", encoding="utf-8")
    cohort, findings = find_cases(tmp_path, task="noise-to-ct")
    assert [(case.id, case.kind, case.mask is not None) for case in cohort] == [
        ("a", "image", True),
        ("b", "image", False),
        ("c", "image", True),
        ("d_1", "image", True),
    ]
    assert cohort["a"].diagnosis == "benign" and cohort["a"].mask.parent.name == "masks"
    assert cohort["d_1"].mask.name == "d_1_GTV.nii.gz"
    assert ["alone" in str(finding) for finding in findings] == [True]


def test_command_checks_every_pair(tmp_path, capsys):
    put(tmp_path / "images" / "good.nii.gz", image_of())
    put(tmp_path / "masks" / "good.nii.gz", np.ones((8, 12, 12), np.uint8))
    put(tmp_path / "images" / "flat.nii.gz", np.full((8, 12, 12), -5, np.int16))
    put(tmp_path / "images" / "moved.nii.gz", image_of(seed=1))
    put(tmp_path / "masks" / "moved.nii.gz", np.ones((8, 12, 12), np.uint8), (1.0, 2.0, 2.0))
    put(tmp_path / "images" / "half.nii.gz", image_of(seed=2))
    put(tmp_path / "masks" / "half.nii.gz", np.full((8, 12, 12), 0.5, np.float32))
    put(tmp_path / "images" / "slice.nii.gz", image_of((1, 12, 12), 3))
    put(tmp_path / "images" / "outline.nii.gz", np.random.default_rng(4).integers(0, 3, (8, 12, 12)).astype(np.uint8))
    put(tmp_path / "images" / "scaled.nii.gz", np.random.default_rng(5).random((8, 12, 12)).astype(np.float32))
    out = tmp_path / "cohort.json"
    command = ["cohort", str(tmp_path), "--task", "noise-to-ct", "--output", str(out)]
    assert main([*command, "--thumbnails", str(tmp_path / "thumbs")]) == 0
    cases = {case["id"]: case.get("excluded", "") for case in json.loads(out.read_text())["cases"]}
    assert "constant" in cases["flat"] and "mask of case moved" in cases["moved"] and "0.5" in cases["half"]
    assert "from 0 to 2 alone: that is a mask" in cases["outline"] and "not in HU" in cases["scaled"]
    assert cases["good"] == cases["slice"] == ""
    assert (tmp_path / "thumbs" / "slice.png").exists()
    assert "flat" in capsys.readouterr().out


def test_preparation_resamples_the_mask_by_nearest_neighbour_and_crops(folder, tmp_path):
    wanted = Preparation(spacing=(1.5, 1.5, 1.5), crop=(30.0, 24.0, 18.0))
    prepared = prepare_cohort(read_cohort(folder), wanted, tmp_path)
    for case in prepared:
        ct, mask = (sitk.ReadImage(str(path)) for path in (case.ct, case.mask))
        assert ct.GetSpacing() == pytest.approx((1.5, 1.5, 1.5)) and ct.GetSize() == mask.GetSize() == (20, 16, 12)
        assert set(np.unique(sitk.GetArrayFromImage(mask))) == {0, 1}
        assert case.mr is None and case.diagnosis in ("benign", "malignant")
        outlined = np.argwhere(sitk.GetArrayFromImage(mask))
        middle = (outlined.min(axis=0) + outlined.max(axis=0)) / 2
        assert abs(middle[2] - 9.5) < 3  # the box of the bones is in the middle along x
    key = (tmp_path / "phantom_00" / "preparation.json").stat().st_mtime_ns
    prepare_cohort(read_cohort(folder), wanted, tmp_path)
    assert (tmp_path / "phantom_00" / "preparation.json").stat().st_mtime_ns == key


def test_channels_are_image_and_mask_scaled(volumes):
    data = {"size": (12, 20, 24), "fit": "centre"}
    sample = batches(volumes, masks="channel", **data).preview(1)["target"][0].numpy()
    volume = next(iter(volumes.values()))
    assert sample.shape == (2, 12, 20, 24)
    np.testing.assert_allclose(sample[0], np.clip((volume.ct + 1024) / 1624 * 2 - 1, -1, 1), atol=1e-5)
    np.testing.assert_array_equal(sample[1], np.where(volume.mask > 0, 1, -1))
    wide = batches(volumes, masks="channel", mask_scaling={"name": "hagan-mask"}, **data).preview(1)["target"][0]
    np.testing.assert_array_equal(wide[1], np.where(volume.mask > 0, 0, -1))  # label 1 of [0, 2]
    alone = batches(volumes, **data).preview(1)["target"][0].numpy()
    np.testing.assert_array_equal(alone[0], sample[0])
    joined = batches(volumes, masks="joined", size=(24, 20, 24), fit="centre").preview(1)["target"][0].numpy()
    np.testing.assert_array_equal(joined[0], np.concatenate(sample))


def test_smaller_images_are_padded_with_the_lowest_values(volumes):
    sample = batches(volumes, masks="channel", size=(16, 20, 30), fit="centre").preview(1)["target"][0].numpy()
    inside = batches(volumes, masks="channel", size=(12, 20, 24), fit="centre").preview(1)["target"][0].numpy()
    np.testing.assert_array_equal(sample[:, 2:14, :, 3:27], inside)
    assert (sample[:, :2] == -1).all() and (sample[:, :, :, 27:] == -1).all()


def test_resized_keeps_ends_and_labels_and_is_made_once(volumes):
    data = Data(size=(16, 10, 12), fit="resize", masks="channel", **SCALED)
    resized = {name: fitted(volume, data) for name, volume in volumes.items()}
    for name, volume in resized.items():
        old = volumes[name]
        assert volume.shape == volume.ct.shape == (16, 10, 12)
        assert set(np.unique(volume.mask)) == set(np.unique(old.mask))
        assert volume.ct[0, 0, 0] == old.ct[0, 0, 0] and volume.ct[-1, -1, -1] == old.ct[-1, -1, -1]
        extent = [(n - 1) * s for n, s in zip(volume.shape[::-1], volume.spacing, strict=True)]
        assert extent == pytest.approx([(n - 1) * s for n, s in zip(old.shape[::-1], old.spacing, strict=True)])
        when = (volume.folder / "ct.npy").stat().st_mtime_ns
        assert fitted(old, data) == volume and (volume.folder / "ct.npy").stat().st_mtime_ns == when
    joined = fitted(next(iter(volumes.values())), Data(size=(16, 10, 12), fit="resize", masks="joined"))
    assert joined.shape == (8, 10, 12)
    assert fitted(next(iter(volumes.values())), Data(size=(10, 12), fit="resize")).shape == (12, 10, 12)


def test_every_draw_follows_from_seed_and_step(volumes):
    data = {"size": (8, 16, 16), "masks": "channel", "augmentation": Augmentation(flip=True)}
    first, again, other = batches(volumes, **data), batches(volumes, **data), batches(volumes, seed=6, **data)
    assert all(torch.equal(first[step]["target"], again[step]["target"]) for step in (3, 0, 7))
    assert not all(torch.equal(first[step]["target"], other[step]["target"]) for step in range(4))
    assert not torch.equal(first[0]["target"], first[1]["target"])


@pytest.mark.parametrize("size", [(8, 16, 16), (16, 16)])
def test_processes_share_one_row_of_samples(volumes, size):
    data = {"size": size, "masks": "channel", "augmentation": Augmentation(flip=True)}
    whole = batches(volumes, batch=4, **data)
    shares = [batches(volumes, batch=2, rank=rank, world=2, **data) for rank in (0, 1)]
    for step in (0, 5):
        parts = torch.cat([share[step]["target"] for share in shares])
        assert torch.equal(parts, whole[step]["target"])


def test_an_epoch_shows_every_case_once_and_classes_belong_to_images(volumes):
    data = {"size": (12, 20, 24), "fit": "centre", "classes": ("malignant", "benign")}
    drawn = batches(volumes, batch=1, **data)
    assert drawn.steps_per_epoch == len(volumes) == 4
    whole = {name: batches({name: volume}, **data).preview(1) for name, volume in volumes.items()}
    seen = []
    for step in range(4):
        batch = drawn[step]
        name = next(name for name, one in whole.items() if torch.equal(one["target"], batch["target"]))
        assert batch["class"].dtype == torch.int64
        assert data["classes"][batch["class"].item()] == volumes[name].diagnosis
        seen.append(name)
    assert sorted(seen) == sorted(volumes)


def test_slices_of_all_planes(volumes):
    drawn = batches(volumes, batch=3, size=(12, 16), planes=("coronal", "sagittal"), fit="centre")
    assert len(drawn) == 4 * (20 + 24)
    assert drawn[0]["target"].shape == (3, 1, 12, 16)


@pytest.mark.parametrize(
    ("data", "change", "words"),
    [
        ({"masks": "channel"}, {"masked": False}, "phantom_01 has no mask"),
        ({"classes": ("benign", "other")}, {}, "phantom_01 has the diagnosis malignant"),
        ({"size": (32, 32, 32)}, {}, "phantom_00 is smaller"),
        ({"size": (16, 16), "planes": ("axial", "sagittal")}, {}, "phantom_00 is smaller"),
    ],
)
def test_cases_that_do_not_go_are_named(volumes, data, change, words):
    given = dict(volumes)
    given["phantom_01"] = dataclasses.replace(given["phantom_01"], **change)
    with pytest.raises(UserError, match=words):
        require_pairs(given, Data(**{"size": (8, 16, 16), **data}))


def test_masks_with_other_values_than_declared_are_named(folder, tmp_path):
    cohort = tiny_pairs(tmp_path, 2, (12, 20, 24))
    mask = sitk.ReadImage(str(cohort.cases[1].mask)) * 2
    sitk.WriteImage(mask, str(cohort.cases[1].mask))
    volumes = open_cache(cohort, tmp_path / "cache")
    with pytest.raises(UserError, match=r"phantom_01 holds 0, 2\..*declares 0, 1\."):
        require_pairs(volumes, Data(size=(8, 16, 16), masks="channel"))
    require_pairs(volumes, Data(size=(8, 16, 16), masks="channel", mask_scaling={"name": "hagan-mask"}))


def test_an_image_alone_is_no_pair_for_a_translation(folder):
    with pytest.raises(UserError, match=r"phantom_00 of the cohort .* has no MR"):
        read_cohort(folder).for_task("mr-to-ct")
