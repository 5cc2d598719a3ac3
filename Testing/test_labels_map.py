"""Label maps: tables of classes, pre-processing with its log, labels from CTs and other segmentations, the command."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from chests import chest_arrays, on_grid

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.labels.classes import SHIPPED, parse_class_table, read_class_table
from synthct.labels.label_files import colour_table, table_beside
from synthct.labels.label_map import label_ct, label_segmentation, require_classes
from synthct.labels.preprocessing import PUBLISHED_SPACING, STEPS, preprocess
from synthct.volumes.geometry import same_grid


def run(*words):
    return main([str(word) for word in words])


def table_text(*rows):
    return {"name": "own", "classes": [{"colour": "#102030", **row} for row in rows]}


REST = {"name": "rest", "index": 0, "from": "rest"}


@pytest.mark.parametrize(
    ("hu", "index"),
    [(-1024, 0), (-201, 0), (-200, 1), (-1, 1), (0, 2), (1, 3), (500, 3), (501, 4), (1900, 4), (32767, 4), (-32768, 0)],
)
def test_the_published_ranges_hold_at_their_edges(hu, index):
    for name in SHIPPED:
        table = read_class_table(name)
        for kind in (np.int16, np.float32, np.int32):
            assert table.label_hu(np.array([hu], kind)).tolist() == [index]


def test_between_whole_hu_water_is_empty_and_nothing_is_lost():
    assert read_class_table("six").label_hu(np.array([-0.4, 0.0, 0.4, -200.5, 500.5])).tolist() == [1, 2, 3, 0, 4]


def test_the_shipped_tables_are_six_seven_and_eight():
    six, seven, eight = (read_class_table(name) for name in ("six", "seven", "eight"))
    assert sorted(entry.index for entry in six.classes) == list(range(6))
    assert sorted(entry.index for entry in seven.classes) == list(range(7))
    assert six.classes[-1].name == seven.classes[-1].name == "nodule" and seven.of_source("outside").index == 6
    assert parse_class_table(seven.to_dict(), "again") == seven
    assert eight.of_source("airways").index == 7
    assert {entry for entry in eight.classes if entry.source != "airways"} == set(seven.classes)


def test_a_later_class_goes_over_an_earlier_one():
    rows = (REST, {"name": "a", "index": 1, "hu": "[0, 100]"}, {"name": "b", "index": 7, "hu": "(50, inf)"})
    table = parse_class_table(table_text(*rows), "own.yaml")
    assert table.label_hu(np.array([-1, 0, 50, 51, 9999], np.int16)).tolist() == [0, 1, 1, 7, 7]
    assert str(table.classes[2].hu) == "(50, inf)"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no classes"),
        ([{"name": "a", "index": 1, "hu": "[0, 1]"}], "0 classes of own.yaml have `from: rest`"),
        ([REST, {"name": "a", "index": 0, "hu": "[0, 1]"}], "index 0 stands twice"),
        ([REST, {"name": "rest", "index": 1, "hu": "[0, 1]"}], "name rest stands twice"),
        ([REST, {"name": "a", "index": 1, "hu": "0 to 1"}], r"`hu` of class 2 of own.yaml \(a\)"),
        ([REST, {"name": "a", "index": 1, "hu": "[5, 1]"}], "lower end first"),
        ([REST, {"name": "a", "index": 1}], "needs either `hu` or `from`"),
        ([REST, {"name": "a", "index": 300, "hu": "[0, 1]"}], "0 to 255"),
        ([REST, {"name": "a", "index": 1, "hu": "[0, 1]", "colour": "red"}], "#rrggbb"),
        ([{"name": "n", "index": 5, "from": "nodules"}, REST], "nodules' class of own.yaml is not the last"),
        ([REST, {"name": "a", "index": 1, "hounsfield": "[0, 1]"}], "no key `hounsfield`"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, rows, words):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(table_text(*rows)))
    with pytest.raises(UserError, match=words.replace("own.yaml", ".*own.yaml")):
        read_class_table(path)


def test_every_step_changes_what_it_says_and_can_be_left_out():
    array = np.array([[[-3024, -1024.4, -0.3], [0.6, 1900, 1901]]] * 2, np.float32)
    ct, changes = preprocess(on_grid(array, (1, 1, 1)))
    assert ct.GetPixelID() == sitk.sitkInt16
    assert sitk.GetArrayFromImage(ct)[0].tolist() == [[-1024, -1024, 0], [1, 1900, 50]]
    assert [(change.step, change.voxels) for change in changes] == [
        ("scan-field", 4),
        ("artefacts", 2),
        ("rounding", 4),
    ]
    kept, changes = preprocess(on_grid(array, (1, 1, 1)), without=["scan-field", "artefacts", "rounding"])
    assert not changes and np.array_equal(sitk.GetArrayFromImage(kept), array)
    with pytest.raises(UserError, match="artefacts") as caught:
        preprocess(on_grid(array), without=["artefact"])
    assert "Did you mean artefacts?" in str(caught.value)
    assert set(STEPS) == {"scan-field", "artefacts", "resampling", "rounding"}


def test_resampling_keeps_the_place_and_the_tissue():
    hu, _ = chest_arrays()
    ct, changes = preprocess(on_grid(hu, (2.0, 2.0, 3.0)), (1.0, 1.0, 1.5))
    assert ct.GetSpacing() == (1.0, 1.0, 1.5) and ct.GetSize() == (120, 96, 48)
    assert changes[2].step == "resampling" and changes[2].voxels == 120 * 96 * 48
    resampled = sitk.GetArrayFromImage(ct)
    assert resampled.min() >= -1024 and abs(resampled.mean() - hu.mean()) < 10
    assert PUBLISHED_SPACING == (0.48828125, 0.48828125, 1.0)


def test_nodules_go_over_all_and_the_body_is_found():
    hu, labels = chest_arrays()
    ct = on_grid(hu)
    nodules = np.zeros_like(labels)
    nodules[12, 24, 18], nodules[12, 3, 3] = 1, 7
    heard = []

    class Hears:
        def warning(self, what, why="", todo=""):
            heard.append(what)

    made = label_ct(ct, read_class_table("seven"), on_grid(nodules), events=Hears())
    array = sitk.GetArrayFromImage(made)
    assert same_grid(made, ct, 0) and made.GetPixelID() == sitk.sitkUInt8
    assert (array == 5).sum() == 2 and array[12, 24, 18] == array[12, 3, 3] == 5
    assert heard == ["1 voxels of the nodule mask lie outside the body."]
    other = nodules == 0
    assert np.mean(array[other] == labels[other]) > 0.99 and np.all(array[other & (labels == 0)] == 0)
    six = sitk.GetArrayFromImage(label_ct(ct, read_class_table("six"), on_grid(nodules)))
    assert six.max() == 5 and np.all(six[other & (labels == 6)] == 0)


def test_masks_of_other_grids_or_values_are_refused():
    hu, labels = chest_arrays()
    with pytest.raises(UserError, match=r"n\.nii\.gz are not on the same grid"):
        moved = on_grid(labels, origin=(0, 0, 0))
        label_ct(on_grid(hu), read_class_table("six"), moved, names=("ct.nii", "n.nii.gz", ""))
    with pytest.raises(UserError, match=r"holds the value 0\.5"):
        label_ct(on_grid(hu), read_class_table("six"), on_grid(labels * np.float32(0.5)))
    only = parse_class_table(table_text(REST), "own")
    with pytest.raises(UserError, match="no class for nodules"):
        label_ct(on_grid(hu), only, on_grid(labels))
    with pytest.raises(UserError, match="holds 6, which the table six does not know"):
        require_classes(on_grid(labels), read_class_table("six"), "l.nii.gz")


def test_another_segmentation_gets_classes_by_a_mapping():
    array = np.array([[[0, 4, 17]]], np.int16)
    made = label_segmentation(on_grid(array), {4: "Bone", 17: "fat"}, read_class_table("six"))
    assert sitk.GetArrayFromImage(made).tolist() == [[[0, 4, 1]]]
    with pytest.raises(UserError, match="holds 17, of which the mapping says nothing"):
        label_segmentation(on_grid(array), {4: "bone"}, read_class_table("six"))
    with pytest.raises(UserError, match="no class 'bones'") as caught:
        label_segmentation(on_grid(array), {4: "bones", 17: "fat"}, read_class_table("six"))
    assert "Did you mean bone?" in str(caught.value)


def test_the_command_writes_map_log_and_colours(tmp_path, capsys):
    hu, labels = chest_arrays()
    hu[0, 0, 0], hu[12, 24, 30] = -2000, 3000
    sitk.WriteImage(on_grid(hu), str(tmp_path / "ct.nii.gz"))
    nodules = np.zeros_like(labels)
    nodules[12, 24, 18] = 1
    sitk.WriteImage(on_grid(nodules), str(tmp_path / "n.nii.gz"))
    words = ("labels", "--ct", tmp_path / "ct.nii.gz", "--nodules", tmp_path / "n.nii.gz")
    assert run(*words, "--output", tmp_path / "l.nii.gz", "--ct-output", tmp_path / "p.nii.gz") == 0
    log = json.loads((tmp_path / "l.json").read_text())
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nii.gz")))
    assert {entry["index"]: entry["voxels"] for entry in log["classes"]} == {
        n: int((array == n).sum()) for n in range(8)
    }
    assert [(entry["step"], entry["voxels"]) for entry in log["changes"]] == [
        ("scan-field", 1),
        ("artefacts", 1),
        ("rounding", 0),
    ]
    assert table_beside(tmp_path / "l.nii.gz") == read_class_table("eight") == read_class_table()
    assert (tmp_path / "l.ctbl").read_text() == colour_table(read_class_table("eight"))
    assert "\n6 outside_the_body 16 16 20 0\n" in (tmp_path / "l.ctbl").read_text()
    made = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "p.nii.gz")))
    assert made[0, 0, 0] == -1024 and made[12, 24, 30] == 50
    assert run(*words, "--output", tmp_path / "l.nii.gz") == 2 and "exists" in capsys.readouterr().err
    before = (tmp_path / "n.nii.gz").read_bytes()
    for output, other in (("n.nii.gz", "q.nii.gz"), ("q.nii.gz", "ct.nii.gz"), ("q.nii.gz", "q.nii.gz")):
        together = ("--output", tmp_path / output, "--ct-output", tmp_path / other, "--overwrite")
        assert run(*words, *together) == 2 and "are the same file" in capsys.readouterr().err
    assert (tmp_path / "n.nii.gz").read_bytes() == before and not (tmp_path / "q.nii.gz").exists()
    assert run(*words, "--spacing", "1e-3,1e-3,1e-3", "--output", tmp_path / "q.nii.gz") == 2
    assert "Ask for larger voxels" in capsys.readouterr().err
    sitk.WriteImage(on_grid(np.full_like(hu, -1000)), str(tmp_path / "air.nii.gz"))
    assert run("labels", "--ct", tmp_path / "air.nii.gz", "--output", tmp_path / "q.nii.gz") == 2
    said = capsys.readouterr().err
    assert "air.nii.gz" in said and "--body" in said and not (tmp_path / "q.nii.gz").exists()
    half = ("--spacing", "2,2,4", "--classes", "six", "--without", "artefacts")
    assert run(*words, *half, "--output", tmp_path / "half.nii.gz") == 0
    half = sitk.ReadImage(str(tmp_path / "half.nii.gz"))
    assert half.GetSpacing() == (2, 2, 4) and (sitk.GetArrayFromImage(half) == 5).sum() == 4


def test_the_command_maps_segments_by_name_and_says_what_is_missing(tmp_path, capsys):
    image = on_grid(np.array([[[0, 1], [2, 0]], [[1, 1], [2, 2]]], np.uint8))
    for number, (name, label) in enumerate([("Rib cage", 1), ("Skin", 2)]):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(label))
    sitk.WriteImage(image, str(tmp_path / "s.seg.nrrd"))
    (tmp_path / "m.yaml").write_text("rib cage: bone\n2: fat\n")
    words = ("labels", "--segmentation", tmp_path / "s.seg.nrrd", "--output", tmp_path / "l.nrrd")
    assert run(*words) == 2 and "belong together" in capsys.readouterr().err
    assert run(*words, "--mapping", tmp_path / "m.yaml") == 0
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nrrd")))
    assert array.tolist() == [[[0, 4], [1, 0]], [[4, 4], [1, 1]]]
    (tmp_path / "m.yaml").write_text("ribs: bone\n")
    assert run(*words, "--mapping", tmp_path / "m.yaml", "--overwrite") == 2
    assert "no segment 'ribs'" in capsys.readouterr().err
    assert run("labels", "--show-table", "--classes", "six") == 0 and "Linköping" in capsys.readouterr().out
