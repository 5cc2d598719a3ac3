"""Windpipe and main bronchi: found in a made-up chest where their wall is missing; nothing is planted there."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from chests import ball, on_grid

from synthct.labels.airways import find_airways
from synthct.labels.classes import read_class_table
from synthct.labels.ground import FORBIDDEN, Ground, Rule
from synthct.labels.insertion import plant_random
from synthct.labels.label_map import label_ct
from synthct.labels.templates import Template
from synthct.volumes.geometry import array_of
from synthct.volumes.read import read_image

SPACING = (2.0, 2.0, 4.0)
LUNGS_0314 = Path(__file__).parents[2] / "shared" / "data" / "lidc" / "LIDC-IDRI-0314_dicom_slices_145-176.zip"


def chest(noise=30, top=0):
    """Return HU, body, windpipe with bronchi, and lungs, (z, y, x); the windpipe lies against the right lung."""
    z, y, x = np.meshgrid(np.arange(60) * 4.0, np.arange(110) * 2.0 - 110, np.arange(150) * 2.0 - 150, indexing="ij")
    body = (x / 140) ** 2 + (y / 100) ** 2 < 1
    height = (z - 100) / 90
    lungs = ((np.abs(x) - 70) / 62) ** 2 + (y / 75) ** 2 + height**2 < 1
    fork = 120.0
    middle = np.hypot(x + 4, y - 10)
    airways = (middle < 9) & (z >= fork)
    for side in (-1, 1):
        centre = side * (fork - z) * 0.9 - 4
        airways |= (np.hypot((x - centre) * 0.75, y - 10) < 6) & (z < fork) & (z > fork - 30)
    wall = (middle < 12) & (z >= fork)
    lungs &= ~airways & ~(wall & ((z > 160) | (x > -4)))  # below 160 mm no wall towards the lung at negative x
    hu = np.where(body, 40, -1000).astype(np.float32)
    hu[lungs], hu[airways] = -850, -1000
    hu += np.random.default_rng(0).normal(0, noise, hu.shape)
    keep = slice(None, len(hu) - top)
    return tuple(array[keep] for array in (np.rint(hu).astype(np.int16), body, airways & body, lungs & body))


def found_in(hu, body, **grid):
    ct = on_grid(hu, SPACING, **grid)
    found = find_airways(ct, on_grid(body.astype(np.uint8), SPACING, **grid))
    assert found.GetSize() == ct.GetSize() and found.GetDirection() == ct.GetDirection()
    return array_of(found) != 0


@pytest.mark.parametrize("noise", [0, 60])
def test_the_windpipe_is_followed_past_a_missing_wall_to_its_branches(noise):
    hu, body, airways, lungs = chest(noise)
    found = found_in(hu, body)
    assert np.mean(found[airways]) > 0.97
    assert np.mean(found[lungs]) < 0.01
    for side in (slice(None, 70), slice(76, None)):
        assert found[25, :, side].any()  # both main bronchi


def test_a_grid_stored_feet_last_or_sideways_gives_the_same():
    hu, body, _, _ = chest()
    straight = found_in(hu, body)
    flipped = found_in(hu[::-1, :, ::-1], body[::-1, :, ::-1], direction=(-1, 0, 0, 0, 1, 0, 0, 0, -1))
    assert np.array_equal(flipped[::-1, :, ::-1], straight)
    ct, mask = (sitk.PermuteAxes(on_grid(array, SPACING), [1, 2, 0]) for array in (hu, body.astype(np.uint8)))
    turned = sitk.PermuteAxes(find_airways(ct, mask), [2, 0, 1])
    assert np.array_equal(array_of(turned) != 0, straight)


def test_without_lungs_or_above_the_fork_nothing_is_marked():
    hu, body, _, lungs = chest()
    assert not found_in(np.where(lungs, 40, hu).astype(np.int16), body).any()
    hu, body, _, _ = chest(top=31)  # begins at the fork
    assert not found_in(hu, body).any()
    assert not found_in(hu[:1], body[:1]).any()


def test_it_has_a_class_and_no_nodule_lies_in_it():
    hu, body, airways, lungs = chest()
    heard = []

    class Hears:
        def warning(self, what, why="", todo=""):
            heard.append(what)

    table = read_class_table()
    labels = label_ct(on_grid(hu, SPACING), table, body=on_grid(body.astype(np.uint8), SPACING), events=Hears())
    array = array_of(labels)
    assert np.mean(array[airways] == 7) > 0.97 and np.mean(array[lungs] == 0) > 0.98 and not heard
    assert np.isin(array[array_of(label_ct(on_grid(hu, SPACING), read_class_table("seven"))) == 0], (0, 7)).all()
    ground = Ground(labels, table, Rule(share=0.8))
    assert not ground.chosen_voxels()[array == 7].any()
    planted = plant_random(ground, [Template("ball", ball(12.0), {})], 12, seed=1)
    assert len(planted) == 12 and not ((ground.labels == 5) & airways).any()
    middle = np.argwhere(airways[40]).mean(axis=0).round().astype(int)
    offsets = np.argwhere(np.ones((3, 3, 3))) - 1
    assert "27 of its 27 voxels lie in the windpipe" in ground.reasons(np.array([40, *middle]), offsets)
    assert (ground.worth[array == 7] == FORBIDDEN).all()  # though the rule would let a fifth of a nodule lie elsewhere
    breathing = Ground(labels, table, Rule(("windpipe",), share=1.0, region_share=0.0))
    assert breathing.chosen_voxels()[array == 7].all()  # unless that is asked for
    headless, inside, _, _ = chest(top=31)
    label_ct(on_grid(headless, SPACING), table, body=on_grid(inside.astype(np.uint8), SPACING), events=Hears())
    assert heard == ["No windpipe was found in The CT."]


@pytest.mark.skipif(not LUNGS_0314.exists(), reason="the LIDC slices are not here")
def test_slices_below_the_fork_have_none(tmp_path):
    import zipfile

    with zipfile.ZipFile(LUNGS_0314) as archive:
        archive.extractall(tmp_path)
    ct = read_image(tmp_path)
    labels = label_ct(ct, read_class_table())
    assert not (array_of(labels) == 7).any()
