"""Templates of nodules: cut from masks, measured, kept in a library, turned and brought onto other grids."""

import json
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
from chests import ball, on_grid
from synthesis_models import random_grid_image

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.labels.library import (
    add_templates,
    export_library,
    import_templates,
    list_templates,
    load_all,
    load_template,
    remove_template,
)
from synthct.labels.template_shapes import Pose, draw_pose, offsets_on_grid, posed
from synthct.labels.templates import cut_templates, longest_diameter, read_malignancy


class Hears:
    def __init__(self):
        self.warnings = []

    def warning(self, what, why="", todo=""):
        self.warnings.append(f"{what} {why}")


def two_nodules():
    """A CT with nodules 1 (a box of 4×6×10 mm) and 2 (a ball of 9 mm), one of 2 voxels and one cut by the border."""
    mask = np.zeros((30, 40, 50), np.uint8)
    mask[5:7, 10:13, 20:25] = 1  # 2 mm slices and 2 mm pixels
    z, y, x = np.indices(mask.shape) * 2.0
    mask[(z - 40) ** 2 + (y - 50) ** 2 + (x - 60) ** 2 <= 4.5**2] = 2
    mask[20, 5, 5:7] = 3
    mask[0:3, 30:33, 30:33] = 4
    ct = np.where(mask > 0, 30, -850).astype(np.int16)
    ct[5, 10, 20:25] = 130
    return on_grid(ct, (2.0, 2.0, 2.0)), on_grid(mask, (2.0, 2.0, 2.0))


def test_each_nodule_is_measured_and_the_others_are_named():
    ct, mask = two_nodules()
    heard = Hears()
    box, round_one = cut_templates(ct, mask, "p01", malignancy={1: 4.5, 2: None}, events=heard)
    assert (box.name, round_one.name) == ("p01-01", "p01-02")
    assert box.facts["voxels"] == 30 and box.facts["volume_mm3"] == 240
    assert box.facts["hu"] == {"mean": 46.7, "sd": 37.3, "min": 30.0, "median": 30.0, "max": 130.0}
    assert box.facts["malignancy"] == 4.5 and round_one.facts["malignancy"] is None
    assert box.facts["source"] == {"case": "p01", "label": 1}
    assert box.facts["equivalent_diameter_mm"] == pytest.approx((6 * 240 / np.pi) ** (1 / 3), abs=1e-3)
    assert 9 <= round_one.facts["longest_diameter_mm"] <= 11
    assert heard.warnings == [
        "Nodule 3 of the nodule mask was left out. It has 2 voxels; 3 are needed.",
        "Nodule 4 of the nodule mask was left out. It touches the border of the image, which may have cut it.",
    ]
    assert box.preview.shape == (96, 288, 3) and (box.preview == (91, 226, 125)).all(axis=2).any()


def test_longest_diameter_runs_between_outer_faces():
    line = np.zeros((3, 3, 9), bool)
    line[1, 1, 2:7] = True
    assert longest_diameter(line, (2.0, 1.0, 1.0)) == 10
    inside = sitk.GetArrayFromImage(ball(12, (0.5, 0.5, 1.0))) > 0
    assert abs(longest_diameter(inside, (0.5, 0.5, 1.0)) - 12) <= 1


def test_a_binary_mask_is_cut_into_what_hangs_together():
    ct, mask = two_nodules()
    both = on_grid((sitk.GetArrayFromImage(mask) > 0).astype(np.uint8), (2.0, 2.0, 2.0))
    assert len(cut_templates(ct, both, "p")) == 2
    assert len(cut_templates(ct, mask, "p", by="components")) == 2
    with pytest.raises(UserError, match="touches the border"):
        cut_templates(ct, both, "p", by="labels")  # all of them are one nodule, cut by the border
    with pytest.raises(UserError, match="is empty"):
        cut_templates(ct, both * 0, "p")
    with pytest.raises(UserError, match="not on the same grid"):
        cut_templates(ct, on_grid(sitk.GetArrayFromImage(both), (1, 1, 1)), "p")


def test_on_its_own_grid_a_template_is_itself():
    random = np.random.default_rng(3)
    array = (random.random((5, 6, 7)) > 0.4).astype(np.uint8)
    image = random_grid_image(np.pad(array, 1), 4)
    template = cut_templates(sitk.Cast(image, sitk.sitkInt16), image, "c", by="labels")[0]
    offsets = offsets_on_grid(template.shape, image)
    voxels = np.argwhere(np.pad(array, 1))
    shift = voxels.min(axis=0) - offsets.min(axis=0)
    np.testing.assert_array_equal(offsets + shift, voxels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(posed(template.shape, Pose())).sum(), array.sum())


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 1.0), (1.0, 1.0, 1.0), (2.0, 1.5, 3.0)])
@pytest.mark.parametrize("pose", [Pose(), Pose((20, -40, 70)), Pose(scale=1.5), Pose(elastic_mm=1.0, seed=2)])
def test_the_physical_size_is_kept_on_any_grid(spacing, pose):
    shape = ball(10, (0.7, 0.7, 2.5))
    volume = sitk.GetArrayFromImage(shape).sum() * 0.7 * 0.7 * 2.5 * pose.scale**3
    grid = random_grid_image(np.zeros((4, 5, 6), np.uint8), 7)
    grid.SetSpacing(spacing)
    offsets = offsets_on_grid(shape, grid, pose)
    assert abs(len(offsets) * np.prod(spacing) - volume) <= np.prod(spacing) / 2 + 1e-6
    directions = np.reshape(grid.GetDirection(), (3, 3)) * spacing
    places = offsets[:, ::-1] @ directions.T
    assert np.linalg.norm(places.mean(axis=0)) < (1.5 if pose.elastic_mm else 1)
    if not pose.elastic_mm:
        assert np.linalg.norm(places, axis=1).max() < 5 * pose.scale + 1.7


def test_a_rotation_is_about_the_axes_of_the_patient():
    """A rod to the right, turned by 90° about superior, points to the front; about anterior it points down."""
    rod = np.zeros((3, 3, 21), np.uint8)
    rod[1, 1, 1:11] = 1  # image x runs to the left, so low indices are right
    shape = on_grid(rod, (1, 1, 1), (-10.0, -1.0, -1.0))

    def middle(pose):
        x, y, z = offsets_on_grid(shape, shape, pose).mean(axis=0)[::-1]
        return np.round([-x, -y, z], 1)  # RAS

    assert middle(Pose()).tolist() == [4.5, 0, 0]
    assert middle(Pose((0, 0, 90))).tolist() == [0, 4.5, 0]
    assert middle(Pose((0, 90, 0))).tolist() == [0, 0, -4.5]
    assert middle(Pose((90, 0, 0))).tolist() == [4.5, 0, 0]
    assert middle(Pose((0, 90, 90))).tolist() == [0, 0, -4.5]  # the first angle first


def test_poses_are_drawn_from_a_seed_and_checked():
    a, b = (draw_pose(np.random.default_rng(1), 30, (0.5, 2.0), 1.0) for _ in range(2))
    assert a == b and max(map(abs, a.rotation)) <= 30 and 0.5 <= a.scale <= 2
    assert a != draw_pose(np.random.default_rng(2), 30, (0.5, 2.0), 1.0)
    bent = [offsets_on_grid(ball(10), ball(10), Pose(elastic_mm=1.5, seed=seed)) for seed in (1, 1, 2)]
    assert np.array_equal(bent[0], bent[1]) and not np.array_equal(bent[0], bent[2])
    for wrong in ({"scale": 0.0}, {"scale": 11.0}, {"elastic_mm": -1.0}, {"rotation": (np.nan, 0, 0)}):
        with pytest.raises(UserError):
            Pose(**wrong)


def test_a_library_keeps_lists_and_gives_back(tmp_path):
    ct, mask = two_nodules()
    cut = cut_templates(ct, mask, "p01")
    library = tmp_path / "lib"
    assert add_templates(library, cut) == ["p01-01", "p01-02"]
    assert sorted(path.name for path in (library / "p01-01").iterdir()) == [
        "preview.png",
        "shape.nii.gz",
        "template.json",
    ]
    assert [facts["name"] for facts in list_templates(library)] == ["p01-01", "p01-02"]
    assert json.loads((library / "library.json").read_text())["templates"] == list_templates(library)
    for before, after in zip(cut, load_all(library), strict=True):
        assert after.facts == before.facts
        np.testing.assert_array_equal(offsets_on_grid(after.shape, ct), offsets_on_grid(before.shape, ct))
    with pytest.raises(UserError, match="has p01-01, p01-02 already"):
        add_templates(library, cut)
    remove_template(library, "p01-01")
    assert [facts["name"] for facts in list_templates(library)] == ["p01-02"]
    with pytest.raises(UserError, match=r"no template 'p01-01'.*It has: p01-02"):
        load_template(library, "p01-01")
    remove_template(library, "p01-02")
    with pytest.raises(UserError, match="is empty"):
        load_all(library)


def test_a_library_travels_as_a_zip_and_traps_are_left_in_it(tmp_path):
    ct, mask = two_nodules()
    add_templates(tmp_path / "lib", cut_templates(ct, mask, "p01"))
    archive = export_library(tmp_path / "lib", tmp_path / "lib.zip")
    assert import_templates(tmp_path / "copy", archive) == ["p01-01", "p01-02"]
    for name in ("shape.nii.gz", "template.json", "preview.png"):
        assert (tmp_path / "copy/p01-02" / name).is_file()
    assert list_templates(tmp_path / "copy") == list_templates(tmp_path / "lib")
    with pytest.raises(UserError, match="exists already"):
        export_library(tmp_path / "lib", archive)
    with zipfile.ZipFile(tmp_path / "trap.zip", "w") as trap:
        trap.writestr("../outside/template.json", "{}")
    with pytest.raises(UserError, match="leads out of it"):
        import_templates(tmp_path / "copy", tmp_path / "trap.zip")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as trap:
        trap.writestr("a/run.py", "")
    with pytest.raises(UserError, match="holds no templates"):
        import_templates(tmp_path / "copy", tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match="cannot be unpacked"):
        import_templates(tmp_path / "copy", tmp_path / "text.zip")


def test_other_folders_are_no_libraries(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("mine")
    ct, mask = two_nodules()
    with pytest.raises(UserError, match="Something else is there"):
        add_templates(tmp_path / "full", cut_templates(ct, mask, "p"))
    with pytest.raises(UserError, match="does not exist"):
        list_templates(tmp_path / "none")


def test_the_command_adds_lists_exports_and_refuses(tmp_path, capsys):
    ct, mask = two_nodules()
    sitk.WriteImage(ct, str(tmp_path / "ct.nii.gz"))
    sitk.WriteImage(mask, str(tmp_path / "n.nii.gz"))
    (tmp_path / "nodules.csv").write_text("id,volume_mm3,malignancy\n1,240,4.25\n2,400,\n")
    assert read_malignancy(tmp_path / "nodules.csv") == {1: 4.25, 2: None}

    def run(*words):
        return main(["templates", "--library", str(tmp_path / "lib"), *(str(word) for word in words)])

    cut = ("--ct", tmp_path / "ct.nii.gz", "--nodules", tmp_path / "n.nii.gz")
    assert run(*cut, "--table", tmp_path / "nodules.csv") == 0
    output = capsys.readouterr()
    assert "ct-01" in output.out and "malignancy 4.25" in output.out and "Nodule 4" in output.err
    assert run(*cut) == 2 and "has ct-01, ct-02 already" in capsys.readouterr().err
    assert run() == 0 and capsys.readouterr().out.count("mm³") == 2
    assert run("--export", tmp_path / "lib.zip") == 0 and run("--remove", "ct-01") == 0
    assert run("--import", tmp_path / "lib.zip") == 2 and "has ct-02 already" in capsys.readouterr().err
    assert run("--import", tmp_path / "lib.zip", "--overwrite") == 0 and len(list_templates(tmp_path / "lib")) == 2
    assert run("--ct", tmp_path / "ct.nii.gz") == 2 and "belong together" in capsys.readouterr().err
    (tmp_path / "bad.csv").write_text("id,malignancy\none,2\n")
    assert run(*cut, "--case", "x", "--table", tmp_path / "bad.csv") == 2
    assert "Line 2" in capsys.readouterr().err
