"""Patches of nodules as a cohort with classes, and templates of generated nodules."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from chests import on_grid
from test_labels_templates import two_nodules

from synthct.__main__ import main
from synthct.data.cohort import read_cohort
from synthct.labels.library import list_templates, load_template
from synthct.labels.nodule_patches import class_of, cut_patches


@pytest.fixture
def files(tmp_path):
    ct, mask = two_nodules()
    sitk.WriteImage(ct, str(tmp_path / "p01_CT.nii.gz"))
    sitk.WriteImage(mask, str(tmp_path / "p01_nodules.nii.gz"))
    (tmp_path / "p01.csv").write_text("id,malignancy\n1,4.5\n2,1.25\n3,3\n4,\n", encoding="utf-8")
    return tmp_path


def command(files, *words):
    given = ["--ct", str(files / "p01_CT.nii.gz"), "--nodules", str(files / "p01_nodules.nii.gz"), "--case", "p01"]
    return main(["templates", *given, "--table", str(files / "p01.csv"), "--patches", str(files / "patches"), *words])


def test_classes_follow_the_malignancy():
    assert [class_of(value) for value in (1, 2.75, 3, None, 3.25, 5)] == [
        *("benign", "benign", None, None, "malignant", "malignant"),
    ]


def test_each_patch_has_its_nodule_in_the_middle():
    ct, mask = two_nodules()
    for patch in cut_patches(ct, mask, "p01", (24, 28), by="labels"):
        assert patch.image.GetSize() == patch.mask.GetSize() == (28, 24, 1)
        label = int(patch.name[-2:])
        world = patch.image.TransformIndexToPhysicalPoint((14, 12, 0))
        there = mask.TransformPhysicalPointToIndex(world)
        centre = np.argwhere(sitk.GetArrayFromImage(mask) == label).mean(axis=0)[::-1]
        assert np.abs(np.array(there) - centre).max() <= 0.5
        inside, hu = sitk.GetArrayFromImage(patch.mask), sitk.GetArrayFromImage(patch.image)
        assert set(np.unique(inside)) == {0, 1}
        wanted = sitk.GetArrayFromImage(
            sitk.Resample(ct, patch.image, sitk.Transform(), sitk.sitkNearestNeighbor, -1024)
        )
        np.testing.assert_array_equal(hu, wanted)
    assert hu.min() == -1024  # the last one lies near the border; what is beyond the CT is air


def test_volumes_at_another_spacing():
    ct, mask = two_nodules()
    patch = cut_patches(ct, mask, "p01", (16, 16, 16), (1.0, 1.0, 1.0))[1]
    assert patch.image.GetSize() == (16, 16, 16) and patch.image.GetSpacing() == (1.0, 1.0, 1.0)
    volume = np.count_nonzero(sitk.GetArrayFromImage(patch.mask))
    assert volume == pytest.approx(8 * np.count_nonzero(sitk.GetArrayFromImage(mask) == 2), rel=0.2)


def test_command_makes_a_cohort_that_grows(files, capsys):
    assert command(files, "--classed", "--size", "56,56") == 0
    cohort = read_cohort(files / "patches")
    assert [(case.id, case.diagnosis, case.patient) for case in cohort] == [
        ("p01-01", "malignant", "p01"),
        ("p01-02", "benign", "p01"),
    ]
    assert all(case.kind == "image" and case.mask is not None for case in cohort)
    assert command(files) == 2 and "p01-01, p01-02 already" in capsys.readouterr().err
    assert command(files, "--case", "p02") == 0
    assert len(read_cohort(files / "patches")) == 6
    assert command(files, "--overwrite", "--size", "20,20,20") == 0
    assert len(read_cohort(files / "patches")) == 8
    assert sitk.ReadImage(str(files / "patches/images/p01-01.nii.gz")).GetSize() == (20, 20, 20)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "56"], "size 56"),
        (["--size", "a,b"], "--size cannot"),
        (["--spacing", "1,1"], "spacing 1"),
        (["--library", "x"], "Either --library or --patches"),
    ],
)
def test_bad_options_are_refused(files, capsys, words, said):
    assert command(files, *words) == 2
    assert said in capsys.readouterr().err


def generated(folder, masks, shape=(16, 16, 16)):
    """What `synthct generate` would have left: a manifest and pairs with these masks."""
    pairs = []
    for number, mask in enumerate(masks):
        pair = {"id": f"pair_{number:05d}", "index": number, "class": "malignant"}
        for kind, array in (("image", np.where(mask, 40, -800).astype(np.int16)), ("mask", mask.astype(np.uint8))):
            pair[kind] = f"{kind}s/{pair['id']}.nii.gz"
            path = folder / pair[kind]
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(on_grid(array, (1.0, 1.0, 2.0)), str(path))
        pairs.append(pair)
    (folder / "manifest.json").write_text(json.dumps({"model": {"name": "nodules"}, "seed": 3, "pairs": pairs}))
    return folder


def test_generated_nodules_become_templates(tmp_path, capsys):
    z, y, x = np.indices((16, 16, 16)) - 8
    ball = z**2 + y**2 + x**2 <= 16
    specks = ball.copy()
    specks[1, 1, 1] = True
    empty, cut = np.zeros_like(ball), np.roll(ball, 8, axis=0) | (z == -8)
    folder = generated(tmp_path / "generated", [ball, specks, empty, cut])
    library = tmp_path / "library"
    assert main(["templates", "--from-generated", str(folder), "--library", str(library)]) == 0
    told = capsys.readouterr()
    assert "mask of pair_00002 is empty" in told.err and "pair_00003" in told.err
    first, second = list_templates(library)
    assert (first["name"], second["name"]) == ("nodules-3-00000", "nodules-3-00001")
    assert first["voxels"] == second["voxels"] == np.count_nonzero(ball)
    assert first["volume_mm3"] == 2 * np.count_nonzero(ball)
    assert first["source"] == {"case": "pair_00000", "label": 1, "model": "nodules", "seed": 3, "class": "malignant"}
    assert load_template(library, first["name"]).shape.GetSpacing() == (1.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("masks", "said"), [([np.ones((1, 16, 16), bool)], "are slices"), ([np.zeros((8, 8, 8), bool)], "No pair")]
)
def test_what_has_no_shape_is_refused(tmp_path, capsys, masks, said):
    folder = generated(tmp_path / "generated", masks)
    assert main(["templates", "--from-generated", str(folder), "--library", str(tmp_path / "library")]) == 2
    assert said in capsys.readouterr().err
    assert main(["templates", "--from-generated", str(tmp_path), "--library", str(tmp_path / "library")]) == 2
    assert "no generated pairs" in capsys.readouterr().err
