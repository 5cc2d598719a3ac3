"""A CT by bulk assignment: labels by number and by name, on the label map's own grid, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair
from synthesis_models import random_grid_image

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.volumes.bulk import SHIPPED, BulkTable, bulk_ct, read_bulk_table, segment_names, water_ct
from synthct.volumes.geometry import same_grid

TABLE = BulkTable({1: -77.0, 2: 43.4, 5: 554.0}, {"lung": -741.0, "spongy bone": 287.0}, "own.csv")


def synthct(*words):
    return subprocess.run([sys.executable, "-m", "synthct", *map(str, words)], capture_output=True, text=True)


def run(*words):
    return main([str(word) for word in words])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_every_label_gets_its_hu_on_its_own_grid(kind):
    random = np.random.default_rng(0)
    array = random.choice([0, 1, 2, 5], (4, 5, 6)).astype(kind)
    labels = random_grid_image(array, 1)
    ct = bulk_ct(labels, TABLE)
    assert ct.GetPixelID() == sitk.sitkInt16 and same_grid(ct, labels, 0)
    expected = {0: -1024, 1: -77, 2: 43, 5: 554}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ct), np.vectorize(expected.get)(array))


def test_names_are_used_where_there_is_no_number():
    labels = sitk.GetImageFromArray(np.array([[[0, 1, 7, 8]]], np.uint8))
    ct = bulk_ct(labels, TABLE, {1: "anything", 7: "Lung", 8: " Spongy_Bone"})
    assert sitk.GetArrayFromImage(ct).ravel().tolist() == [-1024, -77, -741, 287]


def test_unknown_labels_are_refused_by_number_and_name():
    labels = sitk.GetImageFromArray(np.array([[[0, 1, 3, 4]]], np.uint8))
    with pytest.raises(UserError, match=r"holds 3 \(liver\), 4, for which own.csv has no HU"):
        bulk_ct(labels, TABLE, {3: "liver"})


def test_an_image_is_no_label_map():
    with pytest.raises(UserError, match=r"0\.5"):
        bulk_ct(sitk.GetImageFromArray(np.array([[[0, 0.5]]], np.float32)), TABLE)


def test_an_mr_is_not_listed_value_by_value():
    with pytest.raises(UserError, match=r"holds 396 values for which own.csv has no HU: 3, 4, 6, 7, 8, …\. .*an image"):
        bulk_ct(sitk.GetImageFromArray(np.arange(400, dtype=np.int16).reshape(4, 10, 10)), TABLE)


def test_the_shipped_table_knows_the_usual_tissues():
    table = read_bulk_table()
    assert table.by_name["body"] == table.by_name["water"] == 0
    assert table.by_name["air"] == -999 and -120 < table.by_name["fat"] < -60
    assert 30 < table.by_name["muscle"] < 60 and 300 < table.by_name["bone"] < table.by_name["cortical bone"]
    assert "ICRU" in SHIPPED.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with label,name,hu"),
        ("label,hu\n1,2\n", "does not begin"),
        ("label,name,hu\n", "has no rows"),
        ("label,name,hu\n1,fat,-80\n1,lung,-700\n", "label 1 in line 3 .* twice"),
        ("label,name,hu\n1.5,fat,-80\n", "whole numbers"),
        ("label,name,hu\none,fat,-80\n", "`label` in line 2 .* no number"),
        ("label,name,hu\n1,fat,light\n", "`hu` in line 2 .* no number"),
        ("label,name,hu\n1,fat\n", "`hu` in line 2 .* no number"),
        ("label,name,hu\n1,fat,99999\n", "16 bits"),
        ("label,name,hu\n,,5\n", "neither a label nor a name"),
        ("label,name,hu\n1,fat,-80\n2,fat,-90\n", "another HU in line 3"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, text, words):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_bulk_table(path)
    assert "own.csv" in str(caught.value)


def test_a_segmentation_of_slicer_is_assigned_by_its_names(tmp_path):
    image = sitk.GetImageFromArray(np.array([[[0, 1], [2, 0]], [[1, 1], [2, 2]]], np.uint8))
    for number, (name, label) in enumerate([("Bone", 1), ("fat", 2)]):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(label))
    sitk.WriteImage(image, str(tmp_path / "s.seg.nrrd"))
    assert segment_names(sitk.ReadImage(str(tmp_path / "s.seg.nrrd"))) == {1: "Bone", 2: "fat"}
    answer = synthct("bulk", "--labels", tmp_path / "s.seg.nrrd", "--output", tmp_path / "ct.nrrd")
    assert answer.returncode == 0, answer.stderr
    table = read_bulk_table()
    ct = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ct.nrrd")))
    assert ct.ravel().tolist() == [
        *(-1024, table.by_name["bone"], table.by_name["fat"], -1024),
        *(table.by_name["bone"],) * 2,
        *(table.by_name["fat"],) * 2,
    ]


def test_the_command_takes_an_own_table_and_refuses_plain_labels_without_one(tmp_path, capsys):
    labels = sitk.GetImageFromArray(np.array([[[0, 3], [3, 0]], [[0, 3], [3, 0]]], np.uint8))
    sitk.WriteImage(labels, str(tmp_path / "l.nii.gz"))
    words = ("bulk", "--labels", tmp_path / "l.nii.gz", "--output", tmp_path / "ct.nii.gz")
    assert run(*words) == 2 and not (tmp_path / "ct.nii.gz").exists()
    assert "holds 3, for which" in capsys.readouterr().err
    (tmp_path / "own.csv").write_text("label,name,hu\n0,couch,-500\n3,insert,250\n")
    assert run(*words, "--table", tmp_path / "own.csv") == 0
    ct = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ct.nii.gz")))
    assert ct[0].tolist() == [[-500, 250], [250, -500]]
    assert run(*words, "--table", tmp_path / "own.csv") == 2 and "exists" in capsys.readouterr().err
    assert run("bulk", "--show-table") == 0 and "label,name,hu" in capsys.readouterr().out
    assert run("bulk", "--mr", "mr.nii.gz") == 2 and "No output" in capsys.readouterr().err


def test_an_mr_alone_gives_water_in_its_body(tmp_path):
    mr, _, mask = phantom_pair()
    sitk.WriteImage(mr, str(tmp_path / "mr.nii.gz"))
    assert run("bulk", "--mr", tmp_path / "mr.nii.gz", "--output", tmp_path / "ct.nii.gz") == 0
    ct, body = (sitk.GetArrayFromImage(i) for i in (sitk.ReadImage(str(tmp_path / "ct.nii.gz")), mask))
    assert set(np.unique(ct)) == {-1024, 0} and np.mean((ct == 0) == (body > 0)) > 0.95
    np.testing.assert_array_equal(sitk.GetArrayFromImage(water_ct(mask)) == 0, body > 0)
