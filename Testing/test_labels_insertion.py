"""Planting nodules: the rule at its edges, random and nearest places against brute force, refusals, the command."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from chests import ball, chest_arrays, on_grid
from scipy import ndimage
from synthesis_models import random_grid_image

from synthct.__main__ import main
from synthct.errors import UserError
from synthct.labels import places
from synthct.labels.classes import read_class_table
from synthct.labels.ground import FORBIDDEN, GOOD, Ground, Rule
from synthct.labels.insertion import Refused, nodule_mask, plant_at, plant_random, why_not
from synthct.labels.label_files import write_label_map
from synthct.labels.library import add_templates
from synthct.labels.places import NoPlace, Search
from synthct.labels.surface import distance_to_surface, near_surface
from synthct.labels.template_shapes import Pose, draw_pose, offsets_on_grid
from synthct.labels.templates import Template

SEVEN = read_class_table("seven")
ANYWHERE = Rule(surface_mm=None, region_share=0)


def template(diameter=12.0, name="ball", spacing=(1.0, 1.0, 1.0)):
    facts = {"volume_mm3": 1.0, "longest_diameter_mm": diameter, "hu": {"mean": 0.0}, "malignancy": None}
    return Template(name, ball(diameter, spacing), facts)


def chest(rule=None, table="seven"):
    _, labels = chest_arrays()
    labels = np.where(labels == 6, 0, labels).astype(np.uint8) if table == "six" else labels
    return Ground(on_grid(labels), read_class_table(table), rule)


def cluttered(seed, shape=(30, 34, 38)):
    """Labels of all classes in blobs, with a nodule, on an oblique grid."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=shape), 3)
    labels = np.where(field > np.quantile(field, 0.45), 0, 3).astype(np.uint8)
    labels[field < np.quantile(field, 0.05)] = 6
    labels[10:12, 10:13, 10:12] = 5
    image = random_grid_image(labels, seed)
    image.SetSpacing((1.0, 1.2, 2.0))
    return image


def all_valid(ground, offsets):
    """Every valid anchor, by looking at each one."""
    misses, forbidden = np.zeros(ground.worth.shape, int), np.zeros(ground.worth.shape, int)
    inside = np.ones(ground.worth.shape, bool)
    index = np.indices(ground.worth.shape)
    for offset in offsets:
        place = [axis + step for axis, step in zip(index, offset, strict=True)]
        within = np.all([(p >= 0) & (p < n) for p, n in zip(place, inside.shape, strict=True)], axis=0)
        inside &= within
        worth = ground.worth[tuple(np.where(within, p, 0) for p in place)]
        misses += worth != GOOD
        forbidden += worth == FORBIDDEN
    return inside & (forbidden == 0) & (misses <= ground.tolerated(len(offsets)))


@pytest.mark.parametrize("distance", [0, 1, 2.9, 6.1])
def test_nearness_to_the_surface_is_that_of_a_distance_map(distance):
    body = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(14, 22, 26)), 3) > -0.03
    spacing = (0.7, 0.9, 2.5)
    exact = ndimage.distance_transform_edt(body, spacing[::-1])
    np.testing.assert_array_equal(near_surface(body, spacing, distance), exact < max(distance, 1e-3))
    voxels = np.argwhere(body)[::37]
    for voxel in voxels:
        found = distance_to_surface(body, voxel[None], spacing, 3.0)
        true = exact[tuple(voxel)]
        assert found == pytest.approx(true) if true <= 3 else found == np.inf
    assert not near_surface(np.ones((3, 3, 3), bool), spacing, 5).any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rule", [ANYWHERE, Rule(share=0.6, surface_mm=2.0), Rule(share=1.0, surface_mm=0.0)])
def test_drawn_counted_and_nearest_places_are_those_of_brute_force(seed, rule):
    ground = Ground(cluttered(seed), SEVEN, rule)
    offsets = offsets_on_grid(ball(7), ground.grid, Pose((10, 20, 30)))
    valid = all_valid(ground, offsets)
    search = Search(ground, offsets)
    everywhere = np.argwhere(np.ones(valid.shape, bool))
    box = everywhere[((everywhere >= search._first) & (everywhere <= search._last)).all(axis=1)]
    np.testing.assert_array_equal(search.fits(box), valid[tuple(box.T)])
    counted = np.zeros_like(valid)
    for low, shape in search._tiles(search._first, search._last):
        misses, forbidden = search._counts(low, shape)
        part = tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))
        counted[part] = (forbidden == 0) & (misses <= ground.tolerated(len(offsets)))
    np.testing.assert_array_equal(counted, valid)  # so the blocks left out held no valid anchor
    spacing = np.array(ground.grid.spacing[::-1])
    random = np.random.default_rng(seed)
    for anchor in random.integers(-5, 40, (5, 3)):
        nearest = search.nearest(anchor)
        if not valid.any():
            assert nearest is None
            continue
        distances = np.linalg.norm((np.argwhere(valid) - anchor) * spacing, axis=1)
        assert valid[tuple(nearest)]
        assert np.linalg.norm((nearest - anchor) * spacing) == pytest.approx(distances.min())
    if valid.any():
        assert all(valid[tuple(search.random(random))] for _ in range(20))
    for anchor in box[::97]:
        assert (ground.reasons(anchor, offsets) == []) == valid[tuple(anchor)]


@pytest.mark.parametrize("gathers", [20_000_000, 0])
def test_every_valid_place_is_drawn_equally_often(gathers, monkeypatch):
    """By testing at random, and by counting alone where no random drawing is allowed."""
    monkeypatch.setattr(places, "_GATHERS", gathers)
    labels = np.full((9, 9, 20), 3, np.uint8)
    labels[2:7, 2:7, 2:7], labels[2:7, 2:7, 12:15] = 0, 0
    ground = Ground(on_grid(labels, (1, 1, 1)), SEVEN, Rule(share=1.0, surface_mm=None, region_share=0))
    offsets = np.argwhere(np.ones((3, 3, 3), bool)) - 1
    valid = all_valid(ground, offsets)
    assert valid.sum() == 27 + 9
    drawn = np.zeros(valid.shape, int)
    search, random = Search(ground, offsets), np.random.default_rng(0)
    for _ in range(1080):
        drawn[tuple(search.random(random))] += 1
    assert drawn[~valid].sum() == 0
    assert drawn[valid].min() > 8 and drawn[valid].max() < 56  # 30 ± 5.5


def test_eighty_per_cent_is_enough_and_less_is_not():
    labels = np.full((12, 12, 12), 3, np.uint8)
    labels[:, :, :6] = 0
    ground = Ground(on_grid(labels, (1, 1, 1)), SEVEN, ANYWHERE)
    offsets = np.argwhere(np.ones((1, 1, 5), bool))
    assert ground.reasons(np.array([5, 5, 2]), offsets) == []  # four of five
    assert ground.reasons(np.array([5, 5, 3]), offsets) == [
        "60% of it lies on other tissue (40% on muscle and soft tissue), and 80% must"
    ]


def test_a_nodule_in_the_lung_is_round_and_where_it_was_asked_for():
    ground = chest()
    before = ground.labels.copy()
    planted = plant_at(ground, template(20), (-40.0, -106.0, 80.0))
    image = ground.image()
    changed = ground.labels != before
    assert (ground.labels[changed] == 5).all() and planted.share == 1
    assert changed.sum() * 64 == pytest.approx(np.pi / 6 * 20**3, rel=0.05)
    centre = np.argwhere(changed).mean(axis=0)[::-1]
    x, y, z = image.TransformContinuousIndexToPhysicalPoint(centre.tolist())
    assert np.linalg.norm(np.array([-x, -y, z]) - planted.position_ras) < 2
    assert np.abs(np.array(planted.position_ras) - (-40, -106, 80)).max() <= 2
    assert np.ptp(np.argwhere(changed), axis=0).max() <= 5


def test_refusals_say_which_rule_and_by_how_much_and_where_it_would_fit():
    ground = chest()
    kept = ground.labels.copy()
    with pytest.raises(Refused) as caught:
        plant_at(ground, template(12), (-111.0, -106.0, 80.0))  # between the lungs
    assert "0% of it lies on other tissue (100% on muscle and soft tissue), and 80% must" in str(caught.value)
    assert caught.value.nearest_ras is not None and np.array_equal(ground.labels, kept)
    planted = plant_at(ground, template(12), caught.value.nearest_ras)
    assert planted.share >= 0.8
    with pytest.raises(Refused, match=r"\d+ of its \d+ voxels overlap or touch another nodule"):
        plant_at(ground, template(12), caught.value.nearest_ras)
    with pytest.raises(Refused, match=r"It reaches \d+\.\d mm beyond the volume"):
        plant_at(ground, template(30), (-40.0, -106.0, 30.0))
    with pytest.raises(UserError, match=r"lies outside The label map, by 49\.0 mm"):
        plant_at(ground, template(12), (58.0, -106.0, 80.0))
    outside = why_not(ground, template(12), (-10.0, -14.0, 80.0))
    assert any("lie outside the body" in reason for reason in outside)
    near = Ground(on_grid(chest_arrays()[1]), SEVEN, Rule(surface_mm=60.0))
    reasons = why_not(near, template(12), (-70.0, -106.0, 80.0))
    assert len(reasons) == 1 and "mm of the body's surface, and 60 mm is the least" in reasons[0]


def test_the_body_is_known_with_six_classes_too():
    ground = chest(table="six")
    _, labels = chest_arrays()
    assert np.mean((ground.worth == FORBIDDEN) >= (labels == 6)) > 0.995  # outside is forbidden, though it is class 0
    free = chest(ANYWHERE, table="six")
    assert (free.worth == GOOD).sum() == np.isin(labels, (0, 6)).sum()
    empty = on_grid(np.zeros((20, 20, 20), np.uint8))
    with pytest.raises(UserError, match="No body was found in The label map"):
        Ground(empty, read_class_table("six"))


def test_gas_in_the_bowel_is_no_lung():
    _, labels = chest_arrays()
    labels[10:14, 18:22, 28:32] = 0
    image = on_grid(labels)
    point = tuple(np.array(image.TransformIndexToPhysicalPoint((30, 20, 12))) * (-1, -1, 1))
    reasons = why_not(Ground(image, SEVEN), template(8), point)
    assert reasons == ["0% of it lies on other tissue (100% on small pockets of other tissue), and 80% must"]
    assert why_not(Ground(image, SEVEN, Rule(region_share=0)), template(8), point) == []


def test_the_same_seed_plants_the_same_and_none_overlap():
    draws = []
    for seed in (1, 1, 2):
        ground = chest()
        planted = plant_random(ground, [template(10, "a"), template(16, "b")], 6, seed, draw_pose)
        mask = sitk.GetArrayFromImage(nodule_mask(ground, planted))
        assert [int((mask == n).sum()) for n in range(1, 7)] == [len(entry.offsets) for entry in planted]
        assert ndimage.label(mask > 0, np.ones((3, 3, 3)))[1] == 6
        assert all(entry.share >= 0.8 for entry in planted)
        draws.append(ground.labels)
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


def test_one_after_another_is_the_same_as_all_at_once(tmp_path):
    templates = [template(10, "a"), template(16, "b")]
    at_once, singly = chest(), chest()
    plant_random(at_once, templates, 4, 3, draw_pose)
    for number in range(4):
        plant_random(singly, templates, 1, 3, draw_pose, first=number)
    assert np.array_equal(at_once.labels, singly.labels)
    labels, library = tmp_path / "0.nii.gz", tmp_path / "lib"
    write_label_map(on_grid(chest_arrays()[1]), SEVEN, {}, labels)
    add_templates(library, templates)
    command = ["insert", "--library", str(library), "--seed", "3", "--rotate", "180"]
    assert main([*command, "--labels", str(labels), "--random", "3", "--output", str(tmp_path / "3.nii.gz")]) == 0
    for number in range(3):
        files = (str(tmp_path / f"{'s' if n else ''}{n}.nii.gz") for n in (number, number + 1))
        assert main([*command, "--labels", next(files), "--random", "1", "--output", next(files)]) == 0
    at_once, singly = (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{n}.nii.gz"))) for n in ("3", "s3"))
    assert np.array_equal(at_once, singly)


def test_what_is_taken_back_leaves_no_trace():
    ground = chest()
    labels, worth = ground.labels.copy(), ground.worth.copy()
    planted = plant_random(ground, [template(12)], 3, 5)
    fresh = Ground(ground.image(), SEVEN)
    np.testing.assert_array_equal(ground.worth == FORBIDDEN, fresh.worth == FORBIDDEN)
    for entry in reversed(planted):
        ground.take_back(entry.anchor, entry.offsets, entry.before)
    np.testing.assert_array_equal(ground.labels, labels)
    np.testing.assert_array_equal(ground.worth, worth)


def test_where_nothing_fits_it_is_proven_and_said_why():
    ground = chest()
    kept = ground.labels.copy()
    heard = []

    class Hears:
        def warning(self, what, why="", todo=""):
            heard.append(why)

        def progress(self, done, total, task="", message=""):
            assert done <= total

    with pytest.raises(UserError, match=r"nodule 1 of 2 cannot be planted.*the largest region of other tissue"):
        plant_random(ground, [template(92, "huge")], 2, events=Hears())
    assert "huge has" in heard[0] and np.array_equal(ground.labels, kept)
    planted = plant_random(ground, [template(92, "huge"), template(12, "ball")], 2, 3, events=Hears())
    assert {entry.template for entry in planted} == {"ball"}
    with pytest.raises(UserError, match=r"rod.*is larger than the volume"):
        rod = on_grid(np.ones((1, 1, 70), np.uint8), (4, 4, 4), (-140.0, 0, 0))
        plant_random(chest(), [Template("rod", rod, {})], 1)
    with pytest.raises(UserError, match=r"Nowhere does more than .* of wide .* lie on other tissue"):
        plate = on_grid(np.ones((1, 35, 1), np.uint8), (4, 4, 4), (0, -68.0, 0))
        plant_random(chest(), [Template("wide", plate, {})], 1)
    full = chest()
    with pytest.raises(UserError, match=r"nodule \d+ of 255 cannot be planted"):
        plant_random(full, [template(30)], 255)
    assert np.array_equal(full.labels, kept)
    with pytest.raises(NoPlace):
        Search(chest(Rule(surface_mm=200.0)), np.zeros((1, 3), int)).random(np.random.default_rng(0))


def test_classes_and_rules_that_are_none_are_refused():
    with pytest.raises(UserError, match="no class 'lung'"):
        chest(Rule(classes=("lung",)))
    for wrong in ({"share": 1.5}, {"surface_mm": -1.0}, {"region_share": 2.0}):
        with pytest.raises(UserError):
            Rule(**wrong)
    muscle = chest(Rule(classes=("muscle and soft tissue", "fat"), share=1.0))
    planted = plant_random(muscle, [template(10)], 1)[0]
    assert set(planted.before.tolist()) <= {1, 3}


def test_the_command_plants_logs_and_goes_on(tmp_path, capsys):
    image = on_grid(chest_arrays()[1])
    labels, library = tmp_path / "l.nii.gz", tmp_path / "lib"
    write_label_map(image, SEVEN, {"ct": "ct.nii.gz"}, labels)
    add_templates(library, [template(12, "a"), template(16, "b")])

    def run(*words):
        return main(["insert", "--library", str(library), *(str(word) for word in words)])

    first = ("--labels", labels, "--random", 3, "--seed", 4, "--rotate", 180, "--scale", "0.8,1.2", "--elastic", 1)
    outputs = [tmp_path / "p.nii.gz", tmp_path / "again.nii.gz"]
    for output in outputs:
        assert run(*first, "--output", output, "--mask", output.with_name(f"m_{output.name}")) == 0
    again, array = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in outputs)
    assert np.array_equal(again, array) and (array == 5).any()
    log = json.loads((tmp_path / "p.json").read_text())
    assert log["ct"] == "ct.nii.gz" and [entry["label"] for entry in log["planted"]] == [1, 2, 3]
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "m_p.nii.gz")))
    assert np.array_equal(mask > 0, array == 5)
    for entry in log["planted"]:
        assert (mask == entry["label"]).sum() == entry["voxels"] and mask[tuple(entry["voxel"][::-1])] == entry["label"]
        assert entry["template"] in "ab" and 0.8 <= entry["scale"] <= 1.2 and entry["random_seed"] == 4
    second = ("--labels", outputs[0], "--random", 1, "--template", "b", "--output", tmp_path / "q.nii.gz")
    assert run(*second, "--mask", tmp_path / "mq.nii.gz") == 0
    log = json.loads((tmp_path / "q.json").read_text())
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mq.nii.gz")))
    assert len(log["planted"]) == 4 and sorted(entry["label"] for entry in log["planted"]) == [1, 2, 3, 4]
    for entry in log["planted"]:
        assert (mask == entry["label"]).sum() == entry["voxels"]
    capsys.readouterr()
    at = ("--labels", labels, "--template", "a", "--output", tmp_path / "at.nii.gz")
    assert run(*at, "--at=-111,-106,80") == 2
    assert "The nearest place that fits is" in capsys.readouterr().err and not (tmp_path / "at.nii.gz").exists()
    assert run(*at, "--at=-40,-106,80", "--rotate", "0,0,90", "--scale", "1.5") == 0
    assert json.loads((tmp_path / "at.json").read_text())["planted"][0]["rotation"] == [0, 0, 90]
    assert run(*at, "--at=-40,-106") == 2 and "3 number(s)" in capsys.readouterr().err
    assert run(*at, "--random", 1, "--overwrite", "--template", "c") == 2
    assert "no template 'c'" in capsys.readouterr().err
    assert run(*at, "--random", 1, "--overwrite", "--classes", "six") == 2
    assert "holds 6, which the table six does not know" in capsys.readouterr().err
    new = ("--labels", labels, "--output", tmp_path / "new.nii.gz", "--random", 1)
    assert run(*new, "--seed", -3) == 2 and "The seed cannot be -3" in capsys.readouterr().err
    assert run(*new, "--mask", tmp_path / "new.nii.gz", "--overwrite") == 2
    assert "the same file" in capsys.readouterr().err and not (tmp_path / "new.nii.gz").exists()
    before = labels.read_bytes()
    assert run(*new, "--mask", labels, "--overwrite") == 2 and str(labels) in capsys.readouterr().err
    assert run(*new[:2], "--output", labels, "--random", 1, "--overwrite") == 2 and labels.read_bytes() == before
    capsys.readouterr()
    flat = sitk.ReadImage(str(labels)) * 0
    sitk.WriteImage(flat, str(tmp_path / "flat.nii.gz"))
    assert run("--labels", tmp_path / "flat.nii.gz", *new[2:]) == 2
    assert "flat.nii.gz holds nothing but 0" in capsys.readouterr().err
    assert run(*new, "--scale=-1") == 2 and "Both are above 0" in capsys.readouterr().err
    assert run(*new, "--template", "b", "--scale", 10) == 2
    said = capsys.readouterr().err
    assert "fits nowhere" in said and "Another one is drawn" not in said
    assert run(*new, "--scale", 10) == 2 and capsys.readouterr().err.count("Another one is drawn") == 1


@pytest.mark.parametrize("seed", range(3))
def test_on_an_oblique_grid_a_nodule_keeps_place_size_and_direction(seed):
    image = random_grid_image(np.zeros((40, 44, 48), np.uint8), seed)
    image.SetSpacing((1.0, 1.3, 1.7))
    ground = Ground(image, SEVEN, ANYWHERE)
    rod = on_grid(np.pad(np.ones((4, 4, 24), np.uint8), 1), (1, 1, 1), (-12.5, -2.5, -2.5))  # 24 mm long, left to right
    wanted = np.array(image.TransformIndexToPhysicalPoint((24, 22, 20))) * (-1, -1, 1) + 0.3
    planted = plant_at(ground, Template("rod", rod, {}), wanted)
    voxels = np.argwhere(sitk.GetArrayFromImage(ground.image()) == 5)[:, ::-1]
    places = np.array([image.TransformIndexToPhysicalPoint(voxel.tolist()) for voxel in voxels]) * (-1, -1, 1)
    assert np.linalg.norm(places.mean(axis=0) - wanted) < 1.5
    assert abs(planted.volume_mm3 - 4 * 4 * 24) <= 1.0 * 1.3 * 1.7 / 2 + 1e-6
    axis = np.linalg.svd(places - places.mean(axis=0))[2][0]
    assert abs(axis[0]) > 0.99 and np.ptp(places @ axis) == pytest.approx(23, abs=2.5)
