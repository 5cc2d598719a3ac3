"""Water-equivalent depth against what a box and a cylinder of known materials must give, on any grid."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair

from synthct.errors import UserError
from synthct.evaluation.dose.water_equivalent import (
    beam_direction,
    body_centre,
    common_body,
    depth_profile,
    path_difference,
)
from synthct.volumes.geometry import Grid, grid_of, image_from_array

BONE = 1.7
UPRIGHT = np.eye(3)
OBLIQUE = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
TURNED = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


def sampled(where, spacing, direction=UPRIGHT, half=(70.0, 60.0, 40.0), fine=1):
    """The function ``where`` of LPS mm (arrays x, y, z) on a grid around (5, −3, 20); ``fine``³ samples per voxel."""
    direction = np.asarray(direction, float)
    reach = np.abs(direction.T) @ np.asarray(half)
    size = np.ceil(2 * reach / spacing).astype(int)
    origin = np.array([5.0, -3, 20]) - direction @ ((size - 1) / 2 * spacing)
    grid = Grid(tuple(size.tolist()), tuple(map(float, spacing)), tuple(origin.tolist()), tuple(direction.ravel()))
    total = np.zeros(grid.size[::-1], np.float32)
    shifts = (np.arange(fine) + 0.5) / fine - 0.5
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.size[::-1]), indexing="ij")
    for dz in shifts:
        for dy in shifts:
            for dx in shifts:
                index = np.stack([i + dx, j + dy, k + dz, np.ones_like(i)], axis=-1)
                x, y, z = np.moveaxis((index @ grid.index_to_world.T)[..., :3], -1, 0)
                total += where(x, y, z)
    return image_from_array(total / len(shifts) ** 3, grid)


def box(x, y, z):
    """100 × 80 × 50 mm of water around (5, −3, 20)."""
    return (np.abs(x - 5) < 50) & (np.abs(y + 3) < 40) & (np.abs(z - 20) < 25)


def slab(x, y, z):
    """Water with 20 mm of bone from y = −13 to 7, and air in a quarter at the patient's left."""
    bone = np.abs(y + 3) < 10
    return np.where(box(x, y, z), np.where(bone, BONE, 1.0), 0.0)


@pytest.mark.parametrize(("angle", "source"), [(0, (0, -1, 0)), (90, (1, 0, 0)), (180, (0, 1, 0)), (270, (-1, 0, 0))])
def test_a_beam_comes_from_the_side_that_iec_says(angle, source):
    np.testing.assert_allclose(beam_direction(angle), -np.array(source), atol=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 3.0)])
@pytest.mark.parametrize("direction", [UPRIGHT, TURNED, np.diag([-1.0, -1, 1])])
def test_a_box_with_a_bone_slab_has_the_depth_of_its_layers(spacing, direction):
    density = sampled(slab, spacing, direction)
    body = sampled(box, spacing, direction) > 0.5
    half_voxel = max(spacing) / 2
    for angle, length, total in [(0, 80, 60 + 20 * BONE), (90, 100, 100 * BONE), (180, 80, 60 + 20 * BONE)]:
        profile = depth_profile({"CT": density}, body, angle, (5, -3, 20))
        water = profile.water_mm["CT"]
        assert profile.depth_mm[-1] == pytest.approx(length, abs=half_voxel)
        assert water[-1] == pytest.approx(total, abs=max(half_voxel * BONE, 0.005 * total))
        assert water[0] == 0 and np.all(np.diff(water) >= 0)
        if angle != 90:  # water, then bone, then water
            for depth, expected in [(20, 20), (30, 30), (40, 30 + 10 * BONE), (60, 40 + 20 * BONE)]:
                at = np.interp(depth, profile.depth_mm, water)
                assert at == pytest.approx(expected, abs=half_voxel * BONE)


@pytest.mark.parametrize("angle", [0, 30, 45, 117, 290])
def test_a_cylinder_has_the_same_depth_from_everywhere_on_an_oblique_grid(angle):
    """Water of 40 mm radius with a core of bone of 15 mm: the ray through the axis, and every parallel one."""

    def ring(x, y, z):
        radius = np.hypot(x - 5, y + 3)
        return np.where(np.abs(z - 20) < 30, np.where(radius < 15, BONE, 1.0) * (radius < 40), 0.0)

    density = sampled(ring, (2.0, 1.5, 2.5), OBLIQUE, (45, 45, 35), fine=3)
    body = density > 0.3
    profile = depth_profile({"CT": density}, body, angle, (5, -3, 20))
    total = 50 + 30 * BONE
    assert profile.water_mm["CT"][-1] == pytest.approx(total, abs=1.25)
    paths = path_difference(density, density, body, angle)
    np.testing.assert_array_equal(paths.difference_mm[np.isfinite(paths.difference_mm)], 0)
    rays = np.nan_to_num(paths.reference_mm).sum() * np.prod(paths.spacing_mm)
    volume = math.pi * 60 * (40**2 + (BONE - 1) * 15**2)
    assert rays == pytest.approx(volume, rel=0.01)  # every ray together: the integral over the volume
    assert np.nanmax(paths.reference_mm) == pytest.approx(total, abs=1.25)


def test_differences_lie_where_the_volumes_differ():
    """The synthetic CT has bone where the CT has water, in the patient's left, upper part."""
    density = sampled(slab, (2.0, 2.0, 2.0))

    def changed(x, y, z):
        return slab(x, y, z) + np.where((np.abs(x - 46) < 5) & (np.abs(y - 18) < 5) & (z > 20), 0.7, 0) * box(x, y, z)

    body = sampled(box, (2.0, 2.0, 2.0)) > 0.5
    other = sampled(changed, (2.0, 2.0, 2.0))
    front = path_difference(density, other, body, 0)
    numbers = front.numbers()
    assert numbers["max_abs_mm"] == pytest.approx(7, abs=0.1)
    assert numbers["mean_mm"] == pytest.approx(7 * 10 * 25 / (100 * 50), rel=0.1)
    z, u = np.nonzero(np.nan_to_num(front.difference_mm) > 3)
    rows, columns = front.difference_mm.shape
    assert z.min() >= rows // 2 - 1 and u.min() > 0.7 * columns  # from the front, the patient's left is on the right
    back = path_difference(density, other, body, 180)
    assert np.nonzero(np.nan_to_num(back.difference_mm) > 3)[1].max() < 0.3 * columns
    left = path_difference(density, other, body, 90)
    assert np.isfinite(left.difference_mm).sum() == pytest.approx(80 * 50 / 4, rel=0.05)
    # looked at from the left, the patient's back is on the right
    assert np.nonzero(np.nan_to_num(left.difference_mm) > 3)[1].min() > 0.6 * left.difference_mm.shape[1]


def test_rays_computed_in_slabs_are_the_same(monkeypatch):
    density = sampled(slab, (3.0, 2.0, 2.5), OBLIQUE)
    body = density > 0.5
    whole = path_difference(density, density, body, 20)
    monkeypatch.setattr("synthct.evaluation.dose.water_equivalent._SLAB_VOXELS", 1)
    np.testing.assert_allclose(path_difference(density, density, body, 20).reference_mm, whole.reference_mm, atol=1e-3)


def test_a_couch_outside_the_body_does_not_count():
    density = sampled(lambda x, y, z: slab(x, y, z) + 1.0 * ((y > 45) & (y < 50)), (2.0, 2.0, 2.0))
    body = sampled(box, (2.0, 2.0, 2.0)) > 0.5
    profile = depth_profile({"CT": density}, body, 180, (5, -3, 20))
    assert profile.water_mm["CT"][-1] == pytest.approx(60 + 20 * BONE, abs=1)


def test_rays_that_miss_the_body_are_refused():
    density = sampled(slab, (4.0, 4.0, 4.0))
    body = density > 0.5
    with pytest.raises(UserError, match=r"0° through \(300, 0, 20\) misses"):
        depth_profile({"CT": density}, body, 0, (300, 0, 20))
    with pytest.raises(UserError, match="empty"):
        body_centre(body * 0)
    assert body_centre(body) == pytest.approx((5, -3, 20), abs=0.1)


def test_only_what_both_images_cover_is_compared():
    body = sampled(box, (4.0, 4.0, 4.0)) > 0.5
    upper = body[:, :, body.GetSize()[2] // 2 :]
    both = common_body(body, [body], [upper])
    counts = [int(sitk.GetArrayViewFromImage(image).sum()) for image in (body, both)]
    assert counts[1] == pytest.approx(counts[0] / 2, rel=0.1)
    assert grid_of(both) == grid_of(body)


def test_the_command_writes_picture_curves_and_numbers(tmp_path):
    _, ct, _ = phantom_pair()
    sitk.WriteImage(ct, str(tmp_path / "ct.nii.gz"))
    bone = sitk.GetArrayFromImage(ct)
    bone[bone > 300] -= 200
    sct = image_from_array(bone, ct)
    sitk.WriteImage(sct[:, :, 2:], str(tmp_path / "sct.nii.gz"))
    words = ["depth", "--ct", tmp_path / "ct.nii.gz", "--synthetic", tmp_path / "sct.nii.gz", "--angles", "0,90"]
    outputs = [tmp_path / f"depth.{ending}" for ending in ("png", "csv", "json")]
    command = [sys.executable, "-m", "synthct", *map(str, [*words, "--output", *outputs])]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert outputs[0].read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(outputs[1].read_text().splitlines()))
    assert {row["angle_degrees"] for row in rows} == {"0", "90"}
    assert float(rows[0]["depth_mm"]) == 0 and float(rows[-1]["CT_water_mm"]) > 50
    content = json.loads(outputs[2].read_text())
    rays = content["angles"]["90"]["all_rays"]
    assert rays["mean_mm"] < 0 and rays["max_abs_mm"] > 3 and rays["rays"] > 50
    assert "head first and supine" in content["definitions"]["angles"] and content["notes"]
    assert "mean" in answer.stdout
    assert "does not look like a CT" not in answer.stderr
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "exists" in again.stderr


def test_an_mr_is_not_taken_for_a_ct_silently(tmp_path, capsys):
    from synthct.__main__ import main

    mr, _, _ = phantom_pair()
    sitk.WriteImage(mr, str(tmp_path / "mr.nii.gz"))
    assert main(["depth", "--ct", str(tmp_path / "mr.nii.gz"), "--output", str(tmp_path / "d.json")]) == 0
    assert "mr.nii.gz does not look like a CT in HU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "d.pdf"], "unknown ending"),
        (["--output", "d.png", "--angles", "left"], "--angles left"),
        (["--output", "d.png", "--point", "1,2"], "Three numbers"),
        (["--output", "d.png", "--ray-spacing", "0"], "above 0"),
    ],
)
def test_options_that_cannot_be_used_are_refused(tmp_path, words, message):
    from synthct.__main__ import main

    events = tmp_path / "events.jsonl"
    assert main(["depth", "--ct", "none.nii.gz", *words, "--events", str(events)]) == 2
    assert message in events.read_text()
